"""MoDeST's view: who takes part and how lately each was active, replicated without agreement. No I/O.

A view maps peer -> (last_round, (idx, status)). Two views merge peer by peer and field by field:

    last_round ← max        (idx, status) ← max, where LEAVE > JOIN        an unknown peer is copied

Both are maxima of total orders, so a view is a join-semilattice: merging is commutative, associative and idempotent,
and replicas that have heard the same things agree, in whatever order they heard them. (The paper's authors keep the
local status when the indices are equal; then two replicas can disagree for ever.)

The active set of round k is P_k = { p : (status = JOIN or p is me) and (last_round ≥ k − Δk or p is me) }; its
`hash_order` is what samples and aggregators are taken from.

*Me.* Only I raise my index. When others hold something newer of me than I do (I lost my state, somebody lied, or an
aggregator's leave was noted and then not done), my index goes above it, as in SWIM's refutation.

*What to send.* A whole view with every model would cost O(n) per message. Each change has a version; per peer the
version up to which it was told is remembered, and `delta_for` gives what changed since, oldest first, at most
`limit` entries, leaving out what that peer told us. A lost delta costs freshness only, never consistency:
`forget_told` starts over, and whoever lacks much asks for the whole view.

*Bound.* At `max_members` a newcomer takes the place of an entry that no sample would use, one that left or has been
inactive for more than Δk rounds; of those the ones that have not changed for longest are looked at. If there is
none, or the newcomer is such an entry itself, it is refused.

Invariants (tests/core/modest/test_view.py): the semilattice laws; at most `max_members` entries, own one included;
my own entry is changed by nobody but me.

Source: [de Vos et al. 2023, arXiv 2302.13837, §3.2]; the order of statuses, deltas and refutation are ours.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from peer.core.messages import PeerId
from peer.core.modest_messages import MAX_ENTRIES, NO_ACTIVITY, Status, ViewEntry
from topology.samplers.hash_order import hash_order

_MAX_IDX = 2**53
_LOOKED_AT = 8  # entries, oldest change first, when room is needed: a flood of names costs O(1) each


def utf8(peer: PeerId) -> bytes:
    """Return the bytes of a peer's name."""
    return peer.encode()


def anybody(_peer: PeerId) -> bool:
    """Admit every name."""
    return True


@dataclass(slots=True)
class _Known:
    entry: ViewEntry
    version: int  # of the view when the entry last changed
    source: PeerId | None  # who told, and so need not be told


