"""What came out of a run of real daemons: the file of raw results, the plot, the summary for people."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from netsim.processes.live_table import percent
from peer.cli.status_view import bytes_
from peer.config.swarm_file import SwarmFile, swarm_id
from peer.control.status import short
from peer.store.atomic import atomic_write
from peer.version import VERSION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOLERANCE = 0.02
"""Every peer is to end within 2 points of the model trained on all data in one place."""


class RoundLine(msgspec.Struct, frozen=True):
    """One round of one peer, as its daemon logged it; `timestamp` is UTC, ISO 8601."""

    round: int
    timestamp: str
    loss: float | None
    accuracy_local: float
    accuracy_mixed: float
    disagreement: float
    num_mixed: int
    num_expected: int
    duration_s: float


class PeerResult(msgspec.Struct, frozen=True):
    """One peer at the end. Accuracies are 0..1; `alone` is the same model trained on this peer's share only."""

    peer: str
    accuracy: float
    alone: float
    bytes_in: int  # of the last life of the daemon
    bytes_out: int
    num_starts: int
    rounds: tuple[RoundLine, ...]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. `seconds` is from the start of the first daemon to the last peer's last round."""

    swarm: SwarmFile
    seed: int
    seconds: float
    centralised: float
    peers: tuple[PeerResult, ...]
    killed_peer: str = ""
    killed_at_round: int | None = None
    restarted_at_round: int | None = None
    version: str = VERSION
    python: str = platform.python_version()

    @property
    def all_are_close(self) -> bool:
        """Whether every peer is within `TOLERANCE` of the centralised model."""
        return all(peer.accuracy >= self.centralised - TOLERANCE for peer in self.peers)

    @property
    def all_gained(self) -> bool:
        """Whether every peer is better than its own data alone makes it."""
        return all(peer.accuracy > peer.alone for peer in self.peers)


def write_results(results: Results, path: Path) -> None:
    """Write everything as JSON, with the swarm's id."""
    document = msgspec.to_builtins(results) | {"swarm_id": swarm_id(results.swarm).hex()}
    atomic_write(path, msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def plot_curves(results: Results, path: Path) -> None:
    """Plot the accuracy of every peer over rounds, local and mixed, beside the baselines, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, peer in enumerate(results.peers):
        colour = f"C{place % 10}"
        rounds = [line.round for line in peer.rounds]
        mixed = [100 * line.accuracy_mixed for line in peer.rounds]
        local = [100 * line.accuracy_local for line in peer.rounds]
        axes.plot(rounds, mixed, color=colour, linewidth=1.8, label=short(peer.peer))
        axes.plot(rounds, local, color=colour, linewidth=0.7, alpha=0.5)
        axes.axhline(100 * peer.alone, color=colour, linewidth=0.7, linestyle=":", alpha=0.8)
    axes.axhline(100 * results.centralised, color="black", linestyle="--", label="all data in one place")
    _mark_kill(results, axes)
    axes.set(xlabel="round", ylabel="accuracy on the test set, %")
    axes.set_ylim(top=101)
    axes.set_title("Thick: after mixing. Thin: after the own steps. Dotted: alone on the own share.", fontsize=9)
    figure.legend(fontsize=8, loc="outside right upper")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _mark_kill(results: Results, axes: Axes) -> None:
    for round, word in ((results.killed_at_round, "killed"), (results.restarted_at_round, "started again")):
        if round is not None:
            axes.axvline(round, color="red", linewidth=0.8)
            text = f" {short(results.killed_peer)} {word}"
            axes.annotate(text, (round, 0.02), xycoords=("data", "axes fraction"), fontsize=8, color="red", rotation=90)


def summary(results: Results, out: Path) -> RenderableType:
    """Return what the demo prints at the end."""
    killed = (
        f"* killed in round {results.killed_at_round}, started again; bytes since then" if results.killed_peer else None
    )
    table = Table(title="Accuracy on the test set", title_justify="left", caption=killed, caption_justify="left")
    for name in ("peer", "in the swarm", "alone", "all data", "gap", "in", "out"):
        table.add_column(name, justify="left" if name == "peer" else "right")
    for peer in results.peers:
        behind = results.centralised - peer.accuracy
        colour = "green" if behind <= TOLERANCE else "red"
        table.add_row(
            short(peer.peer) + ("*" if peer.num_starts > 1 else ""),
            f"[{colour}]{percent(peer.accuracy)}[/{colour}]",
            percent(peer.alone),
            percent(results.centralised),
            f"{-100 * behind:+.1f}",
            bytes_(peer.bytes_in),
            bytes_(peer.bytes_out),
        )
    return Group(table, Text(_verdict(results)), Text(f"Results: {out / 'results.json'}   Plot: {out / 'curves.png'}"))


def _verdict(results: Results) -> str:
    worst = max(results.centralised - peer.accuracy for peer in results.peers)
    gains = [peer.accuracy - peer.alone for peer in results.peers]
    traffic = sum(peer.bytes_out for peer in results.peers)
    verdict = "Every peer is" if results.all_are_close else "NOT every peer is"
    return (
        f"{verdict} within {100 * TOLERANCE:.0f} points of the model trained on all data (farthest: "
        f"{-100 * worst:+.1f}); the swarm gave them {100 * min(gains):.1f} to {100 * max(gains):.1f} points over their "
        f"own data alone. {results.seconds:.1f} s, {bytes_(traffic)} sent in all."
    )
