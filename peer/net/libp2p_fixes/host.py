"""The library's host on our swarm: bounded negotiation, contained handlers, identify in a nursery of ours.

Replaces methods of `BasicHost` in `libp2p/host/basic_host.py`: there a garbled protocol name or an unknown one
raises out of the stream task, identify runs in trio system tasks (an error in one ends the program), and 0.0.0.0 is
published as an address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import StreamFailure
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PingService
from libp2p.io.exceptions import IOException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError
from multiaddr import Multiaddr

from peer.net.addresses import expand
from peer.net.libp2p_fixes import identify, multistream
from peer.net.libp2p_fixes.connection import Connection
from peer.net.libp2p_fixes.swarm import BoundedSwarm
from peer.net.libp2p_fixes.yamux_stream import YamuxStream

BROKEN = (IOException, MuxedStreamError, multistream.NegotiationError)


class Host(BasicHost):
    """Protocols on top of a `BoundedSwarm`."""

    _network: BoundedSwarm

    def __init__(self, swarm: BoundedSwarm) -> None:
        protocols: OrderedDict[TProtocol, StreamHandlerFn] = OrderedDict()
        protocols[identify.IDENTIFY] = partial(identify.answer, self)
        protocols[PING] = PingService(self).handle_ping
        super().__init__(swarm, default_protocols=protocols)
        self.agents: dict[ID, str] = {}  # of connected peers, as they say themselves

    def get_addrs(self) -> list[Multiaddr]:
        """Return the addresses to publish, with our peer id; never 0.0.0.0 or ::."""
        suffix = Multiaddr(f"/p2p/{self.get_id()}")
        return [Multiaddr(text).encapsulate(suffix) for text in expand(str(a) for a in self.get_transport_addrs())]

    async def new_stream(self, peer_id: ID, protocol_ids: Sequence[TProtocol]) -> INetStream:
        """Open a stream to a connected peer and agree on one of the protocols.

        Raises `SwarmException` when not connected, `StreamFailure` when there is no agreement within `negotiate_s`.
        """
        stream = await self._network.new_stream(peer_id)
        assert isinstance(stream.muxed_stream, YamuxStream)
        assert stream.swarm_conn is not None
        protocol = None
        try:
            with trio.fail_after(self._network.limits.negotiate_s):
                protocol = await multistream.propose(stream.muxed_stream, protocol_ids)
        except (*BROKEN, trio.TooSlowError) as error:
            raise StreamFailure(str(error) or "no answer") from error
        finally:
            if protocol is None:
                stream.muxed_stream.abort("no protocol was agreed on")
                stream.swarm_conn.remove_stream(stream)
        stream.set_protocol(TProtocol(protocol))
        return stream

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        """Serve one inbound stream; an exception is the connection's to count."""
        assert isinstance(net_stream, NetStream)
        connection = net_stream.swarm_conn
        assert isinstance(connection, Connection)
        try:
            protocol = await self._negotiate(net_stream, connection)
        finally:
            connection.negotiated()
        if protocol is None:
            return
        net_stream.set_protocol(TProtocol(protocol))
        handler = self.multiselect.handlers[TProtocol(protocol)]
        assert handler is not None
        try:
            await handler(net_stream)
        except (*BROKEN, trio.TooSlowError, identify.DecodeError):
            pass  # the library's own protocols raise when a remote leaves; ours never do

    async def _negotiate(self, stream: NetStream, connection: Connection) -> str | None:
        protocols = {str(protocol) for protocol in self.multiselect.get_protocols() if protocol is not None}
        refused: list[str] = []
        try:
            with trio.fail_after(self._network.limits.negotiate_s):
                return await multistream.respond(stream.muxed_stream, protocols, refused)
        except (multistream.NegotiationError, trio.TooSlowError) as error:
            fault, detail = "negotiation", str(error) or "stalled"
        except (IOException, MuxedStreamError):
            fault, detail = "", ""  # the remote gave the stream up, or its connection broke: no rule is broken
        if refused:
            fault, detail = "unknown_protocol", refused[0][:64]
        if fault:
            connection.strike(fault, detail=detail)
        return None

    # Identify

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        if self._network.background_nursery is not None and peer_id not in self._identify_inflight:
            self._identify_inflight.add(peer_id)
            self._network.background_nursery.start_soon(self._identify_task_entry, peer_id, reason)

    async def _identify_peer(self, peer_id: ID, *, reason: str) -> None:  # noqa: ARG002  # the library's signature
        try:
            stream = await self.new_stream(peer_id, [identify.IDENTIFY])
            message = await identify.ask(stream)
        except Exception:  # boundary: an unhelpful remote stays unidentified, whatever it sent
            return
        if self._network.newest(peer_id) is None:
            return  # gone meanwhile: nothing may be kept
        await identify.remember(self.peerstore, peer_id, message)
        self.agents[peer_id] = message.agent_version[:64]

    def _on_notifee_disconnected(self, conn: INetConn) -> None:
        super()._on_notifee_disconnected(conn)
        peer_id = conn.muxed_conn.peer_id
        if self._network.newest(peer_id) is None:
            self.agents.pop(peer_id, None)
