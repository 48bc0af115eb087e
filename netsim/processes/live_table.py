"""The table that the demo shows while the swarm learns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from peer.cli.status_view import bytes_
from peer.control.status import Status, short

STATE_STYLES = {"training": "cyan", "gathering": "yellow", "mixing": "magenta", "done": "green", "waiting": "dim"}


def live_table(rows: Sequence[tuple[str, Status | None, str]], *, elapsed_s: float, note: str) -> Table:
    """Return the table; a row is (peer id, what its daemon says or None, what to show instead when it says nothing)."""
    table = Table(title=f"{len(rows)} peers, {elapsed_s:.0f} s", caption=note or None, title_justify="left")
    table.add_column("peer")
    table.add_column("state", min_width=10)
    for name in ("round", "local", "mixed", "neighbours", "in", "out", "age"):
        table.add_column(name, justify="right")
    for peer_id, status, absent in rows:
        table.add_row(short(peer_id), *(_cells(status) if status is not None else (f"[red]{absent}[/red]",)))
    return table


def _cells(status: Status) -> tuple[str, ...]:
    style = STATE_STYLES.get(status.state, "default")
    state = f"[{style}]{status.state}[/{style}]"
    return (
        state,
        f"{status.round}/{status.total_rounds}" if status.total_rounds else str(status.round),
        percent(status.accuracy_local),
        percent(status.accuracy_mixed),
        f"{status.num_neighbours_linked}/{status.num_neighbours}",
        bytes_(status.bytes_in),
        bytes_(status.bytes_out),
        f"{status.mixed_age_mean_s:.2f} s" if status.mixed_age_mean_s is not None else "",
    )


def percent(accuracy: float | None) -> str:
    """Return an accuracy as people write it."""
    return "" if accuracy is None else f"{100 * accuracy:.1f} %"
