"""The real network: TCP, Noise, yamux, by py-libp2p with the repairs of `peer.net.libp2p_fixes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.custom_types import TProtocol
from libp2p.host.exceptions import StreamFailure
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from libp2p.transport.exceptions import MuxerUpgradeFailure, OpenConnectionError, SecurityUpgradeFailure
from multiaddr import Multiaddr
from multiaddr.exceptions import MultiaddrError

from peer.core.messages import PeerId
from peer.errors import ConfigError, NetError
from peer.net.addresses import split_peer
from peer.net.faults import FaultLog
from peer.net.libp2p_fixes import quiet_loggers
from peer.net.libp2p_fixes.host import Host
from peer.net.libp2p_fixes.noise import Noise
from peer.net.libp2p_fixes.swarm import BoundedSwarm
from peer.net.libp2p_fixes.upgrader import Upgrader, WrongPeerError
from peer.net.libp2p_fixes.yamux_stream import YamuxStream
from peer.net.limits import Limits
from peer.net.transport import Stream, StreamHandler, Traffic


class Libp2pStream:
    """A `Stream` on a yamux stream."""

    def __init__(self, stream: NetStream, traffic: Traffic) -> None:
        assert isinstance(stream.muxed_stream, YamuxStream)
        self._muxed = stream.muxed_stream
        self._stream = stream
        self._traffic = traffic
        self._peer = PeerId(self._muxed.muxed_conn.peer_id.to_base58())

    @property
    def peer(self) -> PeerId:
        """The remote, as proved by the handshake."""
        return self._peer

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        try:
            await self._muxed.write(data)
        except MuxedStreamError as error:
            raise NetError(str(error)) from error
        self._traffic.bytes_out += len(data)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Receive 1..`max_bytes` bytes, `b""` at the end."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        try:
            data = await self._muxed.read(max_bytes)
        except MuxedStreamEOF:
            return b""
        except MuxedStreamError as error:
            raise NetError(str(error)) from error
        self._traffic.bytes_in += len(data)
        return data

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        if self._muxed.failure is not None:
            raise NetError(self._muxed.failure)
        await self._muxed.close_write()

    async def aclose(self) -> None:
        """Close both ways."""
        self._forget()
        await self._muxed.close()

    async def reset(self) -> None:
        """Drop the stream."""
        self._forget()
        await self._muxed.reset()

    def _forget(self) -> None:
        if self._stream.swarm_conn is not None:
            self._stream.swarm_conn.remove_stream(self._stream)


class Libp2pTransport:
    """A `Transport` over the Internet.

    `seed` is the raw private Ed25519 key of 32 bytes; `listen` are multiaddrs such as `/ip4/0.0.0.0/tcp/4001`
    (port 0: any free one; none: nobody can dial us). Identify runs on every connection; no UPnP, no mDNS.
    """

    def __init__(self, seed: bytes, listen: Sequence[str], limits: Limits | None = None) -> None:
        quiet_loggers()
        self._listen = list(listen)
        self._limits = limits or Limits()
        self._fault_log = FaultLog("network_fault")
        key_pair = create_new_key_pair(seed)
        peer_id = ID.from_pubkey(key_pair.public_key)
        peerstore = PeerStore()
        peerstore.add_key_pair(peer_id, key_pair)
        noise = Noise(key_pair, noise_privkey=create_noise_key().private_key)
        upgrader = Upgrader(noise, self._limits)
        self._swarm = BoundedSwarm(peer_id, peerstore, upgrader, self._limits, self._fault_log)
        self._host = Host(self._swarm)
        self.peer_id = PeerId(peer_id.to_base58())
        self.traffic = Traffic()
        self.faults: Counter[str] = self._fault_log.counts

    def addresses(self) -> Sequence[str]:
        """Addresses to dial this peer by; empty before `run` has started."""
        return [str(address) for address in self._host.get_addrs()]

    def set_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Give inbound streams of `protocol` to `handler`."""

        async def handle(net_stream: INetStream) -> None:
            assert isinstance(net_stream, NetStream)
            stream = Libp2pStream(net_stream, self.traffic)
            try:
                await handler(stream)
            except NetError:
                pass  # the remote left; the connection resets the stream
            except Exception as error:  # boundary: somebody's handler
                self._fault_log.note("handler_crash", stream.peer, protocol=protocol, error=repr(error))

        self._host.set_stream_handler(TProtocol(protocol), handle)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled. Raises `ConfigError` when an address cannot be listened on."""
        try:
            await self._swarm.listen(*[Multiaddr(address) for address in self._listen])
        except (OpenConnectionError, MultiaddrError, ValueError) as error:
            raise ConfigError(f"net.listen: cannot listen on {error}") from error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._swarm.run)
            await self._swarm.event_background_nursery_created.wait()
            task_status.started()

    async def dial(self, address: str) -> PeerId:
        """Connect to `address`, or use the connection that exists. Raises `NetError`."""
        transport_address, name = split_peer(address)
        try:
            expected = ID.from_string(name) if name is not None else None
            connection = await self._swarm.dial_address(Multiaddr(transport_address), expected)
        except WrongPeerError as error:
            raise NetError(f"{address}: {error}") from error
        except (SwarmException, OpenConnectionError, SecurityUpgradeFailure, MuxerUpgradeFailure) as error:
            raise NetError(f"{address}: {error}") from error
        except (MultiaddrError, ValueError) as error:
            raise NetError(f"{address}: not an address that can be dialed ({error})") from error
        except trio.TooSlowError as error:
            raise NetError(f"{address}: no answer within {self._limits.dial_s:g} s") from error
        return PeerId(connection.muxed_conn.peer_id.to_base58())

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """Open a stream to a connected peer. Raises `NetError`."""
        try:
            stream = await self._host.new_stream(ID.from_string(peer), [TProtocol(protocol)])
        except (SwarmException, StreamFailure, ValueError) as error:
            raise NetError(str(error)) from error
        assert isinstance(stream, NetStream)
        return Libp2pStream(stream, self.traffic)

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to `peer`."""
        await self._swarm.close_peer(ID.from_string(peer))

    def connected_peers(self) -> Sequence[PeerId]:
        """Peers with an open connection, sorted."""
        return sorted(
            PeerId(peer_id.to_base58()) for peer_id in list(self._swarm.connections) if self._swarm.newest(peer_id)
        )
