"""From a raw connection to a secured and multiplexed one.

Replaces the methods of `libp2p/transport/upgrader.py` and `libp2p/stream_muxer/muxer_multistream.py`: the library
cannot dial an address without knowing who is there, opens and cancels a nursery for each muxer, and lets the many
exception types of a failed handshake (protobuf, noise, nacl, cryptography, ValueError) pass through.
"""

from __future__ import annotations

from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn, ISecureTransport
from libp2p.peer.id import ID
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.transport.exceptions import MuxerUpgradeFailure, SecurityUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader

from peer.net.libp2p_fixes import multistream
from peer.net.libp2p_fixes.yamux import YAMUX, Yamux
from peer.net.limits import Limits

ED25519_ID = bytes.fromhex("0024 0801 1220")  # identity multihash of a protobuf-framed Ed25519 key (libp2p peer-ids.md)


class WrongPeerError(SecurityUpgradeFailure):
    """The remote proved another id than the one that was dialed."""


class Upgrader(TransportUpgrader):
    """Noise, then yamux. Deadlines are the caller's."""

    def __init__(self, security: ISecureTransport, limits: Limits) -> None:
        super().__init__(secure_transports_by_protocol={NOISE: security}, muxer_transports_by_protocol={})
        self._security = security
        self._limits = limits

    async def upgrade_security(
        self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None = None
    ) -> ISecureConn:
        """Return the encrypted connection.

        Raises `SecurityUpgradeFailure` whatever the remote did wrong, `WrongPeerError` when it is not `peer_id`.
        """
        try:
            if is_initiator:
                await multistream.propose(raw_conn, [NOISE])
                secured = await self._security.secure_outbound(raw_conn, peer_id)  # type: ignore[arg-type]  # None is meant: whoever answers, as `IPattern.handshake_outbound` allows
            else:
                await multistream.respond(raw_conn, [NOISE])
                secured = await self._security.secure_inbound(raw_conn)
        except PeerIDMismatchesPubkey as error:
            raise WrongPeerError("another peer answered") from error
        except Exception as error:  # boundary: every library below the handshake has its own errors for bad bytes
            raise SecurityUpgradeFailure(f"{type(error).__name__}: {error}") from error
        if not secured.get_remote_peer().to_bytes().startswith(ED25519_ID):
            raise SecurityUpgradeFailure("the remote's key is not Ed25519: it cannot be a member of a swarm")
        return secured

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Return the multiplexed connection, not started yet. Raises `MuxerUpgradeFailure`."""
        try:
            if conn.is_initiator:
                await multistream.propose(conn, [YAMUX])
            else:
                await multistream.respond(conn, [YAMUX])
        except Exception as error:  # boundary: as above, plus the record layer's errors
            raise MuxerUpgradeFailure(f"{type(error).__name__}: {error}") from error
        return Yamux(conn, peer_id, self._limits)
