from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peer.errors import ConfigError
from peer.lock import only_one_daemon

HOLDER = """
import sys, time
from pathlib import Path
from peer.lock import only_one_daemon
with only_one_daemon(Path(sys.argv[1]), "store.folder"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_told_who_is_first(tmp_path: Path) -> None:
    path = tmp_path / "state" / "daemon.lock"
    with only_one_daemon(path, "store.folder"), pytest.raises(ConfigError) as caught, only_one_daemon(path, "x"):
        pass
    assert str(caught.value) == f"x: another daemon runs here (pid {os.getpid()}, {path} is locked)"
    with only_one_daemon(path, "store.folder"):  # free again
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "daemon.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"pid {process.pid}"), only_one_daemon(path, "x"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with only_one_daemon(path, "x"):
            pass


def test_where_no_lock_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"^store\.folder: .*"),
        only_one_daemon(tmp_path / "file" / "x", "store.folder"),
    ):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError), only_one_daemon(tmp_path / "link", "x"):
        pass
    assert not (tmp_path / "target").exists()
