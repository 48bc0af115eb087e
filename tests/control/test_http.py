"""The daemon's HTTP over real sockets on this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import trio

from peer.config.peer_file import ControlSettings
from peer.control.client import NoAnswerError, ask
from peer.control.http import ControlAddress, serve_control
from peer.control.metrics import Metrics
from peer.control.status import Status
from peer.errors import ConfigError
from tests.control.a_status import a_status

GUARD_S = 10


@pytest.fixture
async def address(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[ControlAddress]:
    metrics = Metrics()
    metrics.watch(a_status)
    settings = ControlSettings(socket=tmp_path / "control.sock", http="127.0.0.1:0")
    with trio.fail_after(GUARD_S):
        yield await nursery.start(serve_control, settings, a_status, metrics)


async def raw(http: str, request: str) -> bytes:
    """Send bytes as they are and return all that comes back."""
    host, port = http.rsplit(":", 1)
    async with await trio.open_tcp_stream(host.strip("[]"), int(port)) as stream:
        await stream.send_all(request.encode("latin-1"))
        return b"".join([chunk async for chunk in stream])


def get(path: str, *headers: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""])


async def test_status_over_the_unix_socket(address: ControlAddress) -> None:
    body = await trio.to_thread.run_sync(ask, address.unix_socket, "/status")
    assert msgspec.json.decode(body, type=Status) == a_status()
    assert json.loads(body)["schema"] == 1


async def test_metrics_and_health_over_loopback(address: ControlAddress) -> None:
    head, _, body = (await raw(address.http, get("/metrics", "Host: localhost"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-type: text/plain; version=0.0.4" in head
    assert b"murmuration_rounds_total 7.0" in body
    assert b"server:" not in head
    assert b"access-control" not in head
    assert b'"round":7' in await raw(address.http, get("/status", "Host: localhost"))
    assert (await raw(address.http, get("/other", "Host: localhost"))).startswith(b"HTTP/1.1 404")
    post = get("/status", "Host: localhost", "Content-Length: 0").replace("GET", "POST")
    assert (await raw(address.http, post)).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]", "[::1]:80"])
async def test_loopback_names_are_answered(address: ControlAddress, host: str) -> None:
    assert (await raw(address.http, get("/healthz", f"Host: {host}"))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", "", "localhost:x", "127.0.0.1:"]
)
async def test_a_name_made_to_point_here_is_refused(address: ControlAddress, host: str) -> None:
    answer = await raw(address.http, get("/status", f"Host: {host}"))
    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))
    assert b"digits" not in answer


async def test_garbage_and_silence_do_not_stop_it(address: ControlAddress) -> None:
    assert b"digits" not in await raw(address.http, "\x00\xff garbage\r\n\r\n")
    host, port = address.http.rsplit(":", 1)
    silent = [await trio.open_tcp_stream(host, int(port)) for _ in range(20)]
    assert (await raw(address.http, get("/healthz", "Host: localhost"))).startswith(b"HTTP/1.1 200")
    for stream in silent:
        await stream.aclose()


async def test_http_is_off_by_default_and_stopping_leaves_nothing(tmp_path: Path, nursery: trio.Nursery) -> None:
    settings = ControlSettings(socket=tmp_path / "control.sock")
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as inner:
            address = await inner.start(serve_control, settings, a_status, Metrics())
            assert address == ControlAddress(tmp_path / "control.sock", "")
            assert await trio.to_thread.run_sync(ask, address.unix_socket, "/healthz") == b"gathering\n"
            inner.cancel_scope.cancel()
    assert not settings.socket.exists()
    with pytest.raises(NoAnswerError, match="no daemon runs here"):
        ask(settings.socket, "/healthz")


async def test_a_port_in_use_is_a_config_error_and_frees_the_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ControlSettings(socket=tmp_path / "s", http=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"^control\.http: cannot listen"):
            await serve_control(settings, a_status, Metrics())
    assert not (tmp_path / "s").exists()


async def test_ipv6_loopback(tmp_path: Path, nursery: trio.Nursery) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    settings = ControlSettings(socket=tmp_path / "s", http="[::1]:0")
    address = await nursery.start(serve_control, settings, a_status, Metrics())
    assert address.http.startswith("[::1]:")
    assert (await raw(address.http, get("/healthz", "Host: [::1]"))).startswith(b"HTTP/1.1 200")


def answering(path: Path, answer: bytes) -> Callable[[], None]:
    """Listen at `path`; the returned function answers one client with these bytes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer_one() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(answer)

    return answer_one


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"", "did not answer properly"),
        (b"garbage\r\n\r\n", "did not answer properly"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx", "answered 500 No, 1 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (4 * 1024**2 + 1), "answered 200 OK, 4194305 bytes"),
    ],
)
async def test_the_client_says_what_is_wrong_with_an_answer(
    tmp_path: Path, nursery: trio.Nursery, answer: bytes, line: str
) -> None:
    nursery.start_soon(trio.to_thread.run_sync, answering(tmp_path / "s", answer))
    with pytest.raises(NoAnswerError, match=line):
        await trio.to_thread.run_sync(ask, tmp_path / "s", "/status")


def test_the_client_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.control.client.TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        with pytest.raises(NoAnswerError, match=r"did not answer within 0\.05 s"):
            ask(tmp_path / "s", "/status")
