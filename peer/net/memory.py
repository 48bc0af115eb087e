"""A network inside one process: the same contract as the real one, without sockets or keys, and with delays if wanted.

For tests and virtual time. Peers find each other by name in a `MemoryNetwork`; whoever holds that object can cut
links, drop connections, and say how long bytes are on their way. Windows are bounded as in the real one, so that
back-pressure shows here too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

import trio
from trio.lowlevel import ParkingLot, checkpoint

from peer.core.messages import PeerId
from peer.errors import ConfigError, NetError
from peer.net.addresses import split_peer
from peer.net.faults import FaultLog
from peer.net.limits import Limits
from peer.net.transport import Stream, StreamHandler, Traffic

WINDOW = 256 * 1024  # bytes on their way in one direction of a stream, as with yamux
PREFIX = "/memory/"


class _Pipe:
    """One direction of a stream; what is sent can be read `delay_s` later."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.buffer = bytearray()
        self.coming: deque[tuple[float, bytes]] = deque()  # (when, what); nothing: the end
        self.num_coming = 0  # bytes
        self.is_ended = False  # the sender has finished, and all that it sent is here
        self.is_closed = False  # the sender has finished
        self.is_ignored = False  # the receiver has closed: what comes is dropped
        self.broken = ""
        self.changed = ParkingLot()

    def wake(self) -> None:
        self.changed.unpark_all()

    def put(self, data: bytes) -> None:
        """Send bytes, or the end."""
        self.coming.append((trio.current_time() + self.delay_s, data))
        self.num_coming += len(data)
        self.arrive()

    def arrive(self) -> None:
        """Take in what is here by now."""
        now = trio.current_time()
        while self.coming and self.coming[0][0] <= now:
            _, data = self.coming.popleft()
            self.buffer += data
            self.num_coming -= len(data)
            self.is_ended = self.is_ended or not data
        self.wake()

    def drop(self) -> None:
        """Forget what was sent."""
        self.buffer.clear()
        self.coming = deque(entry for entry in self.coming if not entry[1])
        self.num_coming = 0

    async def wait(self) -> None:
        """Wait until something changes or comes."""
        with trio.move_on_at(self.coming[0][0] if self.coming else float("inf")):
            await self.changed.park()
        if self.coming:
            self.arrive()


