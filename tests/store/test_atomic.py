"""Old content or new, never a torn one: with power lost at every step, a full disk, and kill -9."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.errors import StoreError
from peer.store.atomic import Disk, Sink, atomic_write, is_temporary
from tests.store.power import FailingPower, FullDisk, names

OLD = b"old " * 100
NEW = b"the new content " * 100


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    atomic_write(path, OLD)
    return path


def test_returns_what_reached_the_disk_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    written = atomic_write(tmp_path / "a", NEW)
    assert (tmp_path / "a").read_bytes() == NEW
    assert written.size_bytes == len(NEW)
    assert written.sha256 == hashlib.sha256(NEW).digest()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_writer_may_write_in_pieces_of_any_buffer(tmp_path: Path) -> None:
    def write(sink: Sink) -> None:
        sink.write(b"one ")
        sink.write(memoryview(bytearray(b"two")))

    written = atomic_write(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"one two"
    assert written.sha256 == hashlib.sha256(b"one two").digest()


def test_power_may_fail_after_any_call(target: Path) -> None:
    disk = FailingPower(target.parent)
    disk.fsync_folder(target.parent)
    disk._durable_bytes[target.stat().st_ino] = OLD
    atomic_write(target, NEW, disk=disk)
    for found in disk.strict[1:] + disk.eager[1:]:
        assert found["state.json"] in (OLD, NEW)
    assert disk.strict[-1] == {"state.json": NEW}, "durable once atomic_write has returned"


@pytest.mark.parametrize("call", ["create", "write", "fsync", "close", "replace"])
def test_a_refused_call_leaves_the_old_file_and_no_temporary_one(target: Path, call: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    disk = Disk()
    setattr(disk, call, refuse)
    with pytest.raises(StoreError, match=rf"{target}: the disk reports an input/output error"):
        atomic_write(target, NEW, disk=disk)
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_a_refused_fsync_of_the_folder_is_reported(target: Path) -> None:
    class NoFolderSync(Disk):
        def fsync_folder(self, folder: Path) -> None:
            raise OSError(errno.EIO, "broken")

    with pytest.raises(StoreError):
        atomic_write(target, NEW, disk=NoFolderSync())
    assert target.read_bytes() == NEW, "whole, but nobody may rely on it"


@pytest.mark.parametrize(("error", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota")])
def test_a_full_disk_is_named(target: Path, error: int, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        atomic_write(target, NEW, disk=FullDisk(700, error))
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_an_exception_of_the_writer_comes_through(target: Path) -> None:
    def write(sink: Sink) -> None:
        sink.write(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_write(target, write)
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_a_missing_folder_is_one_plain_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write .*/absent/a: No such file"):
        atomic_write(tmp_path / "absent" / "a", NEW)


KILLED = """
import os, signal, sys
from pathlib import Path
from peer.store.atomic import Disk, atomic_write

calls = int(sys.argv[2])
class Killed(Disk):
    def __getattribute__(self, name):
        global calls
        calls -= 1
        if calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)
    def write(self, fd, data):
        return Disk.write(self, fd, data[:900])

atomic_write(Path(sys.argv[1]), b"the new content " * 100, disk=Killed())
"""


def test_kill_9_at_every_step(target: Path) -> None:
    codes = []
    for calls in range(8):
        child = subprocess.run([sys.executable, "-c", KILLED, str(target), str(calls)], check=False)
        codes.append(child.returncode)
        assert target.read_bytes() in (OLD, NEW)
        assert all(is_temporary(name) or name == target.name for name in names(target.parent))
    assert codes[0] == -signal.SIGKILL, "killed before the first call"
    assert codes[-1] == 0, "and finally not at all"
    assert target.read_bytes() == NEW


@contextlib.contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Hold for as short as possible: the limit is the whole process', also for a log that pytest writes into."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_system_really_refuses(tmp_path: Path) -> None:
    with file_size_limit(1000):
        atomic_write(tmp_path / "small", b"x" * 1000)
        with pytest.raises(StoreError, match="larger than this process"):
            atomic_write(tmp_path / "large", b"x" * 1001)
    assert names(tmp_path) == ["small"]


def test_a_really_full_disk(small_disk: Path) -> None:
    atomic_write(small_disk / "state", OLD)
    with pytest.raises(StoreError, match="the disk is full"):
        atomic_write(small_disk / "state", b"x" * (2 << 20))
    assert (small_disk / "state").read_bytes() == OLD
    assert names(small_disk) == ["state"]
    atomic_write(small_disk / "state", NEW)