class ModestView:
    """The replicated view of one peer; see the module's theory.

    `activity_window` is Δk in rounds. `id_bytes` gives the bytes of a peer that the order hashes; it must not map two
    peers to one. `admits` says whether a name may enter at all (a member by signed record, say).
    """

    def __init__(
        self,
        own_id: PeerId,
        *,
        activity_window: int,
        max_members: int,
        first_idx: int = 0,
        id_bytes: Callable[[PeerId], bytes] = utf8,
        admits: Callable[[PeerId], bool] = anybody,
    ) -> None:
        self.own_id = own_id
        self.num_refused = 0
        self.highest_round = NO_ACTIVITY  # of any peer's activity
        self._activity_window = activity_window
        self._max_members = max_members
        self._id_bytes = id_bytes
        self._admits = admits
        self._version = 1
        # In order of change, the latest last: what changed since some version is a tail of it.
        self._known: dict[PeerId, _Known] = {own_id: _Known(ViewEntry(own_id, idx=first_idx), 1, None)}
        self._told: dict[PeerId, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._known

    @property
    def own(self) -> ViewEntry:
        """The entry of this peer."""
        return self._known[self.own_id].entry

    def get(self, peer: PeerId) -> ViewEntry | None:
        """Return what is known of a peer."""
        known = self._known.get(peer)
        return known.entry if known else None

    def entries(self) -> tuple[ViewEntry, ...]:
        """Return the whole view, sorted by peer."""
        return tuple(known.entry for _, known in sorted(self._known.items()))

    # Changes -----------------------------------------------------------------------------------------------------

    def merge(self, entries: Iterable[ViewEntry], source: PeerId | None = None) -> None:
        """Take in (a part of) another view, told by `source`."""
        for entry in entries:
            self._join(entry, source)

    def touch(self, peer: PeerId, round: int) -> None:
        """Note that `peer` was active in `round`. A peer unknown so far enters as joined."""
        known = self._known.get(peer)
        if known is None or known.entry.last_round < round:
            entry = known.entry if known else ViewEntry(peer)
            self._join(msgspec.structs.replace(entry, last_round=round), None)

    def note_membership(self, peer: PeerId, round: int, idx: int, status: Status) -> None:
        """Note what `peer` says of its own joining and leaving, and that it was active in `round`."""
        self._join(ViewEntry(peer, round, idx, status), None)

    def change_own(self, status: Status) -> None:
        """Join or leave: the own index grows."""
        self._put(msgspec.structs.replace(self.own, idx=min(self.own.idx + 1, _MAX_IDX), status=status), None)

    def _join(self, entry: ViewEntry, source: PeerId | None) -> None:
        old = self.get(entry.peer)
        if old is None:
            if self._admits(entry.peer) and self._has_room_for(entry):
                self._put(entry, source)
            else:
                self.num_refused += 1
            return
        told = (entry.idx, entry.status)
        if entry.last_round <= old.last_round and told <= (old.idx, old.status):
            return  # most of what is told is known
        if entry.peer == self.own_id and told > (old.idx, old.status) and old.status is Status.JOIN:
            told = (min(entry.idx + 1, _MAX_IDX), Status.JOIN)
            source = None  # the teller does not have what we make of it
        idx, status = max(told, (old.idx, old.status))
        joined = ViewEntry(entry.peer, max(old.last_round, entry.last_round), idx, status)
        self._put(joined, source if joined == entry else None)

    def _has_room_for(self, newcomer: ViewEntry) -> bool:
        if len(self._known) < self._max_members:
            return True
        oldest = (known.entry for known in itertools.islice(self._known.values(), _LOOKED_AT))
        unused = next((entry.peer for entry in oldest if entry.peer != self.own_id and self._is_unused(entry)), None)
        if unused is None or self._is_unused(newcomer):
            return False
        del self._known[unused]
        self._told.pop(unused, None)
        return True

    def _is_unused(self, entry: ViewEntry) -> bool:
        return entry.status is Status.LEAVE or entry.last_round < self.highest_round - self._activity_window

    def _put(self, entry: ViewEntry, source: PeerId | None) -> None:
        self._version += 1
        self._known.pop(entry.peer, None)
        self._known[entry.peer] = _Known(entry, self._version, source)
        self.highest_round = max(self.highest_round, entry.last_round)

    # Samples -----------------------------------------------------------------------------------------------------

    def active(self, round: int | None) -> list[PeerId]:
        """Return P_k, sorted by name; round 0 or None means whatever the activity."""
        return sorted(self._active(round))

    def num_active(self, round: int | None, without: Container[PeerId] = ()) -> int:
        """Return the size of P_k, not counting some."""
        return sum(peer not in without for peer in self._active(round))

    def ordered(self, round: int) -> list[PeerId]:
        """Return P_k in the hash order of the round. O(n log n)."""
        names = {self._id_bytes(peer): peer for peer in self._active(round)}
        return [names[peer_id] for peer_id in hash_order(names, round)]

    def _active(self, round: int | None) -> Iterator[PeerId]:
        since = round - self._activity_window if round else NO_ACTIVITY
        for peer, known in self._known.items():
            entry = known.entry
            if peer == self.own_id or (entry.status is Status.JOIN and entry.last_round >= since):
                yield peer

    # Spreading ---------------------------------------------------------------------------------------------------

    def delta_for(self, peer: PeerId, limit: int = MAX_ENTRIES) -> tuple[ViewEntry, ...]:
        """Return what `peer` lacks, as far as is known, and count it as told: at most `limit` (>= 1)."""
        told = self._told.get(peer, 0)
        news = []
        for known in reversed(self._known.values()):
            if known.version <= told:
                break
            if known.source != peer:
                news.append(known)
        sent = news[::-1][:limit]
        if peer in self._known:
            self._told[peer] = sent[-1].version if len(sent) < len(news) else self._version
        return tuple(known.entry for known in sent)

    def forget_told(self, peer: PeerId) -> None:
        """What was sent to `peer` did not arrive, or it lost its state: begin anew with the next delta."""
        self._told.pop(peer, None)

    def digest(self) -> bytes:
        """Return a hash of the whole view, 16 bytes: equal views have equal digests. O(n)."""
        return hashlib.blake2b(msgspec.msgpack.encode(self.entries()), digest_size=16).digest()
