"""The table of connections: bounded, and empty of what is gone.

Replaces the life of a connection in `libp2p/network/swarm.py`. There an inbound connection keeps its slot and its
task until the swarm ends; a dial waits 250 ms for a second address that does not exist, is retried behind our
back and then refused for 60 s; loopback and IPv6 addresses that we were told to dial are dropped; rate limits of the
resource manager count honest reconnects; an auto-connector dials whom it likes; the peer store keeps every stranger.

What stays of the library is the interface (`connections`, `peerstore`, notifees, tags), which its relay, DHT and
identify build on.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, IRawConnection
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from libp2p.transport.exceptions import MuxerUpgradeFailure, OpenConnectionError, SecurityUpgradeFailure
from multiaddr import Multiaddr

from peer.net.faults import FaultLog
from peer.net.libp2p_fixes.connection import Connection
from peer.net.libp2p_fixes.tcp import Tcp, TcpConnection, TcpListener
from peer.net.libp2p_fixes.upgrader import Upgrader
from peer.net.libp2p_fixes.yamux import Yamux
from peer.net.limits import CLEANUP_S, Limits

JANITOR_S = 5.0  # resolution of keepalive, idle and linger times


class BoundedSwarm(Swarm):
    """Connections to peers over TCP. `listen`, then `run` until cancelled."""

    listeners: dict[str, TcpListener]  # type: ignore[assignment]  # as below
    connections: dict[ID, list[Connection]]  # type: ignore[assignment]  # the library's type is the interface

    def __init__(self, peer_id: ID, peerstore: PeerStore, upgrader: Upgrader, limits: Limits, faults: FaultLog) -> None:
        super().__init__(
            peer_id,
            peerstore,
            upgrader,
            transports=[Tcp()],
            retry_config=RetryConfig(max_retries=0),
            connection_config=ConnectionConfig(
                max_connections=limits.max_connections,
                min_connections=0,
                low_watermark=0,
                high_watermark=limits.max_connections,
                max_connections_per_peer=limits.max_connections_per_peer,
            ),
        )
        self.limits = limits
        self.faults = faults
        self._tcp = self.transport_manager.get_transports()[0]
        self._handshakes: dict[trio.CancelScope, str] = {}  # in order of arrival
        self._dialing: dict[str, trio.Event] = {}

    # Life

    async def run(self) -> None:
        """Serve until cancelled, then say goodbye to everybody and close every socket."""
        async with trio.open_nursery() as nursery:
            self.background_nursery = nursery
            self.event_background_nursery_created.set()
            for listener in self.listeners.values():
                nursery.start_soon(listener.serve, nursery)
            nursery.start_soon(self._janitor)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
                    await self.close()

    async def close(self) -> None:
        """Close listeners and connections; returns within `close_s`."""
        for listener in self.listeners.values():
            await listener.close()
        self.listeners.clear()
        async with trio.open_nursery() as nursery:
            for connection in self.all_connections():
                nursery.start_soon(connection.close)

    async def listen(self, *multiaddrs: Multiaddr) -> bool:
        """Bind every address before `run`, which accepts. Raises `OpenConnectionError` for the first one taken."""
        listeners: dict[str, TcpListener] = {}
        try:
            for address in multiaddrs:
                listeners[str(address)] = TcpListener(self._accept)  # type: ignore[arg-type]  # gets our connections
                await listeners[str(address)].listen(address)
            self.listeners.update(listeners)
        except OpenConnectionError as error:
            raise OpenConnectionError(f"{list(listeners)[-1]}: {error}") from error
        finally:
            for listener in listeners.values():
                if listener not in self.listeners.values():
                    listener.close_now()
        return True

    async def _janitor(self) -> None:
        while True:
            await trio.sleep(JANITOR_S)
            now = trio.current_time()
            for connection in self.all_connections():
                connection.muxed_conn.tick(now)
                is_spare = len(self.connections.get(connection.muxed_conn.peer_id, [])) > 1
                allowed_s = self.limits.linger_s if is_spare else self.limits.idle_s
                if connection.is_inbound and connection.quiet_s(now) > allowed_s:
                    connection.abort("idle")

    # Inbound

    async def _accept(self, raw: TcpConnection) -> None:
        """Take an inbound connection through its handshakes; when too many are at it, the oldest one goes."""
        remote = raw.get_remote_address()
        culprit = remote[0] if remote else "unknown"
        while len(self._handshakes) >= self.limits.max_handshakes:
            oldest = next(iter(self._handshakes))
            self.faults.note("too_many_handshakes", self._handshakes.pop(oldest))
            oldest.cancel()
        scope = trio.CancelScope()
        self._handshakes[scope] = culprit
        try:
            with scope, trio.fail_after(self.limits.handshake_s):
                await self.upgrade_inbound_raw_conn(raw, Multiaddr("/ip4/0.0.0.0"))
        except trio.TooSlowError:
            self.faults.note("handshake", culprit, error="stalled")
        except (SecurityUpgradeFailure, MuxerUpgradeFailure) as error:
            self.faults.note("handshake", culprit, error=str(error))
        except SwarmException:
            pass  # refused and counted by `_admit`
        finally:
            self._handshakes.pop(scope, None)

    async def upgrade_inbound_raw_conn(
        self,
        raw_conn: IRawConnection,
        maddr: Multiaddr,  # noqa: ARG002  # the library's signature
    ) -> IMuxedConn:
        """Secure and multiplex a connection that a remote opened; closes it on failure."""
        return (await self._upgrade(raw_conn, None)).muxed_conn

    async def upgrade_outbound_raw_conn(
        self,
        raw_conn: IRawConnection,
        peer_id: ID | None,
        pre_scope: object = None,  # noqa: ARG002  # the library's signature
    ) -> Connection:
        """Secure and multiplex a connection that we opened (to `peer_id`, None: whoever answers)."""
        return await self._upgrade(raw_conn, peer_id)

    async def _upgrade(self, raw: IRawConnection, expected: ID | None) -> Connection:
        connection = None
        try:
            secured = await self.upgrader.upgrade_security(raw, raw.is_initiator, expected)
            muxed = await self.upgrader.upgrade_connection(secured, secured.get_remote_peer())
            connection = await self.add_conn(muxed, "outbound" if raw.is_initiator else "inbound")
            return connection
        finally:
            if connection is None:
                with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
                    await raw.close()

    # The table

    def all_connections(self) -> list[Connection]:
        """Return every open connection."""
        return [connection for connections in self.connections.values() for connection in connections]

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> Connection:
        """Admit and start a connection. Raises `SwarmException` when there is no place for it."""
        assert isinstance(muxed_conn, Yamux)
        assert self.background_nursery is not None
        connection = Connection(muxed_conn, self, direction)
        self._admit(connection)
        self.connections.setdefault(muxed_conn.peer_id, []).append(connection)
        self.background_nursery.start_soon(self._serve, connection)
        await connection.event_started.wait()
        return connection

    def _admit(self, connection: Connection) -> None:
        peer_id = connection.muxed_conn.peer_id
        if peer_id == self.self_id:
            raise SwarmException("this is our own address")
        own = self.connections.get(peer_id, [])
        if len(own) >= self.limits.max_connections_per_peer:
            own[0].abort("replaced by a newer connection of the same peer")
            self.remove_conn(own[0])
        connections = self.all_connections()
        inbound = [other for other in connections if other.is_inbound]
        if connection.is_inbound and len(inbound) >= self.limits.max_inbound:
            self._make_place(inbound, str(peer_id))
        elif len(connections) >= self.limits.max_connections:
            raise SwarmException("the table of connections is full")

    def _make_place(self, inbound: list[Connection], culprit: str) -> None:
        """Close the inbound connection that has been without a stream for longest. Raises `SwarmException`."""
        now = trio.current_time()
        quietest = max(inbound, key=lambda connection: connection.quiet_s(now))
        self.faults.note("too_many_connections", culprit)
        if quietest.quiet_s(now) == 0.0:
            raise SwarmException("the table of inbound connections is full")
        quietest.abort("idle, and its place is needed")
        self.remove_conn(quietest)

    async def _serve(self, connection: Connection) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._announce, connection)
                await connection.start()
        except Exception as error:  # boundary: a mistake of ours in one connection must not end the others
            connection.abort("crashed")
            self.faults.note("connection_crash", str(connection.muxed_conn.peer_id), error=repr(error))
        finally:
            self.remove_conn(connection)
            with trio.CancelScope(shield=True):  # the notifees only edit tables
                await self._notify("disconnected", connection)

    async def _announce(self, connection: Connection) -> None:
        await connection.event_started.wait()
        await self._notify("connected", connection)

    def remove_conn(self, swarm_conn: Any) -> None:
        """Take a connection out of the table, and a peer without one out of the peer store."""
        peer_id = swarm_conn.muxed_conn.peer_id
        left = [connection for connection in self.connections.get(peer_id, []) if connection is not swarm_conn]
        if left:
            self.connections[peer_id] = left
            return
        self.connections.pop(peer_id, None)
        self.tag_store.clear_peer(peer_id)
        with suppress(PeerStoreError):  # it was never identified
            self.peerstore.clear_peerdata(peer_id)

    async def _notify(self, method: str, *args: Any) -> None:
        for notifee in self.notifees:
            await getattr(notifee, method)(self, *args)

    async def notify_closed_stream(self, stream: INetStream) -> None:
        """Nobody listens to streams; the library would start a task for each notifee."""

    # Outbound

    async def dial_address(self, address: Multiaddr, peer_id: ID | None) -> Connection:
        """Return a connection to `peer_id` (None: whoever answers at `address`), an open one if there is.

        Raises `SwarmException`, `OpenConnectionError`, `SecurityUpgradeFailure`, `MuxerUpgradeFailure`, and
        `TooSlowError` after `dial_s`.
        """
        key = str(address) if peer_id is None else peer_id.to_base58()
        while True:
            if peer_id is not None and (existing := self.newest(peer_id)) is not None:
                return existing
            if key not in self._dialing:
                break
            await self._dialing[key].wait()  # somebody dials the same already
        done = self._dialing[key] = trio.Event()
        try:
            with trio.fail_after(self.limits.dial_s):
                raw = await self._tcp.dial(address)
                return await self.upgrade_outbound_raw_conn(raw, peer_id)
        finally:
            del self._dialing[key]
            done.set()

    def newest(self, peer_id: ID) -> Connection | None:
        """Return the newest open connection to a peer: an older one may be a corpse not noticed yet."""
        for connection in reversed(self.connections.get(peer_id, [])):
            if not connection.is_closed:
                return connection
        return None

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Dial the addresses that the peer store has, one after the other (for the library's own protocols)."""
        last: Exception | None = None
        try:
            addresses = self.peerstore.addrs(peer_id)
        except PeerStoreError as error:
            raise SwarmException(f"no address of {peer_id} is known") from error
        for address in addresses:
            try:
                return [await self.dial_address(address, peer_id)]
            except (SwarmException, OpenConnectionError, SecurityUpgradeFailure, MuxerUpgradeFailure) as error:
                last = error
            except trio.TooSlowError as error:
                last = error
        raise SwarmException(f"no address of {peer_id} answers") from last

    async def new_stream(self, peer_id: ID) -> NetStream:
        """Open a stream to a connected peer. Raises `SwarmException`."""
        connection = self.newest(peer_id)
        if connection is None:
            raise SwarmException(f"not connected to {peer_id}")
        try:
            return await connection.new_stream()
        except MuxedConnUnavailable as error:
            raise SwarmException(str(error)) from error

    async def close_peer(self, peer_id: ID) -> None:
        """Close every connection to a peer; returns within `close_s`."""
        async with trio.open_nursery() as nursery:
            for connection in list(self.connections.get(peer_id, [])):
                nursery.start_soon(connection.close)
