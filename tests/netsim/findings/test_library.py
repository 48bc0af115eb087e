"""Every scenario that comes with murmuration can be run: as it is, by the checks, and small, in fact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from netsim.experiments import library
from netsim.experiments.run_folder import read_run
from netsim.scenario.checks import check_scenario
from netsim.scenario.reading import with_settings
from netsim.virtual.run import run_scenario

SMALL: dict[str, dict[str, Any]] = {
    "by-topology": {"peers.count": 8},
    "byzantine": {"peers.count": 11, "attack.who": {"name": "random", "count": 2}},
    "crash-80": {"peers.count": 20, "timeline[0].at_s": 2.0, "timeline[0].event.over_s": 2.0},
    "demo": {"peers.count": 12, "timeline[0].at_round": 1},
    "diurnal": {"peers.count": 12, "stop.time_s": 7200.0, "rounds.total": 2},
    "flash-crowd": {"peers.count": 16, "timeline[0].at_round": 1},
    "partition-heal": {"peers.count": 10, "timeline[0].at_s": 1.0, "timeline[0].event.for_s": 5.0},
}
"""What has to be smaller with fewer peers; `peers.count` is 12 for the others."""


@pytest.mark.parametrize("name", library.names())
def test_it_can_be_run(name: str) -> None:
    scenario = library.load(name)
    assert scenario.name == name
    assert scenario.about
    check_scenario(scenario, name)


@pytest.mark.parametrize("name", library.names())
def test_it_runs_for_two_rounds(name: str, tmp_path: Path) -> None:
    settings = {"peers.count": 12, "rounds.total": 2, "measure.every_s": 0.0, **SMALL.get(name, {})}
    scenario = with_settings(library.load(name), settings)
    check_scenario(scenario, name)
    run_scenario(scenario, scenario.seeds[0], tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.totals[-1].round_max >= 1
    assert run.totals[-1].accuracy_mean is not None
    assert len(run.record.events) == len(scenario.timeline) + sum(
        bool(entry.event.params.get("for_s")) for entry in scenario.timeline if entry.event.name == "partition"
    )


def test_names_are_sorted_and_found() -> None:
    names = library.names()
    assert list(names) == sorted(names)
    assert all(library.find(name).stem == name for name in names)
    assert msgspec.structs.asdict(library.load("demo"))["name"] == "demo"