class MemoryStream:
    """One end of a stream between two peers of a `MemoryNetwork`."""

    def __init__(
        self, connection: _Connection, peer: PeerId, incoming: _Pipe, outgoing: _Pipe, traffic: Traffic
    ) -> None:
        self._connection = connection
        self._peer = peer
        self._in = incoming
        self._out = outgoing
        self._traffic = traffic

    @property
    def peer(self) -> PeerId:
        """The remote."""
        return self._peer

    @property
    def is_over(self) -> bool:
        """Neither side will say anything more."""
        return bool(self._in.broken) or ((self._in.is_closed or self._in.is_ignored) and self._out.is_closed)

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of `data`; waits while the window is full."""
        await checkpoint()
        view = memoryview(data)
        while view:
            if self._out.broken:
                raise NetError(self._out.broken)
            if self._out.is_closed:
                raise NetError("closed for writing")
            room = len(view) if self._out.is_ignored else WINDOW - len(self._out.buffer) - self._out.num_coming
            if room <= 0:
                await self._out.changed.park()
                continue
            if not self._out.is_ignored:
                self._out.put(bytes(view[:room]))
            view = view[room:]
        self._traffic.bytes_out += len(data)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Receive 1..`max_bytes` bytes, `b""` at the end."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await checkpoint()
        while not self._in.buffer:
            if self._in.is_ended or self._in.is_ignored:
                return b""
            if self._in.broken:
                raise NetError(self._in.broken)
            await self._in.wait()
        data = bytes(self._in.buffer[:max_bytes])
        del self._in.buffer[:max_bytes]
        self._in.wake()
        self._traffic.bytes_in += len(data)
        return data

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await checkpoint()
        if self._out.broken:
            raise NetError(self._out.broken)
        self._end()

    def _end(self) -> None:
        if not self._out.is_closed:
            self._out.is_closed = True
            self._out.put(b"")
        self._connection.forget_finished()

    async def aclose(self) -> None:
        """Close both ways."""
        self._in.is_ignored = True
        self._in.drop()
        self._in.wake()
        if not self._out.broken:
            self._end()
        await checkpoint()

    async def reset(self) -> None:
        """Drop the stream."""
        self.break_off("reset")
        self._in.drop()
        await checkpoint()

    def break_off(self, reason: str) -> None:
        """Break both directions; what has arrived stays readable for the remote."""
        for pipe in (self._in, self._out):
            pipe.broken = pipe.broken or reason
            pipe.wake()
        self._connection.forget_finished()


class _Connection:
    """Two peers that can open streams to each other."""

    def __init__(self, one: MemoryTransport, other: MemoryTransport) -> None:
        self.ends = (one, other)
        self.streams: list[MemoryStream] = []
        self.is_closed = False

    def remote_of(self, end: MemoryTransport) -> MemoryTransport:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def forget_finished(self) -> None:
        self.streams = [stream for stream in self.streams if not stream.is_over]

    def close(self, reason: str) -> None:
        self.is_closed = True
        for end in self.ends:
            end.connections.pop(self.remote_of(end).peer_id, None)
        for stream in list(self.streams):
            stream.break_off(reason)


class MemoryTransport:
    """A `Transport` in a `MemoryNetwork`; make one with `MemoryNetwork.transport`."""

    def __init__(self, network: MemoryNetwork, name: str, peer_id: PeerId, limits: Limits) -> None:
        self.peer_id = peer_id
        self.traffic = Traffic()
        self.connections: dict[PeerId, _Connection] = {}
        self.handlers: dict[str, StreamHandler] = {}
        self.limits = limits
        self.nursery: trio.Nursery | None = None
        self.fault_log = FaultLog("network_fault")
        self.faults: Counter[str] = self.fault_log.counts
        self._network = network
        self.name = name

    def addresses(self) -> Sequence[str]:
        """The one address of this peer; none before `run` has started."""
        return [f"{PREFIX}{self.name}/p2p/{self.peer_id}"] if self.nursery is not None else []

    def set_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Give inbound streams of `protocol` to `handler`."""
        self.handlers[protocol] = handler

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be reachable until cancelled. Raises `ConfigError` when the name is taken."""
        self._network.enter(self.name, self)
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.nursery = None
                self._network.leave(self.name)
                for connection in list(self.connections.values()):
                    connection.close("the remote has stopped")

    async def dial(self, address: str) -> PeerId:
        """Connect to `address`, or use the connection that exists. Raises `NetError`."""
        await checkpoint()
        place, expected = split_peer(address)
        remote = self._network.find(self.name, place.removeprefix(PREFIX)) if place.startswith(PREFIX) else None
        if remote is None or self.nursery is None:
            raise NetError(f"{address}: nobody answers")
        if expected is not None and expected != remote.peer_id:
            raise NetError(f"{address}: another peer answered")
        if remote is self:
            raise NetError(f"{address}: this is our own address")
        if remote.peer_id not in self.connections:
            connection = _Connection(self, remote)
            self.connections[remote.peer_id] = remote.connections[self.peer_id] = connection
        return remote.peer_id

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """Open a stream to a connected peer. Raises `NetError`."""
        await checkpoint()
        connection = self.connections.get(peer)
        if connection is None:
            raise NetError(f"not connected to {peer}")
        remote = connection.remote_of(self)
        if protocol not in remote.handlers:
            remote.fault_log.note("unknown_protocol", self.peer_id, protocol=protocol)
            raise NetError(f"the remote does not speak {protocol}")
        if sum(stream.peer == self.peer_id for stream in connection.streams) >= remote.limits.max_streams_per_peer:
            remote.fault_log.note("too_many_streams", self.peer_id)
            raise NetError("too many streams")
        delay_s = self._network.delay_s(self.name, remote.name)
        there, back = _Pipe(delay_s), _Pipe(delay_s)
        ours = MemoryStream(connection, peer, back, there, self.traffic)
        theirs = MemoryStream(connection, self.peer_id, there, back, remote.traffic)
        connection.streams.append(theirs)  # both ends are over at the same time: one of them stands for the stream
        assert remote.nursery is not None
        remote.nursery.start_soon(remote.serve, theirs, remote.handlers[protocol], delay_s)
        return ours

    async def serve(self, stream: MemoryStream, handler: StreamHandler, delay_s: float) -> None:
        """Run a handler on an inbound stream, once that is known here; its errors end nothing but the stream."""
        try:
            if delay_s:
                await trio.sleep(delay_s)
            await handler(stream)
        except NetError:
            pass  # the remote left
        except Exception as error:  # boundary: somebody's handler
            self.fault_log.note("handler_crash", stream.peer, error=repr(error))
        finally:
            if not stream.is_over:
                stream.break_off("its handler has ended")

    async def disconnect(self, peer: PeerId) -> None:
        """Close the connection to `peer`."""
        await checkpoint()
        if peer in self.connections:
            self.connections[peer].close("the connection was closed")

    def connected_peers(self) -> Sequence[PeerId]:
        """Peers with a connection, sorted."""
        return sorted(self.connections)


class MemoryNetwork:
    """Who is reachable by which name, and which pairs are cut off from each other.

    `delay_s(one, other)`: seconds that bytes are on their way between two names, the same both ways.
    """

    def __init__(self, delay_s: Callable[[str, str], float] = lambda one, other: 0.0) -> None:  # noqa: ARG005  by name
        self.delay_s = delay_s
        self._running: dict[str, MemoryTransport] = {}
        self._cut: set[frozenset[str]] = set()

    def transport(self, name: str, peer_id: PeerId, limits: Limits | None = None) -> MemoryTransport:
        """Make a transport that will be reachable at `/memory/<name>`."""
        return MemoryTransport(self, name, peer_id, limits or Limits())

    def enter(self, name: str, transport: MemoryTransport) -> None:
        """Make `transport` reachable. Raises `ConfigError` when the name is taken."""
        if name in self._running:
            raise ConfigError(f"cannot listen on {PREFIX}{name}: the name is in use")
        self._running[name] = transport

    def leave(self, name: str) -> None:
        """Make the transport of this name unreachable."""
        del self._running[name]

    def find(self, asker: str, name: str) -> MemoryTransport | None:
        """Return the transport that `asker` reaches under `name`."""
        return None if frozenset((asker, name)) in self._cut else self._running.get(name)

    def drop(self, one: str, other: str) -> None:
        """Break the connection between two running peers; they may dial again."""
        transport = self._running[one]
        connection = transport.connections.get(self._running[other].peer_id)
        if connection is not None:
            connection.close("the connection broke")

    def cut(self, one: str, other: str) -> None:
        """Break the connection between two peers and let no new one be made, until `mend`."""
        self._cut.add(frozenset((one, other)))
        if one in self._running and other in self._running:
            self.drop(one, other)

    def mend(self, one: str, other: str) -> None:
        """Allow connections between two peers again."""
        self._cut.discard(frozenset((one, other)))
