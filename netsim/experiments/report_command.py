"""Show what came out of one run or many: a page with plots, and the plots as files."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--out", default="report.html", show_default=True, type=click.Path(path_type=Path, dir_okay=False), help="The page."
)
@click.option(
    "--png", "png_folder", type=click.Path(path_type=Path, file_okay=False), help="Folder for the plots as PNG files."
)
@click.option(
    "--group-by",
    default="",
    metavar="KEY",
    help="Average over runs with the same value of this key of the scenario (e.g. topology.family.name), not only over"
    " seeds.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page when it is written.")
def report(runs: tuple[Path, ...], out: Path, png_folder: Path | None, group_by: str, opens: bool) -> None:
    """Write a page about RUN..., folders that `sim`, `sweep` or `emulate` have left, or folders of such folders.

    One run is shown in detail. Several are compared: the seeds of a scenario are one curve with a confidence band. The
    page needs no network and no other file.
    """
    from rich.console import Console

    from netsim.experiments.report.page import write_report

    console = Console()
    with console.status("drawing"):
        pictures = write_report(runs, out, png_folder=png_folder, group_by=group_by)
    console.print(f"Report: {out}", highlight=False, soft_wrap=True)
    if pictures:
        console.print(f"Plots:  {png_folder} ({len(pictures)} files)", highlight=False, soft_wrap=True)
    if opens:
        click.launch(str(out))
