"""Models of peers that meet in pairs: copies are frozen, and what comes of them is added later.

    freeze   the whole state of a peer, as of now
    meet     F ← copy of one's own;   F' ← mix(F, what the partner sends from its copy);   state ← state + (F' − F)
    steps    F ← copy of when they began;   F' ← local steps on F;   state ← state + (F' − F)

So meeting and training may overlap, and an exchange may be applied at its two ends at different times: see
`peer/core/pairing.py`.
"""

# B nodes of a batch, W width of a channel

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aggregation.hood import Ctx, Dense, Inbox, Meta
from aggregation.store import Store
from netsim.virtual.learning import Version
from netsim.virtual.plan_events import PlannedEvents, Work


class PlannedPairs(PlannedEvents):
    """`PairLearning` of all peers of a world, in batches."""

    def freeze(self, peer: int, round: int, at: float) -> Version:
        """Return a copy of the peer's state, held once by the caller."""
        (version,) = self._plan("freeze", peer, round, at, num_written=1)
        return version

    def steps(self, peer: int, round: int, at: float, start: Version | None = None) -> None:
        """Add what the local steps of `round` do to the copy `start`; without one, do them now."""
        self._plan("steps", peer, round, at, reads=() if start is None else (start,))

    def meet(self, peer: int, round: int, at: float, own: Version, theirs: Version) -> None:
        """Add what an exchange of these two copies does to the first."""
        self._plan("meet", peer, round, at, reads=(own, theirs))

    def imbalance(self, pending: Sequence[tuple[Version, Version]]) -> float:
        """Return how far what is conserved is off; `pending`: (own, theirs) of ends that will yet add theirs."""
        if self._conserved is None:
            return 0.0
        self.compute()
        under_way = None
        if pending:
            rows = [(self._of_version[own].row, self._of_version[theirs].row) for own, theirs in pending]
            ctx = self._ctx([0] * len(rows), [0] * len(rows), [0.0] * len(rows))
            before, after = self._exchanged([own for own, _ in rows], [theirs for _, theirs in rows], ctx)
            under_way = (self._conserved(after) - self._conserved(before)).sum(dim=0)
        return self._imbalance(under_way)

    def _do(self, kind: str, work: Sequence[Work], sub: Store, ctx: Ctx) -> None:
        if kind == "freeze":
            self._copies.put(torch.tensor([one.writes[0] for one in work]), sub)
        elif kind == "meet":
            before, after = self._exchanged([one.reads[0] for one in work], [one.reads[1] for one in work], ctx)
            _add(sub, before, after)
        elif not work[0].reads:
            self._train(work, sub, ctx)
        else:
            before = self._copies.get(torch.tensor([one.reads[0] for one in work]))
            after = Store({name: tensor.clone() for name, tensor in before.items()})
            self._train(work, after, ctx)
            _add(sub, before, after)

    def _exchanged(self, own: Sequence[int], theirs: Sequence[int], ctx: Ctx) -> tuple[Store, Store]:
        """Return copies of the rows `own` before and after they mix what the rows `theirs` send."""
        before = self._copies.get(torch.tensor(own))
        after = Store({name: tensor.clone() for name, tensor in before.items()})
        one = torch.ones(len(own), dtype=torch.int64)
        sent = self._method.outbox(self._copies.get(torch.tensor(theirs)), ctx, one)
        meta = Meta.of(torch.ones(len(own), 1, dtype=torch.bool))
        self._method.mix(after, Inbox(meta, {name: Dense(v_BW[:, None]) for name, v_BW in sent.items()}), ctx)
        return before, after


def _add(state: Store, before: Store, after: Store) -> None:
    """Add to `state` what changed. Entries that are not there yet are zero; those that are no numbers are replaced."""
    for name, now in after.items():
        old = before.get(name)
        change: Tensor = now if old is None or now.dtype == torch.bool else now - old
        state[name] = change if name not in state or now.dtype == torch.bool else state[name] + change
