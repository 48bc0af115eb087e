from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from peer.config.loopback import parse_loopback
from peer.control.sockets import MAX_SOCKET_PATH_BYTES, listening_loopback_socket, listening_unix_socket
from peer.errors import ConfigError


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def test_only_the_owner_may_connect_and_nothing_stays(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    before = os.umask(0)
    try:
        with listening_unix_socket(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert connects(path)
    finally:
        os.umask(before)
    assert not path.exists()


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with listening_unix_socket(path):
        assert connects(path)


def test_a_living_daemon_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with listening_unix_socket(path):
        with pytest.raises(ConfigError) as caught, listening_unix_socket(path):
            pass
        assert str(caught.value).startswith(f"control.socket: another daemon runs here (pid {os.getpid()}, ")
        assert connects(path)
    with listening_unix_socket(path):  # gone: free again
        pass


def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="exists and is not a socket"), listening_unix_socket(path):
        pass
    assert path.read_text() == "data"


def test_a_path_that_the_kernel_would_cut_is_refused(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (MAX_SOCKET_PATH_BYTES - len(os.fsencode(tmp_path)) - 1))
    with listening_unix_socket(longest):
        assert connects(longest)
    path = longest.with_name(longest.name + "x")
    with pytest.raises(ConfigError) as caught, listening_unix_socket(path):
        pass
    assert str(caught.value).startswith(f"control.socket: {path} has 108 bytes, a unix socket's path at most 107; ")


def test_a_folder_without_rights_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^control\.socket: "), listening_unix_socket(tmp_path / "file" / "s"):
        pass


def test_a_port_in_use_is_named() -> None:
    with listening_loopback_socket("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            listening_loopback_socket(f"127.0.0.1:{port}")
    assert str(caught.value).startswith(f"control.http: cannot listen on 127.0.0.1:{port}: port in use; ")
    with listening_loopback_socket(f"localhost:{port}"):  # free again at once
        pass


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.1.2.3:65535", ("127.1.2.3", 65535)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_loopback_addresses(address: str, parsed: tuple[str, int]) -> None:
    assert parse_loopback(address) == parsed


@pytest.mark.parametrize(
    "address",
    ["", ":", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:٣", "0.0.0.0:80", ":80"],
)
def test_what_has_no_port_or_no_host_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"; write e\.g\. "):
        parse_loopback(address)


@pytest.mark.parametrize(
    "address", ["192.168.0.1:80", "[::]:80", "example.org:80", "localhost.evil:80", "::ffff:1.2.3.4:80", "127.1:80"]
)
def test_what_others_can_reach_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not on loopback"):
        parse_loopback(address)
