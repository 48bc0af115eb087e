"""The trained models that an aggregator gathers, by round and sender. No I/O.

    gathering ──enough, or T_agg over and not too few──▶ averaging ──the mean is there──▶ gone
        └──T_agg over and too few, or overtaken──▶ gone

Bounds: `MAX_POOLS` rounds, of which the lowest gives way; one model per sender and round. A round that was averaged
is never gathered again, nor any before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from peer.core.messages import PeerId
from peer.core.modest_messages import ModelRef

MAX_POOLS = 4


@dataclass
class _Pool:
    deadline: float | None  # None without T_agg, and while the mean is computed
    refs: dict[PeerId, ModelRef] = field(default_factory=dict)
    is_averaging: bool = False


class Pools:
    """Models by round. `patience_s` is T_agg in seconds, 0 to wait for ever."""

    def __init__(self, patience_s: float) -> None:
        self.completed = 0  # highest round that was averaged here
        self._patience_s = patience_s
        self._pools: dict[int, _Pool] = {}

    def rounds(self) -> list[int]:
        """Rounds that are being gathered or averaged, ascending."""
        return sorted(self._pools)

    def put(self, round: int, sender: PeerId, ref: ModelRef, now: float) -> bool:
        """Store the sender's model of this round; False when there is one already or the round takes none."""
        if round <= self.completed:
            return False
        pool = self._pools.get(round) or self._open(round, now)
        if pool is None or sender in pool.refs:
            return False
        pool.refs[sender] = ref
        return True

    def senders(self, round: int) -> list[PeerId]:
        """Whose models of this round are here, sorted."""
        return sorted(self._pools[round].refs) if round in self._pools else []

    def average(self, round: int) -> tuple[ModelRef, ...]:
        """Close the round and drop all before it; return its models, sorted by sender."""
        pool = self._pools[round]
        pool.is_averaging, pool.deadline = True, None
        self.completed = round
        self.drop_below(round)
        return tuple(ref for _, ref in sorted(pool.refs.items()))

    def averaged(self, round: int) -> list[PeerId] | None:
        """The mean is there: forget the round and return whose models are in it; None when it was overtaken."""
        pool = self._pools.get(round)
        if pool is None or not pool.is_averaging:
            return None
        return sorted(self._pools.pop(round).refs)

    def late(self, now: float) -> list[int]:
        """Rounds whose T_agg is over, the latest first: closing it drops those before."""
        return [round for round in reversed(self.rounds()) if self._is_late(self._pools[round], now)]

    def drop(self, round: int) -> None:
        """Forget the models of one round."""
        self._pools.pop(round, None)

    def drop_below(self, round: int) -> None:
        """Forget the models of all earlier rounds."""
        for lower in [gathered for gathered in self._pools if gathered < round]:
            del self._pools[lower]

    def clear(self) -> None:
        """Forget all models."""
        self._pools.clear()

    def next_deadline(self) -> float | None:
        """When the next T_agg is over."""
        return min((pool.deadline for pool in self._pools.values() if pool.deadline is not None), default=None)

    def refs(self) -> set[ModelRef]:
        """All models here."""
        return {ref for pool in self._pools.values() for ref in pool.refs.values()}

    def _open(self, round: int, now: float) -> _Pool | None:
        if len(self._pools) >= MAX_POOLS:
            lowest = min(self._pools)
            if lowest > round:
                return None
            del self._pools[lowest]
        pool = self._pools[round] = _Pool(deadline=now + self._patience_s if self._patience_s else None)
        return pool

    @staticmethod
    def _is_late(pool: _Pool, now: float) -> bool:
        return pool.deadline is not None and pool.deadline <= now
