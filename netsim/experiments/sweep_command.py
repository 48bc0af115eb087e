"""Run a scenario over a grid of settings: any key, all combinations, all seeds."""

from __future__ import annotations

from pathlib import Path

import click

from netsim.experiments.running import common_options
from peer.errors import ConfigError


@click.command()
@click.argument("scenario")
@click.option(
    "--over",
    "axes",
    multiple=True,
    required=True,
    metavar="KEY=[V1, V2, ...]",
    help="A key of the scenario and its values, as TOML; may be repeated for a grid.",
)
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0, 2**53), help="Only this seed; may be repeated.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another value for a key, in all runs.")
@click.option("--dry-run", is_flag=True, help="Say what would be run.")
@common_options
def sweep(
    scenario: str,
    axes: tuple[str, ...],
    seeds: tuple[int, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    out: Path,
    workers: int,
    threads: int,
    dask: str,
    shard: str,
    report: bool,
) -> None:
    """Run SCENARIO with all combinations of the values given by --over, for each seed.

    Interrupted, the same command goes on where it stopped. `--shard 3/8` does the third eighth of the runs: array jobs
    that share a file system divide them so.
    """
    import msgspec
    from rich.console import Console

    from netsim.experiments import library
    from netsim.experiments.campaign import tasks_of
    from netsim.experiments.running import parse_setting, parse_shard, run_shown

    read = library.load(scenario)
    if seeds:
        read = msgspec.structs.replace(read, seeds=tuple(dict.fromkeys(seeds)))
    grid = {key: (value,) for key, value in map(parse_setting, settings)}
    for axis in axes:
        key, values = parse_setting(axis)
        if not isinstance(values, list) or not values:
            raise ConfigError(f"--over {axis!r}: write a list of values, e.g. links.loss=[0.0, 0.1]")
        grid[key] = tuple(values)
    tasks = tasks_of(read, grid, scenario, shard=parse_shard(shard))
    if dry_run:
        for task in tasks:
            state = "done" if (out / task.folder).exists() else "to do"
            click.echo(f"{task.folder}  {state}  {task.title}")
        return
    console = Console()
    results = run_shown(tasks, out, workers=workers, threads=threads, dask=dask, console=console)
    if report and results:
        from netsim.experiments.report.page import write_report

        page = out / f"{read.name}-sweep.html"
        write_report([result.folder for result in results], page)
        console.print(f"Report: {page}", highlight=False, markup=False, soft_wrap=True)
