"""Learning without models: each peer holds a few numbers, which it averages with others and never trains.

For experiments on exchanges at full speed, and to see whether they keep sums: no torch. Numbers are float64, and all is
done at once.
"""

# ruff: noqa: ARG002  the interface of learning

# N peers, D numbers

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netsim.virtual.learning import Version

Vector = npt.NDArray[np.float64]


class Numbers:
    """`PairLearning` and `PushLearning` of peers that hold `values` [N, D] and average in pairs, or by push-sum.

    `steps` is how many local steps a round is said to have: they take time and change nothing.
    """

    def __init__(self, values: Vector, *, steps: int = 10, exchange_bytes: int = 20_000) -> None:
        self.mass_ND1 = np.concatenate([values, np.ones((len(values), 1))], axis=1)  # (p x, p)
        self.space_hash = b"\0" * 32
        self.model_bytes = self.exchange_bytes = exchange_bytes
        self.holders: dict[Version, int] = {}
        self._copies: dict[Version, Vector] = {}
        self._steps = [steps] * len(values)
        self._count = 0
        self._start: Vector | None = None

    @property
    def values(self) -> Vector:
        """The numbers, [N, D]."""
        return np.asarray(self.mass_ND1[:, :-1] / self.mass_ND1[:, -1:])

    def num_steps(self, peer: int) -> int:
        """Return the number of local steps."""
        return self._steps[peer]

    def samples(self, peer: int) -> int:
        """Return as many samples as steps."""
        return self._steps[peer]

    def forget_data(self, peer: int) -> None:
        """Have the peer take no time for local steps."""
        self._steps[peer] = 0

    def wake(self, peer: int, at: float) -> None:
        """Nothing changes with time."""

    def hold(self, version: Version) -> None:
        """Count one more holder."""
        self.holders[version] += 1

    def release(self, version: Version) -> None:
        """Count one holder less."""
        self.holders[version] -= 1
        if not self.holders[version]:
            del self.holders[version], self._copies[version]

    def _copy(self, values: Vector) -> Version:
        self._count += 1
        self.holders[self._count] = 1
        self._copies[self._count] = values.copy()
        return self._count

    def steps(self, peer: int, round: int, at: float, start: Version | None = None) -> None:
        """Change nothing."""

    # In pairs -------------------------------------------------------------------------------------------------------

    def freeze(self, peer: int, round: int, at: float) -> Version:
        """Return a copy."""
        return self._copy(self.mass_ND1[peer])

    def meet(self, peer: int, round: int, at: float, own: Version, theirs: Version) -> None:
        """Go halfway from one copy to the other."""
        self.mass_ND1[peer] += self._halfway(own, theirs)

    def _halfway(self, own: Version, theirs: Version) -> Vector:
        return 0.5 * (self._copies[theirs] - self._copies[own])

    # By shares ------------------------------------------------------------------------------------------------------

    def give(self, peer: int, round: int, at: float, count: int) -> list[Version]:
        """Give `count` of `count` + 1 equal shares away."""
        share = self.mass_ND1[peer] / (count + 1)
        self.mass_ND1[peer] -= count * share
        return [self._copy(share) for _ in range(count)]

    def absorb(self, peer: int, round: int, at: float, shares: Sequence[Version]) -> None:
        """Add shares."""
        for share in shares:
            self.mass_ND1[peer] += self._copies[share]

    def refund(self, peer: int, round: int, at: float, share: Version) -> None:
        """Add a share that came back."""
        self.mass_ND1[peer] += self._copies[share]

    # Looking --------------------------------------------------------------------------------------------------------

    def imbalance(self, under_way: Sequence[Version] | Sequence[tuple[Version, Version]]) -> float:
        """Return how far the sums are off, as `PairLearning` and `PushLearning` have it."""
        total = self.mass_ND1.sum(axis=0)
        for one in under_way:
            total = total + (self._halfway(*one) if isinstance(one, tuple) else self._copies[one])
        if self._start is None:
            self._start = total
        return float(np.abs(total - self._start).max() / np.abs(self.mass_ND1).sum(axis=0).max())

    def accuracy(self, peers: Sequence[int]) -> Vector:
        """Return NaN: there is nothing to judge."""
        return np.full(len(peers), np.nan)

    def merged_accuracy(self, peers: Sequence[int]) -> float:
        """Return NaN: there is nothing to judge."""
        return math.nan

    def consensus(self, peers: Sequence[int]) -> float:
        """Return the mean squared distance from the mean."""
        x = self.values[list(peers)]
        return float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())

    def mean_loss(self, peers: Sequence[int]) -> float:
        """Return NaN: nothing is learned."""
        return math.nan

    def digest(self, peers: Sequence[int]) -> str:
        """Return a hash over the numbers."""
        return hashlib.sha256(self.values[list(peers)].tobytes()).hexdigest()
