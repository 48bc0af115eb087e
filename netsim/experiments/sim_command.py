"""Run a scenario in virtual time: thousands of peers on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from netsim.experiments.running import common_options
from peer.errors import ConfigError


@click.command()
@click.argument("scenario", required=False)
@click.option("--list", "wants_list", is_flag=True, help="Name the scenarios that come with murmuration.")
@click.option("--show", is_flag=True, help="Print the scenario file instead of running it.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0, 2**53), help="Only this seed; may be repeated.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another value for a key of the scenario.")
@click.option("--open/--no-open", "opens", default=None, help="Open the report; by default when a person watches.")
@common_options
def sim(
    scenario: str | None,
    wants_list: bool,
    show: bool,
    seeds: tuple[int, ...],
    settings: tuple[str, ...],
    opens: bool | None,
    out: Path,
    workers: int,
    threads: int,
    dask: str,
    shard: str,
    report: bool,
) -> None:
    """Run SCENARIO in virtual time: a file, or the name of one that comes with murmuration (`--list`).

    Each seed is a run, and leaves a folder named by scenario, hash and seed; a run whose folder is there is not done
    again. `murmuration sim demo` shows a hundred peers that lose their hubs.
    """
    import msgspec
    from rich.console import Console

    from netsim.experiments import library
    from netsim.experiments.campaign import tasks_of
    from netsim.experiments.running import parse_setting, parse_shard, run_shown

    if wants_list:
        for name in library.names():
            click.echo(f"{name:<24} {' '.join(library.load(name).about.split())}")
        return
    if scenario is None:
        raise ConfigError("name a scenario; `murmuration sim --list` names ours")
    if show:
        click.echo(library.text(scenario), nl=False)
        return
    read = library.load(scenario)
    if seeds:
        read = msgspec.structs.replace(read, seeds=tuple(dict.fromkeys(seeds)))
    changed = {key: (value,) for key, value in map(parse_setting, settings)}
    tasks = tasks_of(read, changed, scenario, shard=parse_shard(shard))
    console = Console()
    results = run_shown(tasks, out, workers=workers, threads=threads, dask=dask, console=console)
    if report and results:
        from netsim.experiments.report.page import write_report

        page = out / f"{read.name}.html"
        write_report([result.folder for result in results], page)
        console.print(f"Report: {page}", highlight=False, markup=False, soft_wrap=True)
        if console.is_terminal if opens is None else opens:
            click.launch(str(page))
