"""What an experiment is: variations of scenarios, what is read off each run, and what is claimed of them together."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from netsim.experiments import library
from netsim.experiments.campaign import Task, tasks_of
from netsim.experiments.report.curves import Estimate, estimate
from netsim.experiments.run_folder import Run, read_run
from netsim.scenario.scenario_file import Scenario
from peer.config.spelling import toml_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = float | None
OfRun = Callable[[Run], Value]
"""Reads a figure off a run; None where there is none."""

QUICK_SEEDS = 2
SHOWN_PATH = "PATH"
"""What stands on the page for a path of this machine."""

PATH_KEYS = ("task.path",)


class Variation(msgspec.Struct, frozen=True):
    """A scenario of the library with other settings: one row of an experiment, a run for each seed."""

    name: str
    scenario: str
    settings: Mapping[str, Any] = {}
    """Values by the path of their key, as `--set` takes them."""
    seeds: tuple[int, ...] = ()
    """Not given: those of the scenario."""

    def read(self, *, quick: bool = False) -> Scenario:
        """Return the scenario, with its seeds but without `settings`; `quick`: the first two seeds only."""
        scenario = _of_library(self.scenario)
        seeds = self.seeds or scenario.seeds
        return msgspec.structs.replace(scenario, seeds=seeds[:QUICK_SEEDS] if quick else seeds)

    def tasks(self, *, quick: bool = False) -> list[Task]:
        """Return its runs. Raises `ConfigError` for a scenario that cannot be run."""
        return tasks_of(self.read(quick=quick), {key: (value,) for key, value in self.settings.items()}, self.scenario)

    @property
    def command(self) -> str:
        """The command that repeats all its runs; paths of this machine are not told."""
        shown = {key: SHOWN_PATH if key in PATH_KEYS else value for key, value in self.settings.items()}
        if self.seeds and self.seeds != _of_library(self.scenario).seeds:
            shown["seeds"] = list(self.seeds)
        options = [shlex.quote(f"{key}={_bare(value)}") for key, value in shown.items()]
        return " ".join(["murmuration sim", self.scenario, *(f"--set {option}" for option in options)])


_of_library = functools.cache(library.load)  # read for each command and each run otherwise


def _bare(value: object) -> str:
    """Return a value as TOML, a plain word without its quotes, as `--set` understands it too."""
    if isinstance(value, str) and value.replace("-", "").isalpha() and value not in ("true", "false", "inf", "nan"):
        return value
    return toml_value(value)


class Column(NamedTuple):
    """A figure that each row of the first table shows, mean and confidence over its runs."""

    title: str
    of: OfRun
    digits: int = 3


class Claim(NamedTuple):
    """A figure that is held against a band: one value per seed."""

    what: str
    values: Sequence[Value]
    expected: str = ""
    """What the source or an independent simulation has."""
    low: float = -float("inf")
    high: float = float("inf")
    digits: int = 3
    remark: str = ""
    """Why it does not come out; shown only where it does not."""

    @property
    def measured(self) -> Estimate:
        """Mean and confidence over the seeds."""
        return estimate(self.values)

    @property
    def came_out(self) -> bool | None:
        """Whether the mean lies in the band; None where there is none."""
        if self.low == -float("inf") and self.high == float("inf"):
            return None
        return bool(self.low <= self.measured.mean <= self.high)


class Picture(NamedTuple):
    """A plot; `name` is that of its file, without the ending."""

    name: str
    caption: str
    figure: Figure


class Runs(Mapping[str, list[Run]]):
    """The runs of an experiment by the name of their variation, in the order of the seeds."""

    def __init__(self, runs: Mapping[str, list[Run]]) -> None:
        self._runs = runs

    def __getitem__(self, name: str) -> list[Run]:
        return self._runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def figures(self, name: str, of: OfRun) -> list[Value]:
        """Return a figure of each run of a variation."""
        return [of(run) for run in self[name]]

    def paired(self, names: Sequence[str], of: OfRun, combine: Callable[..., float]) -> list[Value]:
        """Return `combine(figure of the first, of the second, ...)` for each seed; None where one is missing."""
        columns = [self.figures(name, of) for name in names]
        return [None if None in row else combine(*row) for row in zip(*columns, strict=True)]


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One question, and everything that answers it. `variations` may depend on the settings of the command line."""

    name: str
    title: str
    question: str
    setup: str
    variations: tuple[Variation, ...]
    columns: tuple[Column, ...]
    claims: Callable[[Runs], list[Claim]]
    pictures: Callable[[Runs], list[Picture]] = lambda _: []
    reading: str = ""
    """What the figures say, in a few sentences."""
    needs: str = ""
    """What it cannot be run without, and this command line did not give."""

    def tasks(self, *, quick: bool = False) -> list[Task]:
        """Return all runs."""
        return [task for variation in self.variations for task in variation.tasks(quick=quick)]

    def read(self, out: Path, *, quick: bool = False) -> Runs:
        """Read the runs, which are there. Raises `ConfigError` where one is not."""
        return Runs(
            {
                variation.name: [read_run(out / task.folder) for task in variation.tasks(quick=quick)]
                for variation in self.variations
            }
        )
