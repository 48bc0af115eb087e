"""The seam between Murmuration and a network: authenticated streams between peers, nothing more.

Two implementations keep one contract (`tests/contract/`): `peer.net.memory` (in-process, for tests and virtual time)
and `peer.net.libp2p_host` (TCP, encrypted, multiplexed). Whatever a remote does, an implementation never raises out of
`run()`, never keeps a task, slot or buffer for a connection that is gone, and counts every broken rule in `faults`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from peer.core.messages import PeerId


class Stream(Protocol):
    """A bidirectional byte stream to an authenticated peer.

    All methods raise `peer.errors.NetError` when the stream or its connection broke. One task may send while another
    receives; two tasks may not do the same at once. Cancelling leaves the stream unusable: `reset` it.
    """

    @property
    def peer(self) -> PeerId:
        """The remote, as proved by the handshake."""

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of `data`; waits while the remote's window is full."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Receive 1..`max_bytes` bytes, or `b""` once the remote has finished sending."""

    async def send_eof(self) -> None:
        """Say that nothing more will be sent; receiving goes on."""

    async def aclose(self) -> None:
        """Close both ways after what was sent has left. Never raises on a broken stream."""

    async def reset(self) -> None:
        """Drop the stream at once. Never raises."""


StreamHandler = Callable[[Stream], Awaitable[None]]


class Traffic:
    """Bytes of stream payload in and out (framing and encryption of the transport not counted)."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0


class Transport(Protocol):
    """Opens and accepts streams; knows peers by their key, reaches them by address (multiaddr text)."""

    peer_id: PeerId
    traffic: Traffic
    faults: Counter[str]
    """Broken rules by kind (`handshake`, `unknown_protocol`, `handler_crash`), whoever broke them."""

    def addresses(self) -> Sequence[str]:
        """Addresses to dial this peer by, `/p2p/<peer id>` included; never 0.0.0.0 or ::."""

    def set_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Give inbound streams of `protocol` to `handler`; one that ends without closing its stream resets it.

        An exception out of a handler resets that stream and is counted, `NetError` excepted (the remote left); it
        harms nothing else.
        """

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; `started()` once listening.

        Raises `peer.errors.ConfigError` when an address cannot be listened on (port in use, no such interface).
        """

    async def dial(self, address: str) -> PeerId:
        """Connect to `address`; when it ends in `/p2p/<id>` the remote must prove that id. Raises `NetError`.

        A connection that exists already is used.
        """

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """Open a stream to a connected peer. Raises `NetError` (not connected, protocol not spoken there)."""

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to `peer`. Never raises."""

    def connected_peers(self) -> Sequence[PeerId]:
        """Peers with at least one open connection, sorted."""
