"""A disk whose power fails: it remembers, after every system call, what would be found after the next start."""

from __future__ import annotations

import os
from pathlib import Path

from peer.store.atomic import Disk

Files = dict[str, bytes]


class FailingPower(Disk):
    """Works on real files, and notes after each call what is durable.

    `strict[i]`: only names and bytes that were fsynced are there after call `i`. `eager[i]`: the names as they are, yet
    of the bytes only the fsynced ones (a journal may write names early). Truth lies between the two.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.strict: list[Files] = []
        self.eager: list[Files] = []
        self.calls: list[str] = []
        self._durable_bytes: dict[int, bytes] = {}
        self._durable_names: dict[str, int] = {}
        self._inodes: dict[int, int] = {}

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._inodes[fd] = os.fstat(fd).st_ino
        self._durable_bytes[os.fstat(fd).st_ino] = b""
        self._note(f"create {path.name}")
        return fd

    def write(self, fd: int, data: memoryview) -> int:
        count = super().write(fd, data[: max(1, len(data) // 2)])  # the kernel may always write less than asked
        self._note("write")
        return count

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        path = next(p for p in self.folder.iterdir() if p.stat().st_ino == self._inodes[fd])
        self._durable_bytes[self._inodes[fd]] = path.read_bytes()
        self._note("fsync")

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self._note(f"replace {target.name}")

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._note(f"unlink {path.name}")

    def fsync_folder(self, folder: Path) -> None:
        super().fsync_folder(folder)
        self._durable_names = self._names()
        self._note("fsync folder")

    def _names(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in self.folder.iterdir()}

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.strict.append(self._found(self._durable_names))
        self.eager.append(self._found(self._names()))

    def _found(self, names: dict[str, int]) -> Files:
        return {name: self._durable_bytes.get(inode, b"") for name, inode in names.items()}


class FullDisk(Disk):
    """Refuses after `free_bytes` more bytes, in the middle of a write, as a real one does."""

    def __init__(self, free_bytes: int, error: int) -> None:
        self.free_bytes = free_bytes
        self._error = error

    def write(self, fd: int, data: memoryview) -> int:
        if not self.free_bytes:
            raise OSError(self._error, os.strerror(self._error))
        count = super().write(fd, data[: self.free_bytes])
        self.free_bytes -= count
        return count


def plug_in_again(folder: Path, files: Files) -> None:
    """Make `folder` hold what a restart after the power failure finds."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def names(folder: Path) -> list[str]:
    """Return what lies in `folder`, sorted."""
    return sorted(path.name for path in folder.iterdir())
