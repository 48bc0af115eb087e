"""Watch eight real daemons on this machine learn digits together."""

from __future__ import annotations

from pathlib import Path

import click

from peer.errors import MurmurationError


class MissedTargetError(MurmurationError):
    """The demo ran, and its result is not what it is there to show."""


@click.command()
@click.option("--peers", default=8, show_default=True, type=click.IntRange(2, 64), help="How many daemons.")
@click.option("--rounds", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many rounds.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of data split and first model.")
@click.option("--kill-one", is_flag=True, help="Kill -9 one daemon in the middle, and start it again.")
@click.option(
    "--out", default="demo-output", show_default=True, type=click.Path(path_type=Path), help="Folder for all files."
)
def demo(peers: int, rounds: int, seed: int, kill_one: bool, out: Path) -> None:
    """Watch eight real daemons on this machine learn digits together.

    Each has its own key, its own state directory, its own private share of scikit-learn's digits and a trainer process;
    all that they are told is one bootstrap address. Ends with exit code 0 when every peer is as good as the model
    trained on all data in one place, within 2 points.
    """
    from rich.console import Console

    from netsim.processes.demo import DemoOptions, run_demo

    options = DemoOptions(num_peers=peers, rounds=rounds, seed=seed, kill_one=kill_one, out=out)
    results = run_demo(options, Console())
    if not (results.all_are_close and results.all_gained):
        raise MissedTargetError("the swarm did not reach its target (see the table above)")
