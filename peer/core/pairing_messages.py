"""What two peers say to each other in a pair exchange (delivery PAIR): the wire format, in the style of `messages`.

    bulk stream    Propose + the initiator's vectors ->      <- Accept + the responder's vectors
    link stream    <- Busy,   Commit -> <- Done,   <- Query,   Abort ->

A nonce is the initiator's. Structs are MessagePack arrays; every field that a remote can make long has a bound here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from peer.core.messages import Count, Message

VectorName = Annotated[bytes, msgspec.Meta(max_length=64)]
"""Says which frozen vectors: their hash. Where their bytes are is the shell's business."""


class Propose(Message, frozen=True):
    """Let us exchange; this is my part."""

    nonce: Count
    vectors: VectorName


class Accept(Message, frozen=True):
    """Agreed, and this is my part: from now on the sender does what the initiator decides."""

    nonce: Count
    vectors: VectorName


class Busy(Message, frozen=True):
    """Not now: nothing was prepared, the exchange is off."""

    nonce: Count


class Commit(Message, frozen=True):
    """The exchange holds; the sender has applied it."""

    nonce: Count


class Abort(Message, frozen=True):
    """The exchange is off: the sender has not applied it and never will."""

    nonce: Count


class Query(Message, frozen=True):
    """The sender has accepted and has heard nothing since: what became of it?"""

    nonce: Count


class Done(Message, frozen=True):
    """The sender has applied the exchange, and will not ask about it again."""

    nonce: Count


PairMessage = Propose | Accept | Busy | Commit | Abort | Query | Done
