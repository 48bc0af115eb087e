"""Identify (libp2p specs, identify/README.md) with small messages and our own name.

Replaces both ends in `libp2p/identity/identify/identify.py` and `libp2p/host/basic_host.py`: there a remote may send
1 MiB and a thousand addresses, the agent is always py-libp2p, and the asker runs in a trio system task.
"""

from __future__ import annotations

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream, IPeerStore
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import _mk_identify_protobuf
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.update import update_peerstore_from_identify
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes_limited

from peer.net.libp2p_fixes.tcp import multiaddr_of
from peer.version import AGENT

MAX_BYTES = 8 * 1024  # the specification's advice is 4 KiB, 8 with a signed record
MAX_ITEMS = 32  # addresses or protocols kept of one peer
DEADLINE_S = 10.0


async def answer(host: IHost, stream: INetStream) -> None:
    """Tell who we are and where we see the asker."""
    remote = stream.get_remote_address()
    message = _mk_identify_protobuf(host, multiaddr_of(*remote) if remote else None)
    message.agent_version = AGENT
    with trio.fail_after(DEADLINE_S):
        await stream.write(encode_varint_prefixed(message.SerializeToString()))
    await stream.close()


async def ask(stream: INetStream) -> Identify:
    """Read what the remote tells. Raises the stream's errors, `DecodeError` and `TooSlowError`."""
    message = Identify()
    with trio.fail_after(DEADLINE_S):
        message.ParseFromString(await read_varint_prefixed_bytes_limited(stream, MAX_BYTES))
    await stream.close()
    del message.listen_addrs[MAX_ITEMS:]
    del message.protocols[MAX_ITEMS:]
    return message


async def remember(peerstore: IPeerStore, peer_id: ID, message: Identify) -> None:
    """Put what a connected remote told into the peer store, which forgets it with the connection."""
    await update_peerstore_from_identify(peerstore, peer_id, message)


__all__ = ["AGENT", "IDENTIFY", "DecodeError", "answer", "ask", "remember"]
