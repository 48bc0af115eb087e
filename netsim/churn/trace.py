"""Peers come and go as was measured."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf, nan
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec

from netsim.churn.base import Session
from netsim.distributions import uniform_of
from topology.errors import BadParameterError

_COLUMNS = ("peer", "start_s", "end_s")


class Trace:
    """The sessions of a CSV file: availability traces, logs of a real swarm, or a plan made by hand.

        peer,start_s,end_s        [start_s, end_s) one session of `peer`, in seconds from the beginning of the run

    The heading is required, in any order of columns, further columns are passed over. Sessions of one peer may touch
    (a restart) but not overlap; `end_s` may be inf. Read once, O(rows log rows).
    Source: availability traces as in [Kondo, Javadi, Iosup & Epema 2010, The Failure Trace Archive]; the form is ours.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Where the trace is, and who follows whom in it."""

        file: Annotated[str, msgspec.Meta(description="Name of the CSV file; a relative one counts from the scenario.")]
        assign: Annotated[
            Literal["named", "round-robin", "shuffled"],
            msgspec.Meta(
                description="Who follows which peer of the trace. named: the one of its own name or number (from 0); a"
                " peer without a row is never there. round-robin: peer i follows number i mod m of the m in the trace,"
                " in order of their first rows; where the trace has more, the last ones are followed by nobody."
                " shuffled: the same in an order that the seed draws."
            ),
        ] = "named"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._rows = _read(Path(config.file))
        self._orders: dict[int, list[str]] = {}

    def presence(self, peer: str, index: int, *, seed: int, until_s: float) -> Iterator[Session]:
        """Yield the sessions of the peer of the trace that this one follows."""
        for _, start_s, end_s in self._rows_of(peer, index, seed):
            if start_s >= until_s:
                return
            yield start_s, end_s

    def require(self, peers: Sequence[str]) -> None:
        """Raise `BadParameterError` for a peer of the trace that is nobody of these, or if two of them are one."""
        if self.config.assign != "named":
            return
        numbers = {_key(peer): index for index, peer in enumerate(peers)}
        followed: dict[int, str] = {}
        for key, rows in self._rows.items():
            index = numbers.get(key, int(key) if key.isdecimal() else len(peers))
            where = f"{self.config.file}:{rows[0][0]}"
            if index >= len(peers):
                raise BadParameterError(f"{where}: peer {key!r} is none of the {len(peers)} peers, by name or number")
            if index in followed:
                raise BadParameterError(f"{where}: peers {followed[index]!r} and {key!r} are the same; call it one way")
            followed[index] = key

    def _rows_of(self, peer: str, index: int, seed: int) -> list[_Row]:
        if self.config.assign == "named":
            return self._rows.get(_key(peer)) or self._rows.get(str(index)) or []
        order = self._order(seed)
        return self._rows[order[index % len(order)]]

    def _order(self, seed: int) -> list[str]:
        if self.config.assign == "round-robin":
            seed = 0  # one order for all
        if seed not in self._orders:
            order = list(self._rows)
            if self.config.assign == "shuffled":
                order.sort(key=lambda key: uniform_of(seed, "trace", key))
            self._orders = {seed: order}
        return self._orders[seed]


_Row = tuple[int, float, float]
"""Line, start and end of a session."""


def _key(peer: str) -> str:
    """Return the name of a peer, with numbers in one way of writing: 007 is 7."""
    return str(int(peer)) if peer.isascii() and peer.isdecimal() else peer


def _read(path: Path) -> dict[str, list[_Row]]:
    """Return the sessions of each peer in order of time; peers in order of their first rows."""
    sessions: dict[str, list[_Row]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for key, row in _rows(path, csv.reader(file)):
                sessions.setdefault(key, []).append(row)
    except OSError as error:
        raise BadParameterError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadParameterError(f"{path}: not a text in UTF-8: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise BadParameterError(f"{path}: not a CSV file: {error}") from None
    if not sessions:
        raise BadParameterError(f"{path}: no session in it")
    for key, rows in sessions.items():
        rows.sort(key=lambda row: row[1:])
        for (line, _, end_s), (later, start_s, _) in pairwise(rows):
            if start_s < end_s:
                raise BadParameterError(
                    f"{path}:{later}: peer {key!r} comes at {start_s:g} s, but is there to {end_s:g} s by line {line}"
                )
    return sessions


def _rows(path: Path, lines: _Lines) -> Iterator[tuple[str, _Row]]:
    places: list[int] | None = None
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if places is None:
            places = _places(path, lines.line_num, cells)
            continue
        where = f"{path}:{lines.line_num}"
        if len(cells) <= max(places):
            raise BadParameterError(f"{where}: expected {', '.join(_COLUMNS)}, got {','.join(cells)!r}")
        peer, start, end = (cells[place].strip() for place in places)
        if not peer:
            raise BadParameterError(f"{where}: the name of the peer is empty")
        start_s, end_s = _seconds(where, "start_s", start), _seconds(where, "end_s", end)
        if start_s == inf:
            raise BadParameterError(f"{where}: start_s must be finite, got {start!r}")
        if end_s <= start_s:
            raise BadParameterError(f"{where}: end_s must be later than start_s = {start}, got {end}")
        yield _key(peer), (lines.line_num, start_s, end_s)


def _places(path: Path, line: int, heading: Sequence[str]) -> list[int]:
    names = [name.strip() for name in heading]
    if missing := [column for column in _COLUMNS if names.count(column) != 1]:
        raise BadParameterError(
            f"{path}:{line}: expected the heading {','.join(_COLUMNS)}, got {','.join(names)!r}:"
            f" {missing[0]!r} is there {names.count(missing[0])} times"
        )
    return [names.index(column) for column in _COLUMNS]


def _seconds(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not value >= 0:
        raise BadParameterError(f"{where}: {column} must be seconds, 0 or more, got {text!r}")
    return value


class _Lines(Protocol):
    """What `csv.reader` returns: rows, and the number of the line that was read last."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...
