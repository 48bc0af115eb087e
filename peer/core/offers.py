"""The own snapshots on offer: the newest one is said to every receiver until the receiver has seen it.

Loss is met by saying it again with growing pauses; a newer snapshot takes the place of an older one wherever that has
not been seen. The newest `kept` can be asked for: a receiver may still want the last one when the next is out.

A receiver tells that it has the offer by `Seen`, or by asking for the snapshot (`Want`). The latter comes over a stream
of its own and may be late: one that was sent before the link broke may arrive when the next link stands, and would
silence an offer that the receiver, which forgot everything meanwhile, never got. So a `Want` counts only for what was
published while the link to this receiver stood, and has stood since. Whatever else is on offer has to be `Seen`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Protocol

from peer.core.backoff import Backoff, Uniform
from peer.core.messages import Manifest, Offer, PeerId

KEPT = 2

Said = tuple[PeerId, Offer]


@dataclass(slots=True, eq=False)
class Receiver:
    """How far one receiver is with the newest own snapshot."""

    peer: PeerId
    after_seq: int  # it is told only what is newer than this
    is_linked: bool
    want_counts: bool = False  # for the snapshot on offer, as if it were `Seen`
    attempts: int = 0
    timer: float | None = None  # when to say the offer; None: seen, or nothing to say


class SetsTimer(Protocol):
    """The part of `Timers` that is used here."""

    def set(self, what: Receiver, when: float, /) -> None:
        """Have `what` due at `when`."""


class Offers:
    """What is offered, and how far each receiver is with it. Times are seconds of the caller's clock.

    The newest `kept` snapshots are given out. Who is to be told again is among those due in `timers`, which `say` sets;
    then the caller calls `say`.
    """

    __slots__ = ("_kept", "_offer", "_published", "_receivers", "_retry", "_rng", "_timers")

    def __init__(self, retry: Backoff, rng: Uniform, timers: SetsTimer, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._retry = retry
        self._rng = rng
        self._published: tuple[Manifest, ...] = ()
        self._offer: Offer | None = None
        self._receivers: dict[PeerId, Receiver] = {}
        self._timers = timers

    def receivers(self) -> tuple[PeerId, ...]:
        """Who is told."""
        return tuple(self._receivers)

    def publish(self, manifest: Manifest, now: float) -> list[Said]:
        """Offer this from now on; return what is said at once. Its `seq` must be larger than that of the one before."""
        if self._published and manifest.seq <= self._published[0].seq:
            raise ValueError("seq must grow")
        self._published = (manifest, *self._published)[: self._kept]
        self._offer = Offer(manifest)
        said = []
        for receiver in self._receivers.values():
            receiver.attempts = 0
            if receiver.is_linked:
                receiver.want_counts = True
                said.append(self.say(receiver, now))
        return said

    def set_receivers(self, peers: Iterable[PeerId], linked: Set[PeerId], now: float, *, from_next: bool) -> list[Said]:
        """Replace the receivers. New ones get what is on offer, or (`from_next`) only what will be published."""
        old = self._receivers
        self._receivers = {}
        after_seq = self._published[0].seq if from_next and self._published else -1
        said = []
        for peer in peers:
            receiver = old.pop(peer, None)
            if receiver is None:
                receiver = Receiver(peer, after_seq, peer in linked)
                if receiver.is_linked:
                    said += self._begin(receiver, now)
            self._receivers[peer] = receiver
        for gone in old.values():
            gone.timer = None
        return said

    def link_up(self, peer: PeerId, now: float) -> list[Said]:
        """`peer` can be reached; whatever it saw over an earlier link, it is told again."""
        receiver = self._receivers.get(peer)
        if receiver is None:
            return []
        receiver.is_linked = True
        receiver.want_counts = False
        return self._begin(receiver, now)

    def link_down(self, peer: PeerId) -> None:
        """`peer` cannot be reached: it is told nothing."""
        receiver = self._receivers.get(peer)
        if receiver is not None:
            receiver.is_linked = False
            receiver.want_counts = False
            receiver.timer = None

    def _begin(self, receiver: Receiver, now: float) -> list[Said]:
        receiver.attempts = 0
        if self._published and self._published[0].seq > receiver.after_seq:
            return [self.say(receiver, now)]
        return []

    def say(self, receiver: Receiver, now: float) -> Said:
        """Return the offer for a receiver; it is due again after a pause, unless it is seen meanwhile."""
        assert self._offer is not None
        self._timers.set(receiver, now + self._retry.delay(receiver.attempts, self._rng))
        receiver.attempts += 1
        return receiver.peer, self._offer

    def seen(self, peer: PeerId, seq: int) -> None:
        """`peer` says that it has the offer with this `seq`."""
        receiver = self._receivers.get(peer)
        if receiver is not None and self._published and self._published[0].seq == seq:
            receiver.timer = None

    def wanted(self, peer: PeerId, sha256: bytes) -> Manifest | None:
        """Return the snapshot that `peer` asks for, if it is still given out; `peer` has its offer, that is."""
        published = self._published
        for manifest in published:
            if manifest.sha256 == sha256:
                if manifest is published[0]:
                    receiver = self._receivers.get(peer)
                    if receiver is not None and receiver.want_counts:
                        receiver.timer = None
                return manifest
        return None
