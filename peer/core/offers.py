"""The own snapshots on offer: the newest one is said to every neighbour until the neighbour has seen it.

Loss is met by saying it again with growing pauses; a newer snapshot takes the place of an older one wherever that has
not been seen. The newest `KEPT` can be asked for: a neighbour may still want the last one when the next is out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from peer.core.backoff import Backoff, Uniform
from peer.core.messages import Manifest, Offer, PeerId

KEPT = 2


@dataclass
class _Outgoing:
    """The newest own snapshot on its way to one neighbour."""

    seq: int
    attempts: int = 0
    due_at: float | None = None  # None: seen, nothing more to do


class Offers:
    """What is offered, and how far each neighbour is with it. Times are seconds of the caller's clock."""

    def __init__(self, retry: Backoff, rng: Uniform) -> None:
        self._retry = retry
        self._rng = rng
        self._published: deque[Manifest] = deque(maxlen=KEPT)
        self._outgoing: dict[PeerId, _Outgoing] = {}

    @property
    def newest(self) -> Manifest | None:
        """The snapshot that is offered now."""
        return self._published[-1] if self._published else None

    def find(self, sha256: bytes) -> Manifest | None:
        """Return the snapshot with this hash, if it is still given out."""
        return next((manifest for manifest in self._published if manifest.sha256 == sha256), None)

    def publish(self, manifest: Manifest) -> None:
        """Offer this from now on; `begin` says to whom. Its `seq` must be larger than that of the one before."""
        if self.newest is not None and manifest.seq <= self.newest.seq:
            raise ValueError("seq must grow")
        self._published.append(manifest)

    def begin(self, peer: PeerId, now: float) -> None:
        """Offer the newest snapshot to `peer`, unless that is under way or done."""
        outgoing = self._outgoing.get(peer)
        if self.newest is not None and (outgoing is None or outgoing.seq != self.newest.seq):
            self._outgoing[peer] = _Outgoing(seq=self.newest.seq, due_at=now)

    def forget(self, peer: PeerId) -> None:
        """Offer nothing to `peer` until the next `begin`, which then starts anew."""
        self._outgoing.pop(peer, None)

    def seen(self, peer: PeerId, seq: int) -> None:
        """`peer` says that it has the offer with this `seq`."""
        outgoing = self._outgoing.get(peer)
        if outgoing is not None and outgoing.seq == seq:
            outgoing.due_at = None

    def due(self, now: float) -> list[tuple[PeerId, Offer]]:
        """Return the offers to be said now; each is due again after a pause."""
        offers = []
        for peer, outgoing in self._outgoing.items():
            if outgoing.due_at is not None and outgoing.due_at <= now:
                assert self.newest is not None
                outgoing.due_at = now + self._retry.delay(outgoing.attempts, self._rng)
                outgoing.attempts += 1
                offers.append((peer, Offer(self.newest)))
        return offers

    def next_due(self) -> float | None:
        """When `due` has something to return, if nothing else happens."""
        return min((out.due_at for out in self._outgoing.values() if out.due_at is not None), default=None)
