"""A lock that a process holds on a file for as long as it lives; the kernel drops it however the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from peer.errors import ConfigError


@contextlib.contextmanager
def only_one_daemon(path: Path, setting: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`, which keeps the holder's pid for people to read.

    Raises `ConfigError`, naming `setting`, when another daemon holds it. The file is never removed: between removing
    and locking, two processes could hold locks on two files of one name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {error.strerror}") from error
    try:
        _lock(descriptor, path, setting)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, setting: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        pid = os.pread(descriptor, 16, 0).decode(errors="replace").strip() or "unknown"
        raise ConfigError(f"{setting}: another daemon runs here (pid {pid}, {path} is locked)") from None
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be locked: {error.strerror}") from error
