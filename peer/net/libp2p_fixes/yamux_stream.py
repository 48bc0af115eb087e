"""One stream of a yamux connection: a receive buffer never larger than its window, and waits on events.

Replaces `YamuxStream` in `libp2p/stream_muxer/yamux/yamux.py`: there a sender polls for window every 10 ms and gives
up after 5 s, a remote that ignores the window fills our memory (it is logged), each read answers with a window
update, and a closed stream whose remote never finishes stays for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset
from trio.lowlevel import ParkingLot, checkpoint

if TYPE_CHECKING:
    from peer.net.libp2p_fixes.yamux import Yamux

INITIAL_WINDOW = 256 * 1024  # fixed by the specification
MAX_WINDOW = 1024 * 1024  # 13 MB/s at 80 ms; also what one stream may hold in memory


class YamuxStream(IMuxedStream):
    """A bidirectional stream. One task may write while another reads."""

    def __init__(self, conn: Yamux, stream_id: int, is_initiator: bool) -> None:
        self.muxed_conn = conn
        self._conn = conn
        self.stream_id = stream_id
        self.is_initiator = is_initiator
        self.is_closing_since: float | None = None  # set by close(): what still arrives is dropped
        self.failure: str | None = None  # why the stream is gone
        self._buffer = bytearray()
        self._readable = ParkingLot()
        self._writable = ParkingLot()
        self._has_received_fin = False
        self._has_sent_fin = False
        self.send_window = INITIAL_WINDOW
        self.receive_window = INITIAL_WINDOW  # what the remote may still send
        self.growth = 0  # of the window, beyond the initial one
        self._ungranted = 0  # bytes read since the last grant
        self._last_grant = 0.0

    @property
    def is_over(self) -> bool:
        """Neither side will say anything more."""
        return self.failure is not None or (self._has_sent_fin and self._has_received_fin)

    # What the application calls

    async def read(self, n: int | None = None) -> bytes:
        """Return 1..`n` bytes that have come (None: all of them).

        Raises `MuxedStreamEOF` once the remote has finished, `MuxedStreamReset` when stream or connection broke.
        """
        await checkpoint()
        while not self._buffer:
            if self._has_received_fin or self.is_closing_since is not None:
                raise MuxedStreamEOF("the remote has finished")
            if self.failure is not None:
                raise MuxedStreamReset(self.failure)
            await self._readable.park()
        data = self._take(n)
        self._grant(len(data))
        return data

    async def write(self, data: bytes | memoryview) -> None:
        """Hand `data` to the connection, piece by piece as window and queue allow.

        Raises `MuxedStreamReset` when stream or connection broke, `MuxedStreamClosed` after our own close.
        """
        await checkpoint()
        view = memoryview(data)
        while view:
            self._check_writable()
            if self.send_window <= 0:
                await self._writable.park()
                continue
            await self._conn.wait_for_room()
            self._check_writable()
            piece = view[: min(self.send_window, self._conn.MAX_PAYLOAD)]
            self.send_window -= len(piece)
            self._conn.send_data(self.stream_id, piece)
            view = view[len(piece) :]

    async def close_write(self) -> None:
        """Say that nothing more will be written; reading goes on."""
        self._send_fin()
        await checkpoint()

    async def close(self) -> None:
        """Finish writing, and drop what the remote still sends; never blocks."""
        if self.is_closing_since is None:
            self.is_closing_since = trio.current_time()
            self._buffer.clear()
            self._send_fin()
            self._wake()
            self._conn.forget_if_over(self)
        await checkpoint()

    async def reset(self) -> None:
        """Drop the stream at once, on both ends."""
        self.abort("reset by us")
        await checkpoint()

    def abort(self, reason: str) -> None:
        """Tell the remote that the stream is dropped, and drop it."""
        if not self.is_over:
            self._conn.send_reset(self.stream_id)
        self.fail(reason)
        self._buffer.clear()

    def set_deadline(self, ttl: int) -> None:
        """Unsupported: deadlines are trio's."""
        raise NotImplementedError("use trio.fail_after")

    async def __aenter__(self) -> YamuxStream:
        return self

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return IP and port of the remote."""
        return self._conn.get_remote_address()

    # What the connection's reader calls

    def receive(self, piece: memoryview) -> None:
        """Take bytes that came; the window was checked when their frame was announced."""
        if self.is_closing_since is None and self.failure is None:
            self._buffer += piece
            self._readable.unpark_all()

    def receive_fin(self) -> None:
        """The remote has finished."""
        self._has_received_fin = True
        self._readable.unpark_all()
        self._conn.forget_if_over(self)

    def add_send_window(self, increment: int) -> None:
        """The remote grants `increment` more bytes."""
        self.send_window += increment
        self._writable.unpark_all()

    def fail(self, reason: str) -> None:
        """The stream is gone: by the remote's reset, or with its connection."""
        if self.failure is None and not self.is_over:
            self.failure = reason
        self._wake()
        self._conn.forget_if_over(self)

    def _wake(self) -> None:
        self._readable.unpark_all()
        self._writable.unpark_all()

    def _check_writable(self) -> None:
        if self.failure is not None:
            raise MuxedStreamReset(self.failure)
        if self._has_sent_fin:
            raise MuxedStreamClosed("closed for writing")

    def _send_fin(self) -> None:
        if not self._has_sent_fin and self.failure is None:
            self._has_sent_fin = True
            self._conn.send_fin(self.stream_id)
            self._writable.unpark_all()
            self._conn.forget_if_over(self)

    def _take(self, size: int | None) -> bytes:
        if size is None or size >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
        return data

    def _grant(self, size: int) -> None:
        """Give window back once half of it was read; a window read through within 4 round trips doubles.

        The rule of go-yamux, which keeps updates few and finds the bandwidth-delay product by itself.
        Invariant: receive_window + buffered + ungranted = INITIAL_WINDOW + growth.
        """
        self._ungranted += size
        window = INITIAL_WINDOW + self.growth
        if self._ungranted < window // 2 or self._has_received_fin or self.failure is not None:
            return
        now = trio.current_time()
        if now - self._last_grant < 4 * self._conn.rtt():
            growth = self._conn.grow_window(min(window, MAX_WINDOW - window))
            self.growth += growth
            self._ungranted += growth
        self._last_grant = now
        self.receive_window += self._ungranted
        self._conn.send_window_update(self.stream_id, self._ungranted)
        self._ungranted = 0
