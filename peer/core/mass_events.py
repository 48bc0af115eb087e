"""What the mass core is told at its start, what it asks its shell to do, and what must survive a crash."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from peer.core.backoff import Backoff
from peer.core.mass_messages import ShareName
from peer.core.messages import PeerId


@dataclass(frozen=True)
class MassConfig:
    """Knobs of parcels."""

    cancel_after_s: float = 120.0  # until a parcel that nobody said Took to is asked back
    answer_s: float = 2.0  # until a parcel whose bytes got through is asked back: for Took, or whatever became of it
    window: int = 16  # parcels to one receiver from the oldest that is not settled on
    max_open: int = 4096  # parcels that are not settled, over all receivers
    max_senders: int = 4096  # whose settled numbers are remembered, least recently heard first out
    retry: Backoff = Backoff(base_s=30.0, cap_s=300.0)  # the first one after what a transfer takes at least
    cancel_retry: Backoff = Backoff(base_s=2.0, cap_s=300.0)
    pause_s: float = 1.0  # at most so long until a parcel is sent again whose bytes are known not to have arrived


class Take(msgspec.Struct, frozen=True):
    """A share has arrived, for the first and last time: add it to the state, or to what waits to be mixed."""

    sender: PeerId
    number: int
    share: ShareName


class Settled(msgspec.Struct, frozen=True):
    """The receiver has the share: the copy is not needed any more."""

    receiver: PeerId
    number: int
    share: ShareName


class Refund(msgspec.Struct, frozen=True):
    """The receiver will never take the share: it is the sender's again."""

    receiver: PeerId
    number: int
    share: ShareName


class MassMisbehaved(msgspec.Struct, frozen=True):
    """A peer broke the protocol in a way that no loss, repetition, reordering or crash explains."""

    peer: PeerId
    kind: str


MassEvent = Take | Settled | Refund | MassMisbehaved


class SentParcel(msgspec.Struct, frozen=True, array_like=True):
    """A parcel that is not settled, or is and was given after one that is not."""

    receiver: PeerId
    number: int
    share: ShareName = b""
    is_cancelled: bool = False
    is_settled: bool = False


class Accounts(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of one sender's numbers: all below `settled` are, and of the others these."""

    sender: PeerId
    settled: int
    taken: tuple[int, ...] = ()
    void: tuple[int, ...] = ()


class MassJournal(msgspec.Struct, frozen=True, array_like=True):
    """What a peer must know of its parcels after a crash."""

    next_number: int = 0
    sent: tuple[SentParcel, ...] = ()
    received: tuple[Accounts, ...] = ()
