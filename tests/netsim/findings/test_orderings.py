"""What the experiments find, with two seeds each: the order of things, not their figures (`docs/experiments.md`)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netsim.experiments.campaign import run_task
from netsim.experiments.findings import disaster, epidemic, modest_crash, partition, topologies
from netsim.experiments.findings.experiment import Experiment, Runs
from netsim.experiments.findings.figures import accuracy, final
from netsim.experiments.report.curves import estimate
from netsim.experiments.run_folder import Run, read_run

pytestmark = pytest.mark.slow

Played = Callable[..., Runs]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Return a function that plays variations of an experiment, two seeds each, and gives their runs."""
    out = tmp_path_factory.mktemp("runs")

    def play(experiment: Experiment, *names: str) -> Runs:
        found: dict[str, list[Run]] = {}
        for variation in experiment.variations:
            if variation.name in names:
                tasks = variation.tasks(quick=True)
                for task in tasks:
                    if not (out / task.folder).exists():
                        assert run_task(task, out) is None
                found[variation.name] = [read_run(out / task.folder) for task in tasks]
        assert set(found) == set(names)
        return Runs(found)

    return play


def _mean(runs: Runs, name: str, of: Callable[[Run], float | None] = accuracy) -> float:
    return estimate(runs.figures(name, of)).mean


def test_loss_of_connectivity_hurts_more_than_loss_of_data(played: Played) -> None:
    at = ", q = 0.3, t = 1"
    runs = played(
        disaster.EXPERIMENT, "none", *(f"{who}{at}" for who in ("hubs", "relays", "data", "random", "leaves"))
    )
    assert _mean(runs, f"hubs{at}") < _mean(runs, f"relays{at}") < _mean(runs, f"data{at}") < _mean(runs, "none")
    assert _mean(runs, f"random{at}") > _mean(runs, f"hubs{at}") + 0.05
    assert _mean(runs, f"leaves{at}") > _mean(runs, "none") - 0.02


def test_repair_gives_most_of_it_back(played: Played) -> None:
    hubs = "hubs, q = 0.3, t = 1"
    runs = played(disaster.EXPERIMENT, "none", hubs, disaster.REPAIRED)
    lost = _mean(runs, "none") - _mean(runs, hubs)
    assert _mean(runs, disaster.REPAIRED) > _mean(runs, hubs) + 0.7 * lost


def test_modest_survives_by_what_was_added_to_it(played: Played) -> None:
    bare = "a = 1, sf = 1, nothing else; gradual"
    runs = played(modest_crash.EXPERIMENT, "gradual", "at once", bare)
    assert runs.figures("gradual", modest_crash.survived) == [1.0, 1.0]
    assert runs.figures("at once", modest_crash.survived) == [1.0, 1.0]
    assert runs.figures(bare, modest_crash.survived) == [0.0, 0.0]


def test_sampling_saves_traffic(played: Played) -> None:
    modest, one_peer = "MoDeST until 90 %", "one-peer exponential until 90 %"
    runs = played(modest_crash.EXPERIMENT, modest, one_peer)
    assert _mean(runs, one_peer, modest_crash.megabytes) > 4 * _mean(runs, modest, modest_crash.megabytes)


def test_models_are_as_far_apart_as_the_spectrum_says(played: Played) -> None:
    names = ("ring", "torus", "regular, degree 4", "hypercube")
    runs = played(topologies.EXPERIMENT, *names)
    left_over = [_mean(runs, name, topologies.left_over) for name in names]
    consensus = [_mean(runs, name, topologies.consensus) for name in names]
    assert topologies.rank_correlation(left_over, consensus) == pytest.approx(1.0)
    assert _mean(runs, "hypercube") > _mean(runs, "ring")


def test_new_neighbours_in_each_round_agree_better(played: Played) -> None:
    static, oracle, _ = (variation.name for variation in epidemic.VARIATIONS)
    runs = played(epidemic.EXPERIMENT, static, oracle)
    assert _mean(runs, oracle, epidemic.consensus) < _mean(runs, static, epidemic.consensus)
    assert _mean(runs, oracle, final("bytes_sent")) == pytest.approx(_mean(runs, static, final("bytes_sent")), rel=0.05)


def test_a_partition_heals(played: Played) -> None:
    split, whole = (variation.name for variation in partition.VARIATIONS)
    runs = played(partition.EXPERIMENT, split, whole)
    assert _mean(runs, split, partition.apart) > 1.5 * _mean(runs, whole, partition.apart)
    assert _mean(runs, split, partition.after) < 1.3 * _mean(runs, whole, partition.after)
