"""The folder of one run: what was run, what was measured, and what became of it. One format for all worlds.

    run.json        the record: scenario, seed, peers, graph before and after, events, counters, outcome
    totals.jsonl    a line for each instant of measuring: the swarm as a whole
    peers.parquet   a row for each instant and measured peer
    timing.json     how long it took and on what: the only file that differs when a run is repeated

A folder that exists is complete. It is written under the name `NAME.part`, flushed to the disk, and renamed when it is
whole; what an interrupt or a crash leaves behind is a `.part`, which the next writer of that name replaces. While it
writes, a writer holds a lock on the totals, so that two processes that are given the same run do not mix their files.

All files but `timing.json` are functions of the run: no clock, no path and no order of a hash table gets into them, so
that equal digests mean equal runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from peer.errors import ConfigError, StoreError
from peer.store.atomic import plain_reason

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
RECORD, TOTALS, PEERS, TIMING = "run.json", "totals.jsonl", "peers.parquet", "timing.json"
PART = ".part"
MEASURED = (RECORD, TOTALS, PEERS)
"""The files that are functions of the run, in the order in which the digest takes them."""

COLUMNS: Mapping[str, type[np.generic]] = {
    "peer": np.int32,
    "round": np.int32,
    "accuracy": np.float64,
    "alive": np.bool_,
    "degree": np.int32,
    "bytes_in": np.int64,
    "bytes_out": np.int64,
}
"""Columns of `peers.parquet` after `at_s`. `peer` is the index in the record; `accuracy` 0..1, NaN where it was not
measured; `degree` the neighbours that can be reached; bytes are counted since the beginning."""

ROW_GROUP = 65_536
"""Rows that are kept before they are written: small instants share a row group, which is what Parquet reads well."""

T = TypeVar("T")


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was computed with."""

    murmuration: str
    python: str
    torch: str
    numpy: str


class PeerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A peer; its index in the record's list is its number everywhere else. `position` is (x, y) where there is one."""

    id: str
    group: str
    samples: int
    is_byzantine: bool = False
    position: list[float] | None = None


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: `peers` are those whom it concerned."""

    at_s: float
    name: str
    text: str
    peers: list[int]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the run ended: `reason` names the rule that stopped it."""

    reason: str
    at_s: float
    num_node_rounds: int
    num_events: int


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`. Edges are pairs of indices; `scenario` is what was read, with the defaults filled in."""

    format_version: int = FORMAT_VERSION
    name: str
    scenario: dict[str, Any]
    scenario_hash: str
    seed: int
    versions: Versions
    command: str
    outcome: Outcome
    counters: dict[str, int]
    events: list[EventRecord]
    peers: list[PeerRecord]
    alive_after: list[int]
    edges_before: list[list[int]]
    edges_after: list[list[int]]


class TotalsRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `totals.jsonl`: the swarm at one instant of measuring.

    Accuracies (0..1) are over the measured honest peers that are there, `accuracy_merged` is that of the mean of their
    models, `consensus` their mean squared distance from it; None where nobody was measured. Bytes, messages, broken
    transfers and node-rounds are counted since the beginning.
    """

    at_s: float
    round_min: int
    round_median: int
    round_max: int
    num_alive: int
    num_components: int
    largest_component: int
    num_isolated: int
    accuracy_mean: float | None
    accuracy_min: float | None
    accuracy_max: float | None
    accuracy_std: float | None
    accuracy_merged: float | None
    consensus: float | None
    loss_mean: float | None
    bytes_sent: int
    messages_sent: int
    transfers_broken: int
    node_rounds: int


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """`timing.json`: what the run cost here. `events_per_s` are those of virtual time per second of ours."""

    wall_s: float
    events_per_s: float
    peak_rss_bytes: int
    machine: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was read. The table of peers is read when it is asked for: it may be large."""

    folder: Path
    record: RunRecord
    totals: list[TotalsRow]
    timing: Timing | None

    def peers(self) -> pa.Table:
        """Return `peers.parquet`: `at_s` and COLUMNS, in the order of time. Raises `ConfigError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / PEERS
        try:
            table = pq.ParquetFile(path, memory_map=False).read()
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
        if not table.schema.equals(_schema()):
            raise ConfigError(f"{path}: has not the columns of format {FORMAT_VERSION}: {', '.join(_schema().names)}")
        return table


