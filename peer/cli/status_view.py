"""The status document as people read it. Texts are shown as they are: nothing in them is markup or obeyed."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from peer.control.client import NoAnswerError
from peer.control.status import SCHEMA, NeighbourRow, Status, short
from peer.logs import visible

UNKNOWN = "-"


def decode(answer: bytes) -> Status:
    """Read a status document. Raises `NoAnswerError` when a daemon of another version wrote it."""
    try:
        status = msgspec.json.decode(answer, type=Status)
    except msgspec.DecodeError as error:
        raise NoAnswerError(f"the daemon's answer cannot be read; is it of another version? ({error})") from error
    if status.schema != SCHEMA:
        raise NoAnswerError(f"the daemon speaks status schema {status.schema}, this command {SCHEMA}; update one")
    return status


def view(status: Status) -> RenderableType:
    """Return the whole status: facts, one row per neighbour, and the addresses, whole, to be copied."""
    parts: list[RenderableType] = [_facts(status)]
    if status.neighbours:
        parts += [Text(), _neighbours(status.neighbours)]
    if status.addresses:
        parts += [Text(), *(Text(visible(address), no_wrap=True, overflow="ignore") for address in status.addresses)]
    return Group(*parts)


def _facts(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    for name, value in _rows(status):
        if value:
            table.add_row(name, Text(visible(value)))
    return table


def _rows(status: Status) -> list[tuple[str, str]]:
    total = f" of {status.total_rounds}" if status.total_rounds else ""
    waiting = f", for {status.waiting_for}" if status.waiting_for else ""
    return [
        ("peer", status.peer),
        ("swarm", f"{status.swarm} ({status.swarm_id[:16]})"),
        ("state", f"{status.state}{waiting}"),
        ("round", f"{status.round}{total}"),
        ("accuracy", f"{ratio(status.accuracy_mixed)} mixed, {ratio(status.accuracy_local)} after own steps"),
        ("loss", number(status.loss)),
        ("disagreement", number(status.disagreement)),
        ("mixed age", f"{seconds(status.mixed_age_mean_s)} mean, {seconds(status.mixed_age_max_s)} most"),
        ("neighbours", f"{status.num_neighbours_linked} of {status.num_neighbours} linked"),
        ("swarm size", f"{status.num_members} members, {status.num_links} links"),
        ("bytes", f"{bytes_(status.bytes_in)} in, {bytes_(status.bytes_out)} out"),
        ("trainer", _trainer(status)),
        ("saved", _saved(status)),
        ("faults", ", ".join(f"{kind} {count}" for kind, count in sorted(status.faults.items()))),
        ("http", f"http://{status.http}/metrics" if status.http else ""),
        ("daemon", f"pid {status.pid}, up {seconds(status.uptime_s)}, {status.agent}"),
    ]


def _trainer(status: Status) -> str:
    trainer = status.trainer
    parts = [
        trainer.state,
        f"pid {trainer.pid}" if trainer.pid else "",
        f"on {trainer.device}" if trainer.device else "",
        bytes_(trainer.resident_bytes) if trainer.resident_bytes else "",
        f"{trainer.restarts} restarts" if trainer.restarts else "",
        f"last error: {trainer.last_error}" if trainer.last_error else "",
    ]
    return ", ".join(part for part in parts if part)


def _saved(status: Status) -> str:
    saved = status.saved
    if saved.error:
        return f"FAILED: {saved.error}"
    return "nothing yet" if saved.round is None else f"round {saved.round}, {seconds(saved.age_s)} ago"


def _neighbours(rows: tuple[NeighbourRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("neighbour")
    table.add_column("link")
    for heading in ("round", "lag", "age"):
        table.add_column(heading, justify="right")
    table.add_column("mixed last")
    for row in rows:
        table.add_row(
            Text(visible(short(row.peer))),
            "up" if row.linked else "down",
            UNKNOWN if row.round is None else str(row.round),
            UNKNOWN if row.lag_rounds is None else str(row.lag_rounds),
            seconds(row.age_s),
            "yes" if row.mixed_last else "no",
        )
    return table


def ratio(value: float | None) -> str:
    """Return 0..1 as a percentage."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Return a number with three significant digits."""
    return UNKNOWN if value is None else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Return a duration in its natural unit."""
    if value is None:
        return UNKNOWN
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.1f} s"


def bytes_(value: int) -> str:
    """Return a number of bytes in its natural unit (powers of 1000)."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value} B"
