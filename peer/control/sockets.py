"""The two sockets on which a daemon answers programs on its own device: a unix socket, and loopback TCP.

The unix socket's file outlives a daemon that was killed, so its existence says nothing. What says that a daemon runs is
a lock on a file beside it (`control.sock.lock`); who holds it may remove the old socket and bind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from peer.config.loopback import parse_loopback
from peer.errors import ConfigError
from peer.lock import only_one_daemon

MAX_SOCKET_PATH_BYTES = 107  # sun_path of Linux, without the closing zero
BACKLOG = 16


@contextlib.contextmanager
def listening_unix_socket(path: Path) -> Iterator[socket.socket]:
    """Listen on a unix socket at `path`, mode 0600, for as long as the context lasts; then remove it.

    Raises `ConfigError` when a daemon holds the path, when it is too long, or when it cannot be made.
    """
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise ConfigError(
            f"control.socket: {path} has {length} bytes, a unix socket's path at most {MAX_SOCKET_PATH_BYTES}; "
            'write a shorter one, e.g. socket = "/run/user/1000/murmuration.sock"'
        )
    with only_one_daemon(path.with_name(path.name + ".lock"), "control.socket"), _bound(path) as listener:
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _remove_stale(path)
            listener.bind(str(path))
            path.chmod(0o600)  # before listen: until then nobody can connect, whatever the umask
            listener.listen(BACKLOG)
        except OSError as error:
            raise ConfigError(f"control.socket: {path}: {error.strerror or error}") from error
        yield listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"control.socket: {path} exists and is not a socket; move it away or name another path")
    path.unlink()


def listening_loopback_socket(address: str) -> socket.socket:
    """Listen on loopback TCP at `host:port` (port 0: a free one). Raises `ConfigError` naming `control.http`."""
    host, port = parse_loopback(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = "port in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError(
            f'control.http: cannot listen on {address}: {reason}; write another port, or "127.0.0.1:0" for a free one'
        ) from error
    return listener
