"""Learning without models: what is known of each snapshot is who it has heard of, directly or not, and how lately.

For experiments on who hears whom, and to try the protocol at full speed: no tensors, no torch. A model is the map of
peers to the newest round of theirs that is mixed in; mixing takes the newest of each. Maps are shared, never changed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netsim.virtual.learning import Heard, Version


class Ledger:
    """`Learning` of `num_peers` peers that learn nothing. `traces`: keep the maps; without, snapshots are numbers."""

    def __init__(self, num_peers: int, *, model_bytes: int = 20_000, steps: int = 10, traces: bool = False) -> None:
        self.model_bytes = model_bytes
        self.space_hash = b"\0" * 32
        self.holders: dict[Version, int] = {}
        self.num_mixes = 0
        self._steps = [steps] * num_peers
        self._newest: list[dict[int, int]] | None = [{} for _ in range(num_peers)] if traces else None
        self._published: dict[Version, dict[int, int]] = {}
        self._count = 0

    def num_steps(self, peer: int) -> int:
        """Return the number of local steps, the same for all that hold data."""
        return self._steps[peer]

    def samples(self, peer: int) -> int:
        """Return as many samples as steps."""
        return self._steps[peer]

    def train(self, peer: int, round: int) -> None:
        """Note that the peer's own data of `round` is in its model."""
        if self._newest is not None:
            self._newest[peer] = {**self._newest[peer], peer: round}

    def publish(self, peer: int, round: int) -> Version:
        """Return the next number."""
        self._count += 1
        self.holders[self._count] = 1
        if self._newest is not None:
            self._published[self._count] = self._newest[peer]
        return self._count

    def hold(self, version: Version) -> None:
        """Count one more holder."""
        self.holders[version] += 1

    def release(self, version: Version) -> None:
        """Count one holder less."""
        left = self.holders[version] - 1
        if left:
            self.holders[version] = left
        else:
            del self.holders[version]
            self._published.pop(version, None)

    def verdict(self, peer: int, version: Version) -> str:
        """Refuse nothing."""
        return ""

    def mix(self, peer: int, round: int, degree: int, heard: Sequence[Heard], *, last: bool, catching_up: bool) -> None:
        """Take over what the snapshots have heard of."""
        self.num_mixes += 1
        if self._newest is None:
            return
        self._newest[peer] = self._union([self._newest[peer], *(self._published[slot.version] for slot in heard)])

    def average(self, author: int, versions: Sequence[Version]) -> Version:
        """Return a snapshot that has heard of what any of these has."""
        if self._newest is not None:
            self._newest[author] = self._union([self._published[version] for version in versions])
        return self.publish(author, 0)

    def adopt(self, peer: int, version: Version) -> None:
        """Forget what the peer has heard of, for what the snapshot has."""
        if self._newest is not None:
            self._newest[peer] = self._published[version]

    @staticmethod
    def _union(maps: Sequence[dict[int, int]]) -> dict[int, int]:
        united: dict[int, int] = {}
        for one in maps:
            for author, newest in one.items():
                united[author] = max(newest, united.get(author, -1))
        return united

    def forget_data(self, peer: int) -> None:
        """Have the peer train no more."""
        self._steps[peer] = 0

    def accuracy(self, peers: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the share of all peers that each has heard of; NaN without traces."""
        if self._newest is None:
            return np.full(len(peers), np.nan)
        return np.array([len(self._newest[peer]) / len(self._newest) for peer in peers])

    def merged_accuracy(self, peers: Sequence[int]) -> float:
        """Return NaN: there is nothing to merge."""
        return math.nan

    def consensus(self, peers: Sequence[int]) -> float:
        """Return NaN: there is no distance."""
        return math.nan

    def mean_loss(self, peers: Sequence[int]) -> float:
        """Return NaN: nothing is learned."""
        return math.nan

    def digest(self, peers: Sequence[int]) -> str:
        """Return a hash over who has heard of whom."""
        newest = [] if self._newest is None else [sorted(self._newest[peer].items()) for peer in peers]
        return hashlib.sha256(repr(newest).encode()).hexdigest()
