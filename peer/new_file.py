"""Write a file that must not exist yet: all of it or nothing, and never over another one."""

from __future__ import annotations

import os
from pathlib import Path

from peer.errors import StoreError
from peer.store.atomic import Disk, atomic_write, plain_reason


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write `content` to the new file `path`, durably; its folder is made when missing.

    Raises `FileExistsError` when the file exists, `StoreError` when the system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {path.parent}: {plain_reason(error)}") from error
    if path.is_symlink() or path.exists():
        raise FileExistsError(path)
    try:
        atomic_write(path, content, disk=_LinkDisk(mode))
    except StoreError as error:
        if isinstance(error.__cause__, FileExistsError):  # made by somebody else since we looked
            raise FileExistsError(path) from None
        raise


class _LinkDisk(Disk):
    """Gives the finished file its name by a link: unlike a rename, that fails where the name is taken meanwhile."""

    def __init__(self, mode: int) -> None:
        self._mode = mode

    def replace(self, source: Path, target: Path) -> None:
        source.chmod(self._mode)
        os.link(source, target)
        source.unlink()
