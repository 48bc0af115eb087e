"""`python -m netsim.experiments.findings`: run the experiments and write their page."""

from __future__ import annotations

from pathlib import Path

import click

from netsim.experiments.findings.experiment import Experiment
from peer.errors import ConfigError

PAGE = Path("docs/experiments.md")
PART_PAGE = "experiments.md"


@click.command()
@click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--workers", default=0, type=click.IntRange(0, 4096), help="Processes; 0: one per core.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this experiment; may be repeated.")
@click.option("--quick", is_flag=True, help="The first two seeds of each row only.")
@click.option("--mnist", default="", metavar="PATH", help="Folder with MNIST's files, for the experiment on them.")
@click.option(
    "--page",
    "path",
    default=None,
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The page; {PAGE}, or OUT/{PART_PAGE} with --only or --quick.",
)
def findings(out: Path, workers: int, only: tuple[str, ...], quick: bool, mnist: str, path: Path | None) -> None:
    """Run the experiments that prove the simulator, as far as their runs are not in OUT, and write their page."""
    from rich.console import Console

    from netsim.experiments.findings.page import IMAGES, page, save_pictures
    from netsim.experiments.running import run_shown

    chosen = _chosen(only, mnist)
    runnable = [experiment for experiment in chosen if not experiment.needs]
    tasks = {task.folder: task for experiment in runnable for task in experiment.tasks(quick=quick)}
    console = Console()
    run_shown(list(tasks.values()), out, workers=workers, threads=1, dask="", console=console)
    parts = [(one, None if one.needs else one.read(out, quick=quick)) for one in chosen]
    path = path or (out / PART_PAGE if only or quick else PAGE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(parts), encoding="utf-8")
    for experiment, runs in parts:
        if runs is not None:
            save_pictures(experiment.pictures(runs), path.parent / IMAGES)
    console.print(f"Page: {path}", highlight=False)


def _chosen(only: tuple[str, ...], mnist: str) -> list[Experiment]:
    from netsim.experiments.findings.catalogue import experiments

    known = {experiment.name: experiment for experiment in experiments(mnist=mnist)}
    for name in only:
        if name not in known:
            raise ConfigError(f"--only {name!r}: no such experiment; known: {', '.join(known)}")
    return [experiment for name, experiment in known.items() if not only or name in only]
