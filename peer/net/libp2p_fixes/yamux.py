"""Yamux: many streams on one connection, with a reader that never writes and a writer that nobody waits behind.

Replaces `Yamux` in `libp2p/stream_muxer/yamux/yamux.py`, with which it speaks the same protocol (hashicorp/yamux
spec.md, version 0). There the read loop answers under the write lock, so that two ends that both write with full
buffers stop for ever; a cancelled write leaves half a frame on the wire; a remote may open streams and ping without
bound; a vanished remote is never noticed.

Two tasks run a connection. The reader takes frames off the wire and never waits for anything else: what it answers
(ACK, pong, resets) is queued before the frames of the streams. The writer takes all that is queued, up to `BATCH`
bytes per system call. Streams queue while there is room; so a cancelled sender leaves only whole frames behind.
`tick`, called from outside every few seconds, notices silence.

Bounds on a remote: at most `max_streams_per_peer` inbound streams; per stream one window; `WINDOW_BUDGET` of window
growth per connection; `MAX_CONTROL` bytes of answers that it does not read; `write_stall_s` without taking anything.
Breaking one drops the connection.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from multiaddr import Multiaddr
from trio.lowlevel import ParkingLot, checkpoint

from peer.net.libp2p_fixes.yamux_outgoing import Outgoing
from peer.net.libp2p_fixes.yamux_stream import YamuxStream
from peer.net.limits import CLEANUP_S, Limits

YAMUX = TProtocol("/yamux/1.0.0")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
HEADER = struct.Struct("!BBHII")  # version, type, flags, stream, length

MAX_REFUSED = 256  # streams beyond the limit; a peer that goes on regardless is not an honest one
WINDOW_BUDGET = 8 * 1024 * 1024


class ProtocolViolationError(Exception):
    """The remote broke a rule of yamux or of ours; the connection ends."""


class Yamux(IMuxedConn):
    """A multiplexed connection; `start` runs it until it ends."""

    MAX_PAYLOAD = 65519 - HEADER.size  # a frame fills one Noise record, and goes around no other stream's for long

    def __init__(self, conn: ISecureConn, peer_id: ID, limits: Limits) -> None:
        self.secured_conn = conn
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self.on_violation: Callable[[str], object] = str  # takes the kind of a broken rule
        self._limits = limits
        self._streams: dict[int, YamuxStream] = {}
        self._num_inbound = 0
        self._num_refused = 0
        self.quiet_since = trio.current_time()  # when the last stream ended; meaningless while there is one
        self._next_id = 1 if conn.is_initiator else 2
        self._accepted: deque[YamuxStream] = deque()
        self._acceptable = ParkingLot()
        self._outgoing = Outgoing()
        self._window_budget = WINDOW_BUDGET
        self._last_heard = 0.0
        self._ping_sent: float | None = None
        self._rtt = 0.0
        self._failure: str | None = None
        self._scope = trio.CancelScope()

    # Life

    async def start(self) -> None:
        """Run until either side closes. Raises nothing but `Cancelled`."""
        self._last_heard = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                with self._scope:
                    nursery.start_soon(self._run, self._read_frames, nursery.cancel_scope)
                    nursery.start_soon(self._run, self._write_frames, nursery.cancel_scope)
                    self.event_started.set()
                    self._send_ping()
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()
        finally:
            self._end("the connection was closed")
            with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
                await self.secured_conn.close()

    async def _run(self, loop: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await loop()
        except ProtocolViolationError as error:
            self.on_violation(str(error))
            self._end(str(error))
        except IOException as error:
            if isinstance(error, ConnectionClosedError) and error.close_reason:
                self.on_violation(error.close_reason)
            self._end(str(error))
        scope.cancel()

    async def close(self) -> None:
        """Say goodbye, send what is queued within `close_s`, and close."""
        if self._failure is None and self.event_started.is_set():
            self._outgoing.put(HEADER.pack(0, GO_AWAY, 0, 0, 0))
            with trio.CancelScope(deadline=trio.current_time() + self._limits.close_s, shield=True):
                await self._outgoing.wait_until_sent()
        self.abort("closed by us")

    def abort(self, reason: str) -> None:
        """End the connection at once."""
        self._end(reason)
        self._scope.cancel()

    def _end(self, reason: str) -> None:
        if self._failure is not None:
            return
        self._failure = reason
        for stream in list(self._streams.values()):
            stream.fail(reason)
        self._streams.clear()
        self._outgoing.end()
        self._acceptable.unpark_all()
        self.event_closed.set()

    def tick(self, now: float) -> None:
        """Notice a silent remote and streams that it never finishes; call every few seconds."""
        silent_s = now - self._last_heard
        if silent_s >= 2 * self._limits.keepalive_s:
            self.abort("nothing heard from the remote")
        elif silent_s >= self._limits.keepalive_s:
            self._send_ping()
        for stream in list(self._streams.values()):
            since = stream.is_closing_since
            if since is not None and now - since >= self._limits.linger_s:
                stream.abort("never finished by the remote")

    # What others ask

    @property
    def is_initiator(self) -> bool:
        """We dialed."""
        return self.secured_conn.is_initiator

    @property
    def is_established(self) -> bool:
        """Streams can be opened."""
        return self.event_started.is_set() and self._failure is None

    @property
    def is_closed(self) -> bool:
        """The connection has ended."""
        return self._failure is not None

    @property
    def failure(self) -> str:
        """Why it ended."""
        return self._failure or ""

    @property
    def num_streams(self) -> int:
        """Streams that either side still uses."""
        return len(self._streams)

    def rtt(self) -> float:
        """Return the last measured round trip in seconds, 0 before the first."""
        return self._rtt

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return IP and port of the remote."""
        return self.secured_conn.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        """Return the remote's address."""
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        """Return direct or relayed."""
        return self.secured_conn.get_connection_type()

    # Streams

    async def open_stream(self) -> YamuxStream:
        """Open a stream; the remote hears of it with the first bytes. Raises `MuxedConnUnavailable`."""
        await checkpoint()
        if self._failure is not None:
            raise MuxedConnUnavailable(self._failure)
        stream = YamuxStream(self, self._next_id, is_initiator=True)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        self._outgoing.put(HEADER.pack(0, WINDOW_UPDATE, SYN, stream.stream_id, 0))
        return stream

    async def accept_stream(self) -> YamuxStream:
        """Return the next stream that the remote opened. Raises `MuxedConnUnavailable` when there will be none."""
        await checkpoint()
        while not self._accepted:
            if self._failure is not None:
                raise MuxedConnUnavailable(self._failure)
            await self._acceptable.park()
        return self._accepted.popleft()

    def forget_if_over(self, stream: YamuxStream) -> None:
        """Drop a finished stream from the table; what it has received stays readable."""
        if stream.is_over and self._streams.pop(stream.stream_id, None) is not None:
            self._num_inbound -= not stream.is_initiator
            self._window_budget += stream.growth
            if not self._streams:
                self.quiet_since = trio.current_time()

    def grow_window(self, size: int) -> int:
        """Return how many of `size` bytes of window growth the connection's budget allows."""
        granted = min(size, self._window_budget)
        self._window_budget -= granted
        return granted

    # Writing

    async def wait_for_room(self) -> None:
        """Wait until the queue of outgoing frames takes one more; returns also when the connection has ended."""
        await self._outgoing.wait_for_room()

    def send_data(self, stream_id: int, piece: memoryview) -> None:
        """Queue one data frame."""
        self._outgoing.put(b"".join((HEADER.pack(0, DATA, 0, stream_id, len(piece)), piece)))

    def send_fin(self, stream_id: int) -> None:
        """Queue the end of our half of a stream, behind its data."""
        self._outgoing.put(HEADER.pack(0, WINDOW_UPDATE, FIN, stream_id, 0))

    def send_reset(self, stream_id: int) -> None:
        """Queue a reset, behind the stream's data."""
        self._outgoing.put(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))

    def send_window_update(self, stream_id: int, increment: int) -> None:
        """Grant the remote `increment` more bytes."""
        self._send_control(WINDOW_UPDATE, 0, stream_id, increment)

    def _send_control(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if not self._outgoing.put_first(HEADER.pack(0, kind, flags, stream_id, length)):
            self.on_violation("control_flood")
            self.abort("control_flood")

    def _send_ping(self) -> None:
        if self._ping_sent is None:
            self._ping_sent = trio.current_time()
            self._send_control(PING, SYN, 0, 0)

    async def _write_frames(self) -> None:
        while True:
            batch = await self._outgoing.next_batch()
            with trio.move_on_after(self._limits.write_stall_s) as scope:
                await self.secured_conn.write(batch)
            if scope.cancelled_caught:
                raise ProtocolViolationError("stalled_write")

    # Reading

    async def _read_frames(self) -> None:
        """Parse what comes: bodies go to their stream piece by piece, headers are collected to 12 bytes."""
        header = b""
        stream: YamuxStream | None = None
        body_left = flags_at_end = 0
        while True:
            chunk = memoryview(await self.secured_conn.read())
            self._last_heard = trio.current_time()
            while chunk:
                if body_left:
                    piece, chunk = chunk[:body_left], chunk[body_left:]
                    body_left -= len(piece)
                    if stream is not None:
                        stream.receive(piece)
                else:
                    missing = HEADER.size - len(header)
                    header, chunk = header + bytes(chunk[:missing]), chunk[missing:]
                    if len(header) < HEADER.size:
                        break
                    stream, body_left, flags_at_end = self._receive_header(header)
                    header = b""
                if not body_left and flags_at_end:
                    self._receive_end(stream, flags_at_end)
                    flags_at_end = 0

    def _receive_header(self, header: bytes) -> tuple[YamuxStream | None, int, int]:
        """Act on a header; returns its stream (None: unknown or none), bytes of body to come, and FIN/RST flags."""
        version, kind, flags, stream_id, length = HEADER.unpack(header)
        if version != 0 or kind > GO_AWAY:
            raise ProtocolViolationError("bad_muxer_frame")
        if kind == PING:
            self._receive_ping(flags, length)
            return None, 0, 0
        if kind == GO_AWAY:
            self.abort("the remote closed the connection")
            return None, 0, 0
        if flags & SYN:
            self._receive_syn(stream_id)
        stream = self._streams.get(stream_id)
        if kind == WINDOW_UPDATE:
            if stream is not None and length:
                stream.add_send_window(length)
            return stream, 0, flags & (FIN | RST)
        if stream is not None:
            stream.receive_window -= length
            if stream.receive_window < 0:
                raise ProtocolViolationError("window_exceeded")
        return stream, length, flags & (FIN | RST)

    def _receive_syn(self, stream_id: int) -> None:
        is_theirs = stream_id % 2 != (1 if self.is_initiator else 0)
        if not is_theirs or stream_id == 0 or stream_id in self._streams:
            raise ProtocolViolationError("bad_muxer_frame")
        if self._num_inbound >= self._limits.max_streams_per_peer:
            self._refuse(stream_id)
            return
        stream = YamuxStream(self, stream_id, is_initiator=False)
        self._streams[stream_id] = stream
        self._num_inbound += 1
        self._send_control(WINDOW_UPDATE, ACK, stream_id, 0)
        self._accepted.append(stream)
        self._acceptable.unpark()

    def _refuse(self, stream_id: int) -> None:
        self._num_refused += 1
        if self._num_refused == 1:
            self.on_violation("too_many_streams")
        if self._num_refused > MAX_REFUSED:
            self.abort("too_many_streams")
        self._send_control(WINDOW_UPDATE, RST, stream_id, 0)

    def _receive_end(self, stream: YamuxStream | None, flags: int) -> None:
        if stream is None:
            return
        if flags & RST:
            stream.fail("reset by the remote")
        else:
            stream.receive_fin()

    def _receive_ping(self, flags: int, value: int) -> None:
        if flags & SYN:
            self._send_control(PING, ACK, 0, value)
        elif self._ping_sent is not None:
            self._rtt = trio.current_time() - self._ping_sent
            self._ping_sent = None
