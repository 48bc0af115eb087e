"""Scenario files: what they say, what is wrong with them, and the hash that names their runs."""

import msgspec
import pytest

from netsim.scenario import read_scenario, scenario_hash
from netsim.scenario.reading import plain, scenario_of, with_settings
from peer.errors import ConfigError

LEAST = 'name = "x"\n'


@pytest.fixture
def write(tmp_path):
    def write(text, name="scenario.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_everything_but_the_name_has_a_default(write):
    scenario = read_scenario(write(LEAST))
    assert (scenario.name, scenario.seeds, scenario.rounds.total) == ("x", (1,), 50)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "name is missing"),
        (LEAST + "[peers]\ncount = 0", "peers.count = 0: write a whole number of peers from 1 to 100000, e.g. 100"),
        (LEAST + "[peers]\ncuont = 3", "peers.cuont is not a setting; did you mean peers.count (in peers)?"),
        (LEAST + "[links]\nloss = 1.5", "links.loss = 1.5: write a number from 0 to 0.99, e.g. 0.0"),
        (LEAST + "timeline = 3", "timeline = 3: write a list"),
        (LEAST + "timeline = [3]", "timeline[0] is a table of settings; write [[timeline]]"),
        (LEAST + '[[timeline]]\nevent = { name = "heal" }', "timeline[0].at_s: give either at_s or at_round"),
        (LEAST + '[[timeline]]\nat_s = 1\nevent = "heal"', 'timeline[0].event = "heal": write'),
        (LEAST + '[[timeline]]\nat_s = "soon"\nevent = { name = "heal" }', 'timeline[0].at_s = "soon": write a number'),
        (LEAST + "[[timeline]]\nat_s = 1", "timeline[0].event is missing"),
        (LEAST + '[[peers.classes]]\nname = "a"', "peers.classes[0].share: give either share or who"),
        (
            LEAST + '[[peers.classes]]\nname = "a"\nshare = 0.7\n[[peers.classes]]\nname = "b"\nshare = 0.7',
            "peers.classes: the shares sum to more than 1",
        ),
        ('name = "No Spaces"', "name ="),
        (LEAST + "seeds = []", "seeds = []"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(write, text, complaint):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        read_scenario(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(caught.value)


def test_files_are_relative_to_the_scenario_and_only_their_content_counts(write, tmp_path):
    text = LEAST + '[churn]\nname = "trace"\nfile = "{}"\n'
    write("peer,start_s,end_s\n", "one.csv")
    (tmp_path / "elsewhere").mkdir()
    write("peer,start_s,end_s\n", "elsewhere/one.csv")
    scenario = read_scenario(write(text.format("one.csv")))
    assert scenario.churn.params["file"] == str(tmp_path / "one.csv")
    name = scenario_hash(scenario)
    assert scenario_hash(read_scenario(write(text.format("elsewhere/one.csv")))) == name
    write("peer,start_s,end_s\n0,0,1\n", "one.csv")
    assert scenario_hash(scenario) != name
    (tmp_path / "one.csv").unlink()
    with pytest.raises(ConfigError, match=r"one\.csv: cannot be read"):
        scenario_hash(scenario)


def test_the_hash_is_of_what_results_depend_on(write):
    scenario = read_scenario(write(LEAST))
    same = msgspec.structs.replace(scenario, name="y", about="other words", seeds=(7, 8))
    assert scenario_hash(same) == scenario_hash(scenario)
    assert scenario_hash(with_settings(scenario, {"links.loss": 0.1})) != scenario_hash(scenario)


def test_tables_and_structs_say_the_same(write):
    scenario = read_scenario(
        write(LEAST + '[[timeline]]\nat_s = 1\nevent = { name = "crash", who = { name = "hubs" } }')
    )
    assert scenario_of(plain(scenario), "again") == scenario


def test_settings_are_changed_by_their_paths(write):
    scenario = read_scenario(write(LEAST + '[[timeline]]\nat_s = 1\nevent = { name = "hub-loss", share = 0.1 }'))
    changed = with_settings(
        scenario,
        {"topology.family.degree": 6, "timeline[0].event.share": 0.3, "churn": {"name": "renewal"}, "peers.count": 7},
    )
    assert changed.topology.family.params == {"degree": 6}
    assert changed.timeline[0].event.params == {"share": 0.3}
    assert changed.churn.name == "renewal"
    assert changed.peers.count == 7
    assert scenario.peers.count == 100


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("links.lost", 1, "links.lost is not a setting"),
        ("links.loss", 2, "links.loss = 2"),
        ("timeline[3].at_s", 2, "there is no 3 here"),
        ("name.first", 2, "there is no 'first' here"),
        ("", 2, "is no key"),
    ],
)
def test_settings_that_cannot_be(write, path, value, complaint):
    with pytest.raises(ConfigError) as caught:
        with_settings(read_scenario(write(LEAST)), {path: value})
    assert str(caught.value).startswith("--set")
    assert complaint in str(caught.value)
