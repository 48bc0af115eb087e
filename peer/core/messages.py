"""What peers say to each other: the wire format, and the only source of what a mixing rule knows about a slot.

All messages are msgspec structs encoded as MessagePack arrays. A newer version may append fields: an older reader
skips what it does not know and takes the default for what is missing. Every field that a remote can make long has a
bound here, so that decoding a frame can never cost more than the frame.

    link stream   (one per pair)      Hello first, then Offer, Seen, Records, Goodbye in any order
    model stream  (one per request)   Want ->   <- Model + size_bytes raw bytes,  or  <- Refuse

Offer-then-pull is Bitcoin's inv/getdata: the receiver alone decides what it spends its bandwidth on.
"""

from __future__ import annotations

from typing import Annotated, NewType

import msgspec

PeerId = NewType("PeerId", str)
"""A libp2p peer id in base58: the identity multihash of the peer's Ed25519 public key."""

PROTOCOL_VERSION = 1
MAX_ADDRESSES = 8
MAX_RECORDS = 64  # records in one message; a longer list travels in several

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Word = Annotated[str, msgspec.Meta(max_length=64)]
Address = Annotated[str, msgspec.Meta(max_length=256)]


class Manifest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The signed header of a snapshot: what it is, whose, and which bytes belong to it.

    `seq` strictly increases over all snapshots of one author, also across restarts: a receiver refuses what is not
    newer (replay). `degree` is the author's number of neighbours when it published (Metropolis weights need it).
    `signature` is Ed25519 by `author` over `signed_part()`; empty while unsigned.
    """

    swarm: Digest  # SHA-256 of the canonical swarm file
    space: Digest  # hash of the ParamSpace layout
    author: PublicKey
    seq: Count
    round: Count
    steps: Count  # local steps behind it, over the author's whole life
    samples: Count  # size of the author's training set
    degree: Count
    size_bytes: Count
    sha256: Digest  # of the safetensors file
    channel: Word = "x"
    codec: Word = "f32"
    produced_ms: Count = 0  # author's wall clock, Unix milliseconds: shown to people, never decides anything
    signature: Signature = b""

    def signed_part(self) -> bytes:
        """Return the bytes that the author signs."""
        return b"murmuration/manifest/1\0" + msgspec.msgpack.encode(msgspec.structs.replace(self, signature=b""))


class PeerRecord(msgspec.Struct, frozen=True, array_like=True):
    """What a peer says of itself, spread by peer exchange.

    `incarnation` counts the starts of the daemon, `heartbeat` its signs of life since; the pair only grows.
    """

    author: PublicKey
    swarm: Digest
    incarnation: Count
    heartbeat: Count
    addresses: Annotated[tuple[Address, ...], msgspec.Meta(max_length=MAX_ADDRESSES)] = ()
    has_left: bool = False
    trains: bool = True  # a relay or bootstrap node without trainer is a member, but nobody's neighbour
    signature: Signature = b""

    def signed_part(self) -> bytes:
        """Return the bytes that the author signs."""
        return b"murmuration/record/1\0" + msgspec.msgpack.encode(msgspec.structs.replace(self, signature=b""))


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of everything that is sent as one frame. No message holds itself: the collector of garbage may pass by."""


class Hello(Message, frozen=True):
    """First message on a link, both ways. A different `swarm` or `version` ends the link."""

    swarm: Digest
    version: Count = PROTOCOL_VERSION
    agent: Word = ""


class Offer(Message, frozen=True):
    """The sender has this snapshot of its own for the receiver to fetch."""

    manifest: Manifest


class Seen(Message, frozen=True):
    """The offer with this `seq` arrived; it need not be repeated."""

    seq: Count


class Want(Message, frozen=True):
    """Please send the snapshot with this hash, from `offset` on. `request_id` is the asker's, never reused."""

    request_id: Count
    sha256: Digest
    offset: Count = 0


class Model(Message, frozen=True):
    """Answer to `Want`: on the wire, the `size_bytes - offset` raw bytes of the file follow this frame."""

    request_id: Count
    sha256: Digest
    size_bytes: Count
    offset: Count = 0


class Refuse(Message, frozen=True):
    """Answer to `Want`: not now (`busy`), or not any more (`unknown`)."""

    request_id: Count
    reason: Word


class Records(Message, frozen=True):
    """Peer exchange: the newest records that the sender knows (a part of them)."""

    records: Annotated[tuple[PeerRecord, ...], msgspec.Meta(max_length=MAX_RECORDS)]


class Goodbye(Message, frozen=True):
    """The sender closes the link on purpose (`leaving`, `wrong_swarm`, `duplicate_link`, ...)."""

    reason: Word = ""


AnyMessage = Hello | Offer | Seen | Want | Model | Refuse | Records | Goodbye
LinkMessage = Hello | Offer | Seen | Records | Goodbye
"""What may be said on a link stream."""
