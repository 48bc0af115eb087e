"""The daemon's HTTP: `/status`, `/metrics` and `/healthz`, on the unix socket and, when asked for, on loopback.

Only reading. The unix socket is protected by its file mode. On loopback everybody on this device may read; a web page
in a browser on this device may not, even when its name was made to point to 127.0.0.1 (DNS rebinding): a request
whose `Host` is not loopback is refused, and no header allows another origin to read an answer.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from peer.config.peer_file import ControlSettings
from peer.control.metrics import Metrics
from peer.control.sockets import listening_loopback_socket, listening_unix_socket
from peer.control.status import Status

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
READ_TIMEOUT_S = 10  # a client that is slower with its request is not a client


class ControlAddress(NamedTuple):
    """Where the daemon answers; `http` is `host:port` with the real port, empty when off."""

    unix_socket: Path
    http: str


async def serve_control(
    settings: ControlSettings,
    status: Callable[[], Status],
    metrics: Metrics,
    *,
    task_status: trio.TaskStatus[ControlAddress] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; `started` with the addresses once both sockets listen.

    `status` is called for each request and must not block. Raises `ConfigError` when a socket cannot be had.
    """
    app = control_app(status, metrics)
    with contextlib.ExitStack() as sockets:
        unix_socket = sockets.enter_context(listening_unix_socket(settings.socket))
        tcp_socket = sockets.enter_context(listening_loopback_socket(settings.http)) if settings.http else None
        async with trio.open_nursery() as nursery:
            await nursery.start(_server(app, unix_socket))
            address = ControlAddress(settings.socket, "")
            if tcp_socket is not None:
                host, port = tcp_socket.getsockname()[:2]
                address = address._replace(http=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
                await nursery.start(_server(LoopbackOnly(app), tcp_socket))
            task_status.started(address)


def control_app(status: Callable[[], Status], metrics: Metrics) -> Starlette:
    """Return the ASGI application."""

    async def get_status(_request: Request) -> Response:
        return Response(msgspec.json.encode(status()), media_type="application/json")

    async def get_metrics(_request: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def get_health(_request: Request) -> Response:
        return PlainTextResponse(f"{status().state}\n")

    return Starlette(
        routes=[Route("/status", get_status), Route("/metrics", get_metrics), Route("/healthz", get_health)]
    )


class LoopbackOnly:
    """Refuses requests whose `Host` is not a name of loopback (DNS rebinding)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] in ("http", "websocket") and not _is_for_loopback(scope):
            await PlainTextResponse("this address answers to 127.0.0.1 and localhost only\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_for_loopback(scope: Scope) -> bool:
    hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1:
        return False
    name, colon, port = hosts[0].rpartition(":")
    if not colon or not port.isdecimal():
        name = hosts[0]  # no port given, or the colons of [::1]
    return name in LOOPBACK_NAMES


def _server(app: ASGIApp, listener: socket.socket) -> Callable[..., Awaitable[None]]:
    """Return hypercorn's trio worker for `app` on a socket that listens already; it takes `task_status`."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")  # through our logs; its own handler would bypass them
    config.read_timeout = READ_TIMEOUT_S
    config.graceful_timeout = 1.0
    config.include_server_header = False
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]  # ASGI types of two libraries
    return partial(worker_serve, wrapped, config, sockets=Sockets([], [listener], []))
