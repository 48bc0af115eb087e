"""Snapshots and checkpoints of one peer: a folder that is always in a state one can start from.

    <kind>-<order>.safetensors   the tensors
    <kind>-<order>.json          the header with their SHA-256; written last, so that its presence commits

Order numbers only grow, and no file is ever written over by another content; the trainer alone commits, prunes and
cleans; the daemon only reads. Nothing here imports torch.

Invariants (tested with power lost at every step):
- once `commit` has returned, `newest_sound` finds this content or a later one, after a crash as well;
- what `newest_sound` returns has the hash that its header states; damaged files are set aside, counted and reported;
- `prune` never removes the newest sound file of a kind, whatever the bounds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec

from peer.core.messages import Count
from peer.errors import IntegrityError, StoreError
from peer.store.atomic import Disk, Sink, Written, atomic_write, is_temporary, plain_reason

Kind = Literal["snapshot", "checkpoint"]
KINDS: tuple[Kind, ...] = ("snapshot", "checkpoint")

_NAME = re.compile(r"(snapshot|checkpoint)-(\d{10})")
_TENSORS = ".safetensors"
_HEADER = ".json"
_DAMAGED = ".damaged"
_MAX_HEADER_BYTES = 64 * 1024
_HEADER_ALLOWANCE_BYTES = 4096  # a header takes some 900 bytes, and one block of the disk
_CHUNK_BYTES = 1 << 20

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored file is. Hashes are hexadecimal, as `sha256sum` shows them."""

    kind: Kind
    round: Count
    steps: Count  # local steps behind it, over the peer's whole life
    size_bytes: Count
    sha256: Hex32  # of the safetensors file
    swarm: Hex32
    space: Hex32  # hash of the ParamSpace layout
    trained: bool = False  # checkpoint: the local steps of `round` are in it already
    version: Literal[1] = 1


class Origin(NamedTuple):
    """What a committed file belongs to; the rest of its header is measured."""

    swarm: bytes
    space: bytes
    round: int
    steps: int
    trained: bool = False


class Content(Protocol):
    """What a new file will hold."""

    size_bytes: int

    def write(self, sink: Sink) -> None:
        """Write exactly `size_bytes` bytes."""


class Snapshot(NamedTuple):
    """A stored file whose hash has been verified."""

    name: str
    path: Path  # of the safetensors file
    header: Header


def _ignore(name: str, reason: str) -> None:
    pass


