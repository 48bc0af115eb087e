"""Ask the daemon of this device over its unix socket; standard library only, so that `status` starts at once."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from peer.errors import MurmurationError

TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024**2


class NoAnswerError(MurmurationError):
    """No daemon answers at the socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(unix_socket: Path, path: str) -> bytes:
    """Return the body of `GET path`. Raises `NoAnswerError`, with one line that says why, when there is none."""
    connection = _UnixConnection(unix_socket)
    try:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            body = answer.read(MAX_ANSWER_BYTES + 1)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoAnswerError(f"no daemon runs here ({unix_socket}); start it with `murmuration run`") from None
    except PermissionError:
        raise NoAnswerError(f"{unix_socket} belongs to another user; ask as that user") from None
    except TimeoutError:
        raise NoAnswerError(f"the daemon at {unix_socket} did not answer within {TIMEOUT_S:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(f"the daemon at {unix_socket} did not answer properly: {error!r}") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK or len(body) > MAX_ANSWER_BYTES:
        raise NoAnswerError(f"the daemon at {unix_socket} answered {answer.status} {answer.reason}, {len(body)} bytes")
    return body
