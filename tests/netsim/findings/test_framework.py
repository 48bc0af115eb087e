"""The framework of the experiments, on runs that nobody ran."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from netsim.experiments import library
from netsim.experiments.findings import figures
from netsim.experiments.findings.catalogue import experiments
from netsim.experiments.findings.command import findings
from netsim.experiments.findings.experiment import Claim, Column, Experiment, Runs, Variation
from netsim.experiments.findings.modest_crash import round_time, round_time_after, survived
from netsim.experiments.findings.page import IMAGES, page, shown
from netsim.experiments.findings.topologies import gap, left_over, rank_correlation
from netsim.experiments.report.curves import Estimate
from netsim.experiments.running import parse_setting
from netsim.experiments.sim_command import sim
from netsim.scenario.checks import check_scenario
from netsim.scenario.reading import scenario_hash, with_settings
from peer.errors import ConfigError
from tests.netsim.findings.made_up import row, run

PATH = "/somewhere/on/this/machine"
ALL = experiments(mnist=PATH)


def test_figures_are_read_off_the_right_rows() -> None:
    one = run(
        row(0.0, accuracy_mean=0.1, consensus=None),
        row(10.0, round=3, accuracy_mean=0.6, consensus=4.0),
        row(20.0, round=7, accuracy_mean=0.9, consensus=2.0, largest_component=5),
    )
    assert figures.accuracy(one) == 0.9
    assert figures.at_round("accuracy_mean", 2)(one) == 0.6
    assert figures.at_round("accuracy_mean", 8)(one) is None
    assert figures.at_time("consensus", 19.9)(one) == 4.0
    assert figures.at_time("consensus", 20.0)(one) == 2.0
    assert figures.at_time("consensus", 0.0)(one) is None
    assert figures.at_time("consensus", -1.0)(one) is None
    assert figures.when_reached("accuracy_mean", 0.6, lambda r: r.at_s)(one) == 10.0
    assert figures.when_reached("accuracy_mean", 0.91, lambda r: r.at_s)(one) is None
    assert figures.largest_share(one) == 0.5


def test_rounds_of_modest() -> None:
    one = run(row(0.0, round=0), row(100.0, round=20), row(300.0, round=60))
    assert round_time(one) == 5.0
    assert round_time_after(100.0)(one) == 5.0
    assert round_time_after(301.0)(one) is None
    assert round_time(run(row(0.0, round=0))) is None
    assert survived(one) == 1.0
    assert not survived(run(row(0.0, round=0), row(100.0, round=9), reason="nothing left to happen"))
    assert survived(
        run(row(0.0, round=0), row(690.0, round=3), row(710.0, round=4), row(1000.0, round=4), reason="time")
    )
    assert not survived(
        run(row(0.0, round=0), row(690.0, round=4), row(710.0, round=4), row(1000.0, round=4), reason="time")
    )


def test_paired_figures_are_combined_seed_by_seed() -> None:
    runs = Runs(
        {
            "a": [run(row(accuracy_mean=0.5)), run(row(accuracy_mean=0.9)), run(row(accuracy_mean=None))],
            "b": [run(row(accuracy_mean=0.4)), run(row(accuracy_mean=0.5)), run(row(accuracy_mean=0.5))],
        }
    )
    assert runs.paired(["a", "b"], figures.accuracy, lambda a, b: round(a - b, 6)) == [0.1, 0.4, None]


@pytest.mark.parametrize(
    ("low", "high", "came_out"),
    [(0.4, 0.6, True), (0.6, 0.7, False), (-math.inf, 0.4, False), (0.5, math.inf, True), (-math.inf, math.inf, None)],
)
def test_a_claim_comes_out_when_the_mean_is_in_the_band(low: float, high: float, came_out: bool | None) -> None:
    assert Claim("what", [0.25, 0.75, None], low=low, high=high).came_out is came_out


def test_a_claim_without_any_figure_does_not_come_out() -> None:
    assert Claim("what", [None, None], low=0.0).came_out is False


def test_means_are_shown_with_their_confidence() -> None:
    assert shown(Estimate(0.74149, 0.0204, 5), 3) == "0.741 ± 0.020"
    assert shown(Estimate(0.74149, math.nan, 1), 2) == "0.74"
    assert shown(Estimate(math.nan, math.nan, 0), 2) == "-"


def test_rank_correlation_shares_ranks_and_knows_no_scale() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 100, 1000, 10000]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5.0))
    assert math.isnan(rank_correlation([1, 1], [1, 2]))


def test_spectra_are_those_of_the_graph_of_the_beginning() -> None:
    triangle = run(row(), edges=[[0, 1], [1, 2], [0, 2]], count=3)
    assert gap(triangle) == pytest.approx(1.0)
    assert left_over(triangle) == pytest.approx(0.0, abs=1e-12)
    path = run(row(), edges=[[0, 1], [1, 2]], count=3)  # eigenvalues 1, 2/3, 0
    assert gap(path) == pytest.approx(1 / 3)
    assert left_over(path) == pytest.approx((4 / 9) / (5 / 9) / 3)


def _experiment(**changes: object) -> Experiment:
    settings = {
        "name": "made-up",
        "title": "Made up: all of it",
        "question": "Is it?",
        "setup": "None.",
        "variations": (Variation("one", "demo"), Variation("other", "demo", {"rounds.total": 3})),
        "columns": (Column("accuracy", figures.accuracy),),
        "claims": lambda runs: [
            Claim("fine", runs.figures("one", figures.accuracy), "0.5", 0.4, 0.6),
            Claim("not fine", runs.figures("other", figures.accuracy), "0.5", 0.4, 0.6, remark="Because."),
        ],
    }
    return Experiment(**{**settings, **changes})  # type: ignore[arg-type]  # a table of what is the same in all


def test_the_page_says_what_did_not_come_out_and_why() -> None:
    runs = Runs({"one": [run(row())], "other": [run(row(accuracy_mean=0.9)), run(row(accuracy_mean=None))]})
    text = page([(_experiment(), runs)])
    assert "| one | 1 | 0.500 |" in text
    assert "| other | 2 | 0.900 (1 of 2) |" in text
    assert "| fine | 0.5 | 0.400 … 0.600 | 0.500 | yes |" in text
    assert "| not fine | 0.5 | 0.400 … 0.600 | 0.900 (1 of 2) | **no** |" in text
    assert "*not fine*: Because." in text
    assert "murmuration sim demo --set rounds.total=3" in text
    assert "[Made up: all of it](#made-up-all-of-it) | 1 of 2 |" in text
    assert page([(_experiment(), runs)]) == text


def test_the_page_says_what_was_not_run() -> None:
    text = page([(_experiment(needs="it needs a moon"), None)])
    assert "*Not run: it needs a moon.*" in text
    assert "| not run |" in text


def test_experiments_have_names_of_their_own() -> None:
    names = [experiment.name for experiment in ALL]
    assert len(set(names)) == len(names)
    for experiment in ALL:
        variations = [variation.name for variation in experiment.variations]
        assert len(set(variations)) == len(variations)


VARIATIONS = [(one.name, variation) for one in ALL if one.name != "disaster-mnist" for variation in one.variations]


@pytest.mark.parametrize(("experiment", "variation"), VARIATIONS, ids=[f"{n}: {v.name}" for n, v in VARIATIONS])
def test_the_command_on_the_page_is_the_run(experiment: str, variation: Variation) -> None:
    """What a reader types is read as exactly the scenario that was run, and it can be run."""
    words = shlex.split(variation.command)
    assert words[:3] == ["murmuration", "sim", variation.scenario]
    assert words[3::2] == ["--set"] * (len(words[3:]) // 2)
    changed = dict(map(parse_setting, words[4::2]))
    typed = with_settings(library.load(variation.scenario), changed)
    meant = with_settings(variation.read(), variation.settings)
    assert typed.seeds == meant.seeds
    assert scenario_hash(typed) == scenario_hash(meant)
    check_scenario(meant, variation.name)


def test_no_path_of_this_machine_is_on_the_page() -> None:
    for experiment in ALL:
        for variation in experiment.variations:
            assert PATH not in variation.command
            assert "PATH" in variation.command or experiment.name != "disaster-mnist"


def test_settings_are_not_changed_by_those_that_lead_into_them() -> None:
    settings = {"task": {"name": "mnist-mlp"}, "task.path": PATH}
    with_settings(Variation("x", "demo").read(), settings)
    assert settings == {"task": {"name": "mnist-mlp"}, "task.path": PATH}


def test_quick_takes_two_seeds() -> None:
    assert Variation("x", "demo", {}, (4, 5, 6)).read(quick=True).seeds == (4, 5)
    assert Variation("x", "demo").read(quick=True).seeds == Variation("x", "demo").read().seeds[:2]


def test_an_experiment_that_nobody_knows() -> None:
    with pytest.raises(ConfigError, match=r"--only 'disatser': no such experiment; known: disaster, "):
        findings.main(["--only", "disatser"], standalone_mode=False)


def test_without_mnist_the_page_says_how_to_give_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(findings, ["--only", "disaster-mnist", "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "give their folder as `--mnist PATH`" in (tmp_path / "experiments.md").read_text(encoding="utf-8")


def test_options_of_the_command_on_the_page_exist() -> None:
    assert isinstance(sim, click.Command)
    assert {"--set", "--seed"} <= {option for parameter in sim.params for option in parameter.opts}


def test_the_committed_page_is_of_these_experiments() -> None:
    root = Path(__file__).parents[3]
    text = (root / "docs" / "experiments.md").read_text(encoding="utf-8")
    for experiment in experiments():
        assert f"## {experiment.title}\n" in text
        for variation in experiment.variations:
            assert f"\n# {variation.name}\n{variation.command}\n" in text
    for picture in (root / "docs" / IMAGES).glob("*.png"):
        assert picture.stat().st_size < 100_000
        assert f"{IMAGES.as_posix()}/{picture.name}" in text


def test_a_scenario_is_not_changed_by_what_is_set_in_a_copy_of_it() -> None:
    scenario = library.load("disaster-random")
    before = scenario_hash(scenario)
    with_settings(scenario, {"timeline[0].event.who.share": 0.5})
    assert scenario_hash(scenario) == before
