"""What the pairing core is told at its start, what it asks its shell to do, and what must survive a crash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from peer.core.backoff import Backoff
from peer.core.messages import PeerId
from peer.core.pairing_messages import VectorName


class ExchangeId(NamedTuple):
    """Names an exchange for ever: an initiator uses a nonce once, over all its lives."""

    initiator: PeerId
    nonce: int


@dataclass(frozen=True)
class PairConfig:
    """Knobs of pair exchanges."""

    timeout_s: float = 30.0  # until a proposal without an answer is off: longer than both transfers take
    is_exclusive: bool = False  # one exchange in all, for rules that are not linear in the frozen copies
    max_answers: int = 1  # as responder at once; from 3 exchanges at once on, averaging diverges
    max_doubts: int = 64  # accepted exchanges whose end is not known; each keeps two copies
    max_unconfirmed: int = 1024  # committed exchanges of which the other end has not said Done
    max_initiators: int = 4096  # whose newest nonce is remembered
    commit_retry: Backoff = Backoff(base_s=2.0, cap_s=60.0)
    query_after_s: float = 30.0  # until whoever accepted and heard nothing asks: not before `timeout_s`
    query_retry: Backoff = Backoff(base_s=2.0, cap_s=600.0)


class FreezeCopy(msgspec.Struct, frozen=True):
    """Make a copy of the vectors that this end sends, then call `frozen` (or `abandon`).

    `theirs` names what the initiator sent; empty at the initiator itself.
    """

    id: ExchangeId
    peer: PeerId
    theirs: VectorName = b""


class Committed(msgspec.Struct, frozen=True):
    """Add to the state what the exchange makes of the two copies; neither copy is needed after that."""

    id: ExchangeId
    peer: PeerId
    own: VectorName
    theirs: VectorName


class Aborted(msgspec.Struct, frozen=True):
    """The exchange is off; the copies that are named are not needed any more."""

    id: ExchangeId
    peer: PeerId
    own: VectorName
    theirs: VectorName


class PairMisbehaved(msgspec.Struct, frozen=True):
    """A peer broke the protocol in a way that no loss, repetition, reordering or crash explains."""

    peer: PeerId
    kind: str


PairEvent = FreezeCopy | Committed | Aborted | PairMisbehaved


class Prepared(msgspec.Struct, frozen=True, array_like=True):
    """An exchange that was accepted, with the names of both copies."""

    initiator: PeerId
    nonce: int
    own: VectorName
    theirs: VectorName


class PairJournal(msgspec.Struct, frozen=True, array_like=True):
    """What a peer must know of its exchanges after a crash."""

    prepared: tuple[Prepared, ...] = ()
    unconfirmed: tuple[tuple[PeerId, int], ...] = ()
    newest: tuple[tuple[PeerId, int], ...] = ()
