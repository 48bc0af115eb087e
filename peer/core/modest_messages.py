"""What peers say to each other under MoDeST: the wire format, in the style of `peer.core.messages`.

    link stream    Ping -> <- Pong        is this candidate alive, and how far is it?
                   Advertise              I join, or I leave
                   AggAck                 your trained model is taken care of (or is not: find another aggregator)
                   Doubts                 these did not answer me
                   ViewRequest -> <- ViewDelta, in several parts
    model stream   ModelHeader + the bytes of the model

Structs are MessagePack arrays; every field that a remote can make long or large has a bound here.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

from peer.core.messages import Count, Message, PeerId

MAX_ENTRIES = 256  # of a view in one message, about 16 KiB; a longer view travels in several
MAX_DOUBTS = 128  # peers named in one message
MAX_ROUND = 2**52  # rounds beyond it are refused: the successor of any round we accept fits the wire
NO_ACTIVITY = -1  # a peer that was never seen active
FIRST_ROUND = 1

PeerName = Annotated[PeerId, msgspec.Meta(min_length=1, max_length=128)]
Round = Annotated[int, msgspec.Meta(ge=0, le=MAX_ROUND)]
Nonce = Count
ContentName = Annotated[bytes, msgspec.Meta(max_length=64)]


class Status(enum.IntEnum):
    """Whether a peer takes part. At one index LEAVE wins over JOIN, whichever of the two arrives first."""

    JOIN = 0
    LEAVE = 1


ModelKind = Literal["trained", "aggregated"]


class ModelRef(msgspec.Struct, frozen=True, array_like=True):
    """A model by name; where its bytes are is the shell's business.

    `author` and `digest` say which bytes, and never change on the way. `round` and `kind` are the label under which
    they travel: an aggregated model of round k is what S_k begins from; a model trained from it travels to the
    aggregators A_{k+1} under the label k+1. The same bytes can go under a later label (a restart by the watchdog).
    """

    round: Round
    kind: ModelKind
    author: PeerName
    digest: ContentName = b""


class ViewEntry(msgspec.Struct, frozen=True, array_like=True):
    """What a view says of one peer: the newest round it is known to have been active in, and (idx, status).

    `idx` counts the joins and leaves of that peer; nobody else raises it.
    """

    peer: PeerName
    last_round: Annotated[int, msgspec.Meta(ge=NO_ACTIVITY, le=MAX_ROUND)] = NO_ACTIVITY
    idx: Count = 0
    status: Status = Status.JOIN


Entries = Annotated[tuple[ViewEntry, ...], msgspec.Meta(max_length=MAX_ENTRIES)]


class Ping(Message, frozen=True):
    """Are you alive? `round` is the sender's estimate of the swarm's round, `idx` its membership index."""

    round: Round
    idx: Count
    nonce: Nonce


class Pong(Message, frozen=True):
    """Answer to `Ping` with the same nonce."""

    round: Round
    idx: Count
    nonce: Nonce


class Advertise(Message, frozen=True):
    """The sender joins or leaves, by its index `idx`."""

    round: Round
    idx: Count
    change: Status


class AggAck(Message, frozen=True):
    """The sender has the round's models together, or (`success` false) leaves and will not aggregate them."""

    round: Round
    success: bool


class Doubts(Message, frozen=True):
    """These did not answer the sender of late: they are worth less waiting, and are not to be left out for that."""

    peers: Annotated[tuple[PeerName, ...], msgspec.Meta(max_length=MAX_DOUBTS)]


class ViewRequest(Message, frozen=True):
    """Please send your whole view, unless it has this digest."""

    digest: ContentName = b""


class ViewDelta(Message, frozen=True):
    """A part of the sender's view."""

    entries: Entries


class ModelHeader(Message, frozen=True):
    """What goes in front of a model's bytes: its name and what the receiver's view lacks."""

    ref: ModelRef
    view: Entries = ()


ModestMessage = Ping | Pong | Advertise | AggAck | Doubts | ViewRequest | ViewDelta
"""What may be said on a link stream."""
