from __future__ import annotations

import hashlib
import tomllib
from typing import Any

import msgspec
import pytest

from netsim.experiments.report.pools import numeric_axis, pools_of
from netsim.experiments.report.settings import as_toml, differing, flat, plain
from netsim.experiments.run_folder import Run, read_run
from netsim.scenario.scenario_file import Scenario
from peer.errors import ConfigError
from tests.netsim.experiments.synthetic import scenario, write_synthetic


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(write_synthetic(tmp_path_factory.mktemp("runs") / "run", num_peers=8, num_instants=3))


def like(run: Run, settings: dict[str, Any], seed: int = 1, hash_: str = "") -> Run:
    hash_ = hash_ or hashlib.sha256(str(settings).encode()).hexdigest()
    record = msgspec.structs.replace(
        run.record, scenario=settings, name=settings["name"], seed=seed, scenario_hash=hash_
    )
    return msgspec.structs.replace(run, record=record)


def test_seeds_of_a_scenario_are_one_pool(run: Run) -> None:
    a, b = scenario(links={"loss": 0.0}), scenario(links={"loss": 0.1})
    pools = pools_of([like(run, b, 1), like(run, a, 1), like(run, b, 2)])
    assert [(pool.label, len(pool.runs)) for pool in pools] == [("links.loss = 0.0", 1), ("links.loss = 0.1", 2)]


def test_the_label_is_the_name_and_what_differs(run: Run) -> None:
    here, there = scenario("here", links={"loss": 0.0}), scenario("there", links={"loss": 0.1})
    assert [pool.label for pool in pools_of([like(run, here), like(run, there)])] == [
        "here, links.loss = 0.0",
        "there, links.loss = 0.1",
    ]
    far = scenario("far", links={"loss": 0.1, "jitter": 1, "x": 2}, peers={"count": 7})
    assert [pool.label for pool in pools_of([like(run, here), like(run, far)])] == ["here", "far"]
    assert [pool.label for pool in pools_of([like(run, here)])] == ["here"]


def test_scenarios_that_differ_in_nothing_that_is_recorded_are_told_apart_by_hash(run: Run) -> None:
    # the content of a file that a piece names enters the hash, not the record
    same = scenario()
    pools = pools_of([like(run, same, hash_="aaaaaaaabb"), like(run, same, hash_="bbbbbbbbcc")])
    assert [pool.label for pool in pools] == ["hub-loss [aaaaaaaa]", "hub-loss [bbbbbbbb]"]


def test_group_by_pools_over_everything_else(run: Run) -> None:
    runs = [
        like(run, scenario(links={"loss": loss}, peers={"count": count})) for loss in (0.2, 0.0) for count in (8, 9)
    ]
    pools = pools_of(runs, "links.loss")
    assert [(pool.label, len(pool.runs)) for pool in pools] == [("links.loss = 0.0", 2), ("links.loss = 0.2", 2)]
    with pytest.raises(ConfigError, match=r"--group-by loss: no scenario has it; known: links.loss"):
        pools_of(runs, "loss")


def test_a_swept_number_is_an_axis(run: Run) -> None:
    def pools(values: list[Any]) -> str:
        return numeric_axis(pools_of([like(run, scenario(links={"loss": value})) for value in values]))

    assert pools([0.2, 0.0, 0.1]) == "links.loss"
    assert pools([0.2, 0.0]) == ""
    assert pools([0.2, 0.0, "much"]) == ""
    assert pools([True, False, 3]) == ""


def test_pieces_are_flat_as_in_the_file() -> None:
    settings = scenario()
    assert flat(settings)["topology.family.m"] == 2
    assert flat(settings)["timeline[0].event.share"] == 0.1
    assert "seeds" not in flat(settings)
    assert "links.up_bytes_s" not in flat(settings)
    assert differing([settings, scenario(links={"loss": 0.5, "up_bytes_s": None}, name="x")]) == ["links.loss"]


def test_the_scenario_is_shown_as_toml_that_reads_as_the_same() -> None:
    for settings in (scenario(), msgspec.to_builtins(Scenario(name="bare"))):
        assert tomllib.loads(as_toml(settings)) == plain(settings)


def test_final_figures_and_times(run: Run) -> None:
    (pool,) = pools_of([run])
    assert pool.final("num_alive").mean == run.totals[-1].num_alive
    assert pool.time_to(0.0).mean == 0.0
    assert pool.time_to(1.1).num_runs == 0


def test_odd_keys_and_texts_are_quoted() -> None:
    assert as_toml({"a b": {"c\n": "x"}, "name": 'q"'}) == 'name = "q\\""\n\n["a b"]\n"c\\n" = "x"\n'