class SnapshotStore:
    """The snapshots and checkpoints in `folder`: at most `keep` of each kind and `max_bytes` in all.

    Larger `keep`: more to fall back on when a file is damaged, and slow receivers find a snapshot for longer; costs
    disk. The newest sound file of each kind is never removed: when it leaves no room below `max_bytes`, a new one is
    refused. `on_damaged(name, reason)` hears of each damaged file once. Every method raises `StoreError` when the disk
    refuses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        keep: int = 2,
        on_damaged: Callable[[str, str], None] = _ignore,
        disk: Disk | None = None,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self.folder = folder
        self.num_damaged = 0
        self._max_bytes = max_bytes
        self._keep = keep
        self._on_damaged = on_damaged
        self._disk = disk or Disk()
        self._known_sound: set[str] = set()
        with _refusals(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def commit(self, kind: Kind, content: Content, origin: Origin) -> Snapshot:
        """Write a new file durably, having made room for it; it is committed when this returns, and not before.

        Raises `StoreError`, with everything as it was, when the disk or `max_bytes` leave no room.
        """
        self._make_room(content.size_bytes + _HEADER_ALLOWANCE_BYTES)
        name = f"{kind}-{self._next_order():010d}"
        path = self.folder / (name + _TENSORS)
        try:
            written = atomic_write(path, content.write, disk=self._disk)
            header = _header(kind, origin, written)
            self._write_header(name, header)
        except StoreError:
            self._remove(name)
            raise
        self._known_sound.add(name)
        self.prune()
        return Snapshot(name, path, header)

    def newest_sound(self, kind: Kind) -> Snapshot | None:
        """Return the newest file of `kind` whose bytes match its header, or None.

        Each file is read and hashed once in the life of this object. Damaged ones on the way are set aside: so the
        daemon calls this only while no trainer runs.
        """
        for name in self._committed(kind):
            try:
                return self._load(name)
            except IntegrityError as error:
                self._set_aside(name, str(error))
        return None

    def prune(self) -> None:
        """Remove what is beyond the newest `keep` of each kind, never the newest sound one."""
        for kind in KINDS:
            sound = self.newest_sound(kind)
            for name in self._committed(kind)[self._keep :]:
                if sound is not None and name != sound.name:
                    self._remove(name)

    def _make_room(self, size_bytes: int) -> None:
        """Remove the oldest files until `size_bytes` more fit, sparing the newest sound one of each kind."""
        limit_bytes = self._max_bytes - size_bytes
        if self.size_bytes() <= limit_bytes:
            return
        spared = {sound.name for kind in KINDS if (sound := self.newest_sound(kind))}
        names = {name for kind in KINDS for name in self._committed(kind)} - spared
        oldest_first = [(self._unlink, name) for name in self._names() if name.endswith(_DAMAGED)]
        oldest_first += [(self._remove, name) for name in sorted(names, key=_order)]
        for remove, name in oldest_first:
            remove(name)
            if self.size_bytes() <= limit_bytes:
                return
        raise StoreError(
            f"no room in {self.folder}: {size_bytes} bytes more would exceed the {self._max_bytes} of `store.max_bytes`"
        )

    def clean(self) -> int:
        """Remove what an interrupted write left behind; return how many files. Only the one who commits may call it."""
        num_removed = 0
        for name in self._names():
            stem = name.removesuffix(_TENSORS).removesuffix(_HEADER)
            orphan = _NAME.fullmatch(stem) and not self._is_whole(stem) and not name.endswith(_DAMAGED)
            if orphan or is_temporary(name):
                self._unlink(name)
                num_removed += 1
        return num_removed

    def size_bytes(self) -> int:
        """Return the bytes that this store holds on disk, damaged and temporary files included."""
        total = 0
        for name in self._names():
            with _refusals(self.folder), contextlib.suppress(FileNotFoundError):
                total += (self.folder / name).stat().st_size
        return total

    def _load(self, name: str) -> Snapshot:
        header = self._read_header(name)
        path = self.folder / (name + _TENSORS)
        if name not in self._known_sound:
            verify_file(path, header.size_bytes, bytes.fromhex(header.sha256))
            self._known_sound.add(name)
        return Snapshot(name, path, header)

    def _read_header(self, name: str) -> Header:
        path = self.folder / (name + _HEADER)
        try:
            with _refusals(path), path.open("rb") as file:
                content = file.read(_MAX_HEADER_BYTES)
            header = msgspec.json.decode(content, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise IntegrityError(f"{path.name}: not a header ({error})") from error
        if header.kind != _kind(name):
            raise IntegrityError(f"{path.name}: header of a {header.kind}")
        return header

    def _write_header(self, name: str, header: Header) -> None:
        content = msgspec.json.format(msgspec.json.encode(header)) + b"\n"
        atomic_write(self.folder / (name + _HEADER), content, disk=self._disk)

    def _set_aside(self, name: str, reason: str) -> None:
        # Kept for whoever wants to find out what the disk did; one of them is enough.
        for other in self._names():
            if other.endswith(_DAMAGED):
                self._unlink(other)
        for suffix in (_HEADER, _TENSORS):
            path = self.folder / (name + suffix)
            with _refusals(path), contextlib.suppress(FileNotFoundError):
                self._disk.replace(path, path.with_name(path.name + _DAMAGED))
        self._known_sound.discard(name)
        self.num_damaged += 1
        self._on_damaged(name, reason)

    def _remove(self, name: str) -> None:
        self._known_sound.discard(name)
        self._unlink(name + _HEADER)  # first: without it the tensors count for nothing
        self._unlink(name + _TENSORS)

    def _unlink(self, name: str) -> None:
        with _refusals(self.folder / name), contextlib.suppress(FileNotFoundError):
            self._disk.unlink(self.folder / name)

    def _is_whole(self, stem: str) -> bool:
        return all((self.folder / (stem + suffix)).exists() for suffix in (_HEADER, _TENSORS))

    def _names(self) -> list[str]:
        with _refusals(self.folder):
            return sorted(path.name for path in self.folder.iterdir())

    def _committed(self, kind: Kind) -> list[str]:
        """Names with a header, newest first."""
        stems = [name.removesuffix(_HEADER) for name in self._names() if name.endswith(_HEADER)]
        return sorted((stem for stem in stems if _NAME.fullmatch(stem) and _kind(stem) == kind), reverse=True)

    def _next_order(self) -> int:
        found = [_NAME.match(name) for name in self._names()]
        return max((int(match[2]) for match in found if match), default=0) + 1


def verify_file(path: Path, size_bytes: int, sha256: bytes) -> None:
    """Raise `IntegrityError` unless `path` has this length and SHA-256; reads it in pieces."""
    digest = hashlib.sha256()
    with _refusals(path), path.open("rb") as file:
        found_bytes = os.fstat(file.fileno()).st_size
        if found_bytes != size_bytes:
            raise IntegrityError(f"{path.name}: {found_bytes} bytes instead of {size_bytes}")
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.digest() != sha256:
        raise IntegrityError(f"{path.name}: its SHA-256 is not the one in its header")


def _header(kind: Kind, origin: Origin, written: Written) -> Header:
    return Header(
        kind=kind,
        round=origin.round,
        steps=origin.steps,
        size_bytes=written.size_bytes,
        sha256=written.sha256.hex(),
        swarm=origin.swarm.hex(),
        space=origin.space.hex(),
        trained=origin.trained,
    )


def _kind(name: str) -> str:
    return name.partition("-")[0]


def _order(name: str) -> int:
    return int(name.partition("-")[2])


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise IntegrityError(f"{path.name}: missing") from error
    except OSError as error:
        raise StoreError(f"cannot use {path}: {plain_reason(error)}") from error
