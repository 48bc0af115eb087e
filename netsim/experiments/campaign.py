"""Many runs: the seeds of a scenario, or a grid over any of its settings; in one process or many, here or on a cluster.

A run is a scenario and a seed, and its folder is named by their hash. A folder that is there is complete (it is
renamed when it is), so what was done need not be done again: a campaign that was interrupted goes on where it stopped,
and array jobs that share a file system divide the runs among them without talking.

Whoever runs a run writes its measurements as they come; whoever watches reads them. So progress needs no channel
between processes, and is the same for workers here and elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import Any

import msgspec

from netsim.experiments.run_folder import PART, TOTALS
from netsim.scenario.checks import check_scenario
from netsim.scenario.reading import scenario_hash, with_settings
from netsim.scenario.scenario_file import Scenario
from peer.config.spelling import shown, toml_value
from peer.errors import ConfigError, MurmurationError, StoreError
from peer.store.atomic import plain_reason

HASH_DIGITS = 12
POLL_S = 0.25


class Task(msgspec.Struct, frozen=True):
    """One run that is to be done."""

    scenario: Scenario
    seed: int
    folder: str
    """The name of its folder: scenario, hash of all that matters, seed."""
    source: str
    """The scenario as the command line named it."""
    settings: dict[str, Any]
    """What differs from the scenario file, by the path of the key."""
    replay: str
    """The command that repeats it."""

    @property
    def title(self) -> str:
        """What tells it from the others."""
        return " ".join([*(f"{key}={shown(value)}" for key, value in self.settings.items()), f"seed {self.seed}"])


class Shard(msgspec.Struct, frozen=True):
    """Part `number` (1 .. `of`) of the runs, for array jobs."""

    number: int = 1
    of: int = 1


WHOLE = Shard()


def tasks_of(scenario: Scenario, grid: Mapping[str, Sequence[Any]], source: str, *, shard: Shard = WHOLE) -> list[Task]:
    """Return the runs of a grid over a scenario: all combinations, all seeds, what is the same only once.

    `grid`: values by the path of the key ("topology.family.m"). `source`: the scenario as the command line named it.
    Raises `ConfigError` for a scenario that cannot be run.
    """
    tasks: dict[str, Task] = {}
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        changed = with_settings(scenario, settings) if settings else scenario
        check_scenario(changed, source)
        options = "".join(f" --set {shlex.quote(f'{key}={toml_value(value)}')}" for key, value in settings.items())
        named = f"{changed.name}-{scenario_hash(changed)[:HASH_DIGITS]}"
        for seed in changed.seeds:
            replay = f"murmuration sim {shlex.quote(source)} --seed {seed}{options}"
            task = Task(changed, seed, f"{named}-s{seed}", source, settings, replay)
            tasks.setdefault(task.folder, task)
    return list(tasks.values())[shard.number - 1 :: shard.of]


class Failure(msgspec.Struct, frozen=True):
    """Why there is no folder, in one line."""

    error: str
    is_refusal: bool = False
    """Whether the scenario is what is wrong: found out only by the worker that loads its data and builds its world."""


class Result(msgspec.Struct, frozen=True):
    """What became of a task: a folder, or a failure."""

    task: Task
    folder: Path
    failure: Failure | None = None
    was_there: bool = False


def run_task(task: Task, out: Path, threads: int = 1) -> Failure | None:
    """Do one run, in whichever process this is called; return why it failed, or nothing."""
    from netsim.virtual.run import run_scenario

    try:
        run_scenario(task.scenario, task.seed, out / task.folder, threads=threads, replay=task.replay)
    except ConfigError as error:
        return Failure(f"{task.source}: {error}", is_refusal=True)
    except MurmurationError as error:
        return Failure(str(error))
    return None


Watcher = Callable[[Mapping[int, float], int], None]
"""(shares, done): how far each run that is going on has come, 0..1 by its place in the list, and how many are over."""


def run_campaign(
    tasks: Sequence[Task],
    out: Path,
    executor: Executor,
    *,
    threads: int = 1,
    on_result: Callable[[Result], None],
    on_progress: Watcher,
) -> list[Result]:
    """Do the tasks whose folders are not there, in the workers of `executor`; return what became of all, in order.

    An interrupt cancels what has not begun. Raises `StoreError` when there can be no folder `out`.
    """
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {plain_reason(error)}") from error
    try:
        return _results_of(tasks, out, executor, threads, on_result, on_progress)
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # there is something in it
                out.rmdir()


def _results_of(
    tasks: Sequence[Task],
    out: Path,
    executor: Executor,
    threads: int,
    on_result: Callable[[Result], None],
    on_progress: Watcher,
) -> list[Result]:
    results: dict[int, Result] = {}
    waiting: dict[Future[Failure | None], int] = {}
    for place, task in enumerate(tasks):
        folder = out / task.folder
        if folder.exists():
            results[place] = Result(task, folder, was_there=True)
            on_result(results[place])
        else:
            waiting[executor.submit(run_task, task, out, threads)] = place
    try:
        for done in _as_they_end(waiting, tasks, out, len(results), on_progress):
            place = waiting[done]
            results[place] = Result(tasks[place], out / tasks[place].folder, _failure(done, tasks[place]))
            on_result(results[place])
    except BaseException:
        for future in waiting:
            future.cancel()
        raise
    return [results[place] for place in range(len(tasks))]


def _failure(done: Future[Failure | None], task: Task) -> Failure | None:
    try:
        return done.result()
    except BrokenExecutor:
        return Failure(f"a worker process died, perhaps for lack of memory; to repeat it: {task.replay}")


def _as_they_end(
    waiting: Mapping[Future[Failure | None], int],
    tasks: Sequence[Task],
    out: Path,
    num_done: int,
    on_progress: Watcher,
) -> Iterator[Future[Failure | None]]:
    left = set(waiting)
    while left:
        ended, left = wait(left, timeout=POLL_S, return_when="FIRST_COMPLETED")
        num_done += len(ended)
        shares = {waiting[f]: _share_done(tasks[waiting[f]], out) for f in left if f.running()}
        on_progress(shares, num_done)
        yield from sorted(ended, key=lambda future: waiting[future])


def _share_done(task: Task, out: Path) -> float:
    """Return how far a run has come, by the last line that it has written."""
    try:
        with (out / f"{task.folder}{PART}" / TOTALS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().splitlines()
        row = json.loads(lines[-1])
    except (OSError, IndexError, ValueError):
        return 0.0
    shares = [0.0]
    if task.scenario.rounds.total:
        shares.append(row["round_median"] / task.scenario.rounds.total)
    if task.scenario.stop.time_s:
        shares.append(row["at_s"] / task.scenario.stop.time_s)
    return min(1.0, max(shares))


def remove_parts(tasks: Sequence[Task], out: Path) -> None:
    """Remove what interrupted runs have left, but for what other processes are at work on.

    Call it when no worker of ours is at work any more.
    """
    for task in tasks:
        part = out / f"{task.folder}{PART}"
        if not _is_being_written(part):
            shutil.rmtree(part, ignore_errors=True)


def _is_being_written(part: Path) -> bool:
    """Say whether the writer of a run holds its lock (see `RunWriter`)."""
    try:
        with (part / TOTALS).open("ab") as totals:
            fcntl.flock(totals, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
