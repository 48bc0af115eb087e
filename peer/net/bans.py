"""Who is not wanted for a while: a bounded table of peers and times."""

from __future__ import annotations

from collections import OrderedDict

from peer.core.messages import PeerId

MAX_ENTRIES = 1024  # the oldest entry goes first; a stranger who makes new keys is limited elsewhere


class Bans:
    """Peers and until when."""

    def __init__(self) -> None:
        self._until: OrderedDict[PeerId, float] = OrderedDict()

    def add(self, peer: PeerId, until: float) -> None:
        """Ban `peer` until that time, or until the end of an earlier, longer ban."""
        self._until[peer] = max(until, self._until.pop(peer, until))
        if len(self._until) > MAX_ENTRIES:
            self._until.popitem(last=False)

    def until(self, peer: PeerId, now: float) -> float | None:
        """Return the end of the ban, None when there is none."""
        until = self._until.get(peer)
        if until is not None and until <= now:
            del self._until[peer]
            return None
        return until