class RunWriter:
    """Writes the folder of a run; used as a context, which removes everything unless `finish` came to its end.

        with RunWriter(folder) as writer:
            writer.row(totals, columns)  # as often as is measured
            writer.finish(record, timing)

    Each row of totals is in the file at once, so that a watcher sees how far the run is. Raises `ConfigError` when the
    folder is there already or another process is at work on it, `StoreError` when the system refuses to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.part = folder.with_name(folder.name + PART)
        self._rows: list[dict[str, npt.NDArray[np.generic]]] = []
        self._num_rows = 0
        self._is_finished = False
        if folder.exists():
            raise ConfigError(f"{folder}: is there already; results are never overwritten")
        self._totals = self._begin()
        try:
            self._peers = self._open_peers()
        except BaseException:
            self._discard()
            raise

    def row(self, totals: TotalsRow, peers_columns: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Write what was measured at one instant: the totals, and for each measured peer an entry of all COLUMNS."""
        if set(peers_columns) != set(COLUMNS):
            raise ValueError(f"columns {sorted(peers_columns)}, expected {sorted(COLUMNS)}")
        rows = {name: np.asarray(peers_columns[name]).astype(dtype) for name, dtype in COLUMNS.items()}
        if len({len(column) for column in rows.values()}) != 1:
            raise ValueError("columns of different lengths")
        num_peers = len(rows["peer"])
        with _says_where(self.part):
            self._totals.write(msgspec.json.encode(totals) + b"\n")
            self._totals.flush()
            self._rows.append({"at_s": np.full(num_peers, totals.at_s), **rows})
            self._num_rows += num_peers
            if self._num_rows >= ROW_GROUP:
                self._write_rows()

    def finish(self, record: RunRecord, timing: Timing) -> None:
        """Write the rest, see that it reaches the disk, and give the folder its name."""
        with _says_where(self.part):
            self._write_rows()
            self._peers.close()
            (self.part / RECORD).write_bytes(_pretty(record))
            (self.part / TIMING).write_bytes(msgspec.json.format(msgspec.json.encode(timing)) + b"\n")
            for name in (*MEASURED, TIMING):
                _sync(self.part / name)
            _sync(self.part)
            self.part.rename(self.folder)
            self._is_finished = True
            self._totals.close()
            _sync(self.folder.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_finished:
            self._discard()

    def _begin(self) -> IO[bytes]:
        """Make the `.part` folder anew and return its totals, locked."""
        with _says_where(self.part):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            if self.part.exists():
                with (self.part / TOTALS).open("ab") as old:
                    _lock(old, self.part)
                    shutil.rmtree(self.part)
            try:
                self.part.mkdir()
            except FileExistsError:
                raise ConfigError(f"{self.part}: another process is at work on this run") from None
            totals = (self.part / TOTALS).open("xb")
            _lock(totals, self.part)
            return totals

    def _open_peers(self) -> Any:
        import pyarrow.parquet as pq

        with _says_where(self.part):
            return pq.ParquetWriter(self.part / PEERS, _schema(), compression="zstd")

    def _write_rows(self) -> None:
        if not self._num_rows:
            return
        import pyarrow as pa

        joined = {name: np.concatenate([rows[name] for rows in self._rows]) for name in _schema().names}
        self._rows, self._num_rows = [], 0
        self._peers.write_table(pa.table(joined, schema=_schema()), row_group_size=ROW_GROUP)

    def _discard(self) -> None:
        if hasattr(self, "_peers"):
            with contextlib.suppress(OSError):  # it is thrown away: a full disk does not matter any more
                self._peers.close()
        shutil.rmtree(self.part, ignore_errors=True)
        self._totals.close()


def read_run(folder: Path) -> Run:
    """Read the folder of a run. Raises `ConfigError`, in one line, for what is no whole run of this format."""
    if not (folder / RECORD).is_file():
        what = "is a run that was not finished" if folder.name.endswith(PART) else "is not the folder of a run"
        raise ConfigError(f"{folder}: {what}: it has no {RECORD}")
    version = _decoded(folder / RECORD, _Header).format_version
    if version != FORMAT_VERSION:
        raise ConfigError(f"{folder / RECORD}: has format {version}, this murmuration reads {FORMAT_VERSION}")
    record = _decoded(folder / RECORD, RunRecord)
    for where, index in _indices(record):
        if not 0 <= index < len(record.peers):
            raise ConfigError(f"{folder / RECORD}: {where} names peer {index}, but there are {len(record.peers)}")
    return Run(
        folder=folder,
        record=record,
        totals=_from_file(folder / TOTALS, lambda content: msgspec.json.Decoder(TotalsRow).decode_lines(content)),
        timing=_decoded(folder / TIMING, Timing) if (folder / TIMING).exists() else None,
    )


def digest(folder: Path) -> str:
    """Return SHA-256, in hex, over the files that are functions of the run. Raises `ConfigError`."""
    whole = hashlib.sha256(b"murmuration/run/1\0")
    for name in MEASURED:
        whole.update(_from_file(folder / name, lambda content: hashlib.sha256(content).digest()))
    return whole.hexdigest()


class _Header(msgspec.Struct, frozen=True):
    format_version: int


def _decoded(path: Path, kind: type[T]) -> T:
    return _from_file(path, lambda content: msgspec.json.decode(content, type=kind))


def _from_file(path: Path, read: Callable[[bytes], T]) -> T:
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {plain_reason(error)}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: is not what a run leaves: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not what a run leaves: not UTF-8") from error


def _indices(record: RunRecord) -> Iterator[tuple[str, int]]:
    """Yield all indices of peers in a record, each with the key that it stands under."""
    lists: Iterable[tuple[str, Iterable[list[int]]]] = (
        ("edges_before", record.edges_before),
        ("edges_after", record.edges_after),
        ("alive_after", [record.alive_after]),
        ("events", [event.peers for event in record.events]),
    )
    for where, entries in lists:
        for entry in entries:
            if where.startswith("edges") and len(entry) != 2:
                yield where, -1
            yield from ((where, index) for index in entry)


def _pretty(record: RunRecord) -> bytes:
    """Return a record as JSON that people can read and diff: lists of structs one a line, long lists on one line."""
    lines = []
    for name in record.__struct_fields__:
        value = getattr(record, name)
        key = msgspec.json.encode(name)
        encoded = msgspec.json.encode(value)
        if name in ("events", "peers") and value:
            encoded = b"[\n    " + b",\n    ".join(map(msgspec.json.encode, value)) + b"\n  ]"
        elif isinstance(value, dict | msgspec.Struct):
            encoded = msgspec.json.format(encoded).replace(b"\n", b"\n  ")
        lines.append(b"  " + key + b": " + encoded)
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"at_s": np.float64, **COLUMNS}
    return pa.schema([pa.field(name, pa.from_numpy_dtype(kind), nullable=False) for name, kind in kinds.items()])


def _lock(file: IO[bytes], part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{part}: another process is at work on this run") from None
    except OSError:  # a file system without locks: whoever runs a run twice at once there has been told not to
        return


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class _says_where:  # noqa: N801  used as a context
    """Turns what the system refuses into one line with the path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise StoreError(f"cannot write {self._path}: {plain_reason(error)}") from error
