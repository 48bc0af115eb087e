"""Write a file so that a crash at any moment leaves the old content or the new, never a torn one.

The order is the whole point: write a temporary file in the same folder, fsync it (its bytes are on the disk before any
name points at them), rename it over the old name (one atomic step), fsync the folder (the new name is on the disk).
A crash before the rename leaves a temporary file, which `is_temporary` recognises for whoever cleans the folder.

Source: Pillai et al. 2014, "All File Systems Are Not Created Equal", which lists what goes wrong without each step.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from peer.errors import StoreError

_TEMPORARY = ".tmp"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this process or file system allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EIO: "the disk reports an input/output error",
}


class Written(NamedTuple):
    """What has reached the disk."""

    size_bytes: int
    sha256: bytes


class Disk:
    """The system calls that change a folder, in one place so that a test can lose power between any two of them."""

    def create(self, path: Path) -> int:
        """Create `path`, which must not exist, readable by the owner alone; return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, data: memoryview) -> int:
        """Write a part of `data`; return how many bytes."""
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        """Wait until the bytes of the file are on the disk."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close the descriptor."""
        os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Rename, replacing what `target` named."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def fsync_folder(self, folder: Path) -> None:
        """Wait until the names in `folder` are on the disk."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Sink:
    """Takes bytes for an open file; hashes and counts them on the way."""

    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self._fd = fd
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises `OSError`."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._size_bytes += len(view)
        while view:
            view = view[self._disk.write(self._fd, view) :]

    def written(self) -> Written:
        """Return size and hash of everything written so far."""
        return Written(self._size_bytes, self._hash.digest())


Writer = Callable[[Sink], None]


def atomic_write(path: Path, content: bytes | Writer, *, disk: Disk | None = None) -> Written:
    """Replace `path` by `content`, atomically and durably; return size and SHA-256 of what was written.

    `content` is the bytes, or a function that writes them piece by piece (so that nothing large is copied). When
    anything fails, the old file stands and the temporary one is gone; an exception of the function comes through.
    Raises `StoreError` with the path and a plain reason when the system refuses (full disk, no permission, ...).
    """
    disk = disk or Disk()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        try:
            written = _write_new(temporary, content, disk)
            disk.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(temporary)
            raise
        disk.fsync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {plain_reason(error)}") from error
    return written


def is_temporary(name: str) -> bool:
    """Say whether a file of this name is what an interrupted `atomic_write` leaves behind."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def plain_reason(error: OSError) -> str:
    """Return what happened in words that an operator can act on."""
    return _REASONS.get(error.errno or 0, error.strerror or str(error))


def _write_new(path: Path, content: bytes | Writer, disk: Disk) -> Written:
    fd = disk.create(path)
    try:
        sink = Sink(disk, fd)
        if callable(content):
            content(sink)
        else:
            sink.write(content)
        disk.fsync(fd)
    finally:
        disk.close(fd)
    return sink.written()
