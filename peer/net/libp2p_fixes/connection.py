"""A connection whose stream handlers harm nobody else.

Replaces the tasks of `SwarmConn` in `libp2p/network/connection/swarm_connection.py`: there an exception in a stream
handler ends the connection's task, and with it the whole swarm; a closed connection sleeps 100 ms twice; handlers
of a dead connection run on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream, INetStream
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable

from peer.net.libp2p_fixes.yamux import Yamux

if TYPE_CHECKING:
    from peer.net.libp2p_fixes.swarm import BoundedSwarm

MAX_STRIKES = 256  # an honest peer may ask for protocols that we do not speak, but not for ever
HANDLER_GRACE_S = 5.0  # for handlers to notice that their connection is gone


class Connection(SwarmConn):
    """One authenticated connection and the handlers of the streams that the remote opens on it."""

    muxed_conn: Yamux
    swarm: BoundedSwarm

    def __init__(self, muxed_conn: Yamux, swarm: BoundedSwarm, direction: str) -> None:
        super().__init__(muxed_conn, swarm, direction=direction)
        self.set_transport_info(muxed_conn.get_transport_addresses(), muxed_conn.get_connection_type())
        muxed_conn.on_violation = self.strike
        self._num_negotiating = 0
        self._num_strikes = 0

    def strike(self, kind: str, **detail: object) -> None:
        """Count a rule that the remote broke; after `MAX_STRIKES` its connection goes."""
        self.swarm.faults.note(kind, str(self.muxed_conn.peer_id), **detail)
        self._num_strikes += 1
        if self._num_strikes > MAX_STRIKES:
            self.abort("too many broken rules")

    @property
    def is_inbound(self) -> bool:
        """The remote dialed."""
        return not self.muxed_conn.is_initiator

    @property
    def is_closed(self) -> bool:
        """No stream can be opened any more."""
        return self.muxed_conn.is_closed

    def quiet_s(self, now: float) -> float:
        """Return for how long there has been no stream; 0 while there is one."""
        return 0.0 if self.muxed_conn.num_streams else now - self.muxed_conn.quiet_since

    async def start(self) -> None:
        """Run the connection until it ends and its handlers with it. Raises nothing but `Cancelled`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.muxed_conn.start)
            await self.muxed_conn.event_started.wait()
            self.event_started.set()
            try:
                while True:
                    nursery.start_soon(self._handle_muxed_stream, await self.muxed_conn.accept_stream())
            except MuxedConnUnavailable:
                self.event_closed.set()
                nursery.cancel_scope.deadline = trio.current_time() + HANDLER_GRACE_S

    async def close(self) -> None:
        """Say goodbye and close; returns within `close_s`."""
        await self.muxed_conn.close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self.muxed_conn.abort(reason)

    async def new_stream(self) -> NetStream:
        """Open a stream. Raises `MuxedConnUnavailable`."""
        return self._wrap(await self.muxed_conn.open_stream())

    def _wrap(self, muxed_stream: IMuxedStream) -> NetStream:
        stream = NetStream(muxed_stream, self, None)
        stream._state = StreamState.OPEN  # the setter is a coroutine that takes a lock nobody else can hold yet
        self.streams.add(stream)
        return stream

    def remove_stream(self, stream: INetStream) -> None:
        """Forget a stream that has ended."""
        self.streams.discard(stream)

    async def _handle_muxed_stream(self, muxed_stream: IMuxedStream) -> None:
        if self._num_negotiating >= self.swarm.limits.max_negotiating_per_peer:
            self.strike("too_many_negotiating")
            await muxed_stream.reset()
            return
        stream = self._wrap(muxed_stream)
        self._num_negotiating += 1
        try:
            await self.swarm.common_stream_handler(stream)
        except Exception as error:  # boundary: a handler's error must end nothing but its stream
            self.strike("handler_crash", error=repr(error))
        finally:
            self.remove_stream(stream)
            if not muxed_stream.is_over:  # type: ignore[attr-defined]  # ours: YamuxStream
                muxed_stream.abort("its handler has ended")  # type: ignore[attr-defined]  # as above

    def negotiated(self) -> None:
        """One more stream has named its protocol (or failed to)."""
        self._num_negotiating -= 1
