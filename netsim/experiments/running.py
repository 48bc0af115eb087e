"""What `sim` and `sweep` have in common: workers, progress bars, a line for each run, Ctrl-C."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from netsim.experiments.campaign import Result, Shard, Task, remove_parts, run_campaign
from peer.errors import ConfigError, MurmurationError

P = ParamSpec("P")
T = TypeVar("T")

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class RunFailedError(MurmurationError):
    """Some runs broke down; each has said why."""


def run_shown(
    tasks: Sequence[Task], out: Path, *, workers: int, threads: int, dask: str, console: Console
) -> list[Result]:
    """Run the tasks with progress bars; a line for each that ends.

    Raises `RunFailedError` when any failed, `ConfigError` when all that failed could not be run as they are.
    """
    workers = min(workers or os.cpu_count() or 1, max(1, len(tasks)))
    with _executor(workers, dask) as executor, _bars(tasks, console) as bars:
        try:
            results = run_campaign(
                tasks,
                out,
                executor,
                threads=threads,
                on_result=lambda result: bars.ended(result),
                on_progress=lambda shares, done: bars.moved(shares, done),
            )
        except BaseException:
            _end_workers(executor)
            remove_parts(tasks, out)
            raise
    failures = [result.failure for result in results if result.failure is not None]
    if failures and all(failure.is_refusal for failure in failures):
        raise ConfigError(failures[0].error)
    if failures:
        raise RunFailedError(f"{len(failures)} of {len(results)} runs failed; the first: {failures[0].error}")
    return results


class _bars:  # noqa: N801  used as a context
    """One bar for all runs, and one for each that is going on."""

    def __init__(self, tasks: Sequence[Task], console: Console) -> None:
        self._tasks = tasks
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._all = self._progress.add_task("runs", total=len(tasks))
        self._each: dict[int, TaskID] = {}

    def __enter__(self) -> _bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def ended(self, result: Result) -> None:
        """Say what became of a run."""
        what = escape(str(result.folder))
        if result.failure is not None:
            what = f"[red]failed[/]: {escape(result.failure.error)}"
        self._progress.console.print(
            f"{escape(result.task.title)}: {what}{' (was there)' if result.was_there else ''}",
            highlight=False,
            soft_wrap=True,
        )
        self._progress.advance(self._all)

    def moved(self, shares: Mapping[int, float], done: int) -> None:
        """Show how far the runs are that are going on."""
        del done
        for place in set(self._each) - set(shares):
            self._progress.remove_task(self._each.pop(place))
        for place, share in shares.items():
            if place not in self._each:
                self._each[place] = self._progress.add_task(escape(self._tasks[place].title), total=100)
            self._progress.update(self._each[place], completed=int(100 * share))


@contextlib.contextmanager
def _executor(workers: int, dask: str) -> Iterator[Executor]:
    if dask:
        with _dask_executor(dask, workers) as executor:
            yield executor
        return
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")  # runs are what is done in parallel
    pool = _Processes(max_workers=workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _Processes(ProcessPoolExecutor):
    """Worker processes that leave Ctrl-C to us: a terminal sends it to all, and theirs would end in tracebacks."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit as usual; processes that are started by it ignore the signal from their first moment."""
        try:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:  # only the main thread may; then it is another one that is interrupted, too
            return super().submit(fn, *args, **kwargs)
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _dask_executor(address: str, workers: int) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError("--dask needs dask: pip install 'murmuration[hpc]'") from None
    if address == "local":
        local = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)  # type: ignore[no-untyped-call]
        with local as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
            yield client.get_executor()
        return
    with Client(address) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor()


def _end_workers(executor: Executor) -> None:
    """Have worker processes of this machine end, and wait until they have: what they do is not wanted any more."""
    processes = list((getattr(executor, "_processes", None) or {}).values())  # there is no public way
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def parse_setting(text: str) -> tuple[str, Any]:
    """Split `key=value`, the value as TOML (a bare word counts as text). Raises `ConfigError`."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {text!r}: write key=value, e.g. links.loss=0.1")
    return key.strip(), parse_value(value.strip())


def parse_value(text: str) -> Any:
    """Read a value of TOML; what is none is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_shard(text: str) -> Shard:
    """Read `i/n`, 1 <= i <= n. Raises `ConfigError`."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ConfigError(f"--shard {text!r}: write i/n with 1 <= i <= n, e.g. 3/8")
    return Shard(int(number), int(of))


def common_options(command: Any) -> Any:
    """Add the options that `sim` and `sweep` share."""
    for option in reversed(
        [
            click.option(
                "--out",
                default="runs",
                show_default=True,
                type=click.Path(path_type=Path, file_okay=False),
                help="Folder for the folders of runs.",
            ),
            click.option("--workers", default=0, type=click.IntRange(0, 4096), help="Processes; 0: one per core."),
            click.option(
                "--threads",
                default=1,
                show_default=True,
                type=click.IntRange(1, 256),
                help="Threads that train within one run; results do not depend on it.",
            ),
            click.option(
                "--dask", default="", metavar="ADDRESS", help="Run on a Dask cluster; `local` starts one here."
            ),
            click.option("--shard", default="1/1", metavar="I/N", help="Do only part I of N: for array jobs."),
            click.option("--report/--no-report", default=True, help="Write a report when all is done."),
        ]
    ):
        command = option(command)
    return command
