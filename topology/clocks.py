"""Poisson clocks: when a peer, or a pair, does something at random times of a given rate.

Waiting times are independent and exponential, T_k = Σ_{i≤k} −ln(u_i) / rate, and each u_i is a hash of the seed, the
owner, the purpose and i. So all peers, and the two ends of an edge, agree on all times without a message, and a
simulation gets the same ones in whatever order it asks.

What makes these clocks easy to reason about is that they add up and split. Clocks of rates r_1 … r_m merged are one
Poisson clock of rate Σ r, which belongs to i next with probability r_i / Σ r; one whose events are kept with
probability p each is one of rate p·r, independent of what was dropped.

Times are float64 in the unit of 1/rate. They go through `math.log`, whose last bit may differ between C libraries.
Source: [Kingman 1993, Poisson Processes]; clocks of edges as in [Boyd, Ghosh, Prabhakar & Shah 2006, Randomized gossip
algorithms].
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple

from topology.families.positions import POSITION_BITS, position
from topology.graph import Node

_STEP = 2.0**-POSITION_BITS


class Clock(ABC, Generic[Node]):
    """A sequence of times, computed as far as they are asked for and kept from then on (8 bytes each)."""

    def __init__(self, rate: float, owner: tuple[Node, ...]) -> None:
        self.rate = rate
        self.owner = owner
        """One node, or the two ends of an edge, sorted."""
        self._times = array("d")

    def event(self, k: int) -> float:
        """Return the time of event number k, the first being number 0. Amortised O(1) for the next one, else O(k)."""
        if k < 0:
            raise ValueError(f"events are numbered from 0, got {k}")
        while len(self._times) <= k:
            self._times.append(self._next_time())
        return self._times[k]

    def count(self, until: float) -> int:
        """Return how many events there are at `until` or before: also the number of the first one after it."""
        if not until < math.inf:
            raise ValueError(f"events are counted up to a finite time, got {until}")
        while not self._times or self._times[-1] <= until:
            self._times.append(self._next_time())
        return bisect_right(self._times, until)

    def after(self, now: float) -> float:
        """Return the time of the first event after `now`."""
        return self.event(self.count(now))

    def thinned(self, probability: float, purpose: str = "thinned") -> Clock[Node]:
        """Return the clock that keeps each event with `probability` in (0, 1], on its own: of rate probability·rate.

        Under another purpose it keeps others. Its times are times of this clock.
        """
        return _Thinned(self, probability, purpose)

    @abstractmethod
    def _next_time(self) -> float:
        """Return the time of event number `len(self._times)`."""

    @abstractmethod
    def _chance(self, k: int, purpose: str) -> float:
        """Return a number in (0, 1] that event k has to itself."""


class PoissonClock(Clock[Node]):
    """The clock of `owner`, a node or an edge (in either direction), for one purpose.

    `rate` > 0: events per unit of time. Clocks that differ in seed, owner or purpose are independent; those that differ
    in rate only are the same one, run faster or slower. Raises `ValueError` for a rate that is not positive and finite.
    """

    def __init__(self, rate: float, seed: int, owner: Node | tuple[Node, Node], purpose: str) -> None:
        if not 0 < rate < math.inf:
            raise ValueError(f"a clock needs a positive, finite rate, got {rate}")
        super().__init__(rate, tuple(sorted(owner)) if isinstance(owner, tuple) else (owner,))
        self.seed = seed
        self.purpose = purpose

    def scaled(self, factor: float) -> PoissonClock[Node]:
        """Return this clock at rate factor·rate: the same events, all at 1/factor of their time (up to rounding)."""
        owner = self.owner[0] if len(self.owner) == 1 else (self.owner[0], self.owner[1])
        return PoissonClock(self.rate * factor, self.seed, owner, self.purpose)

    def _next_time(self) -> float:
        k = len(self._times)
        gap = -math.log(self._chance(k, "gap")) / self.rate
        return (self._times[-1] if k else 0.0) + gap

    def _chance(self, k: int, purpose: str) -> float:
        return (position("clock", self.seed, self.purpose, purpose, k, *self.owner) + 1) * _STEP


class _Thinned(Clock[Node]):
    """See `Clock.thinned`."""

    def __init__(self, source: Clock[Node], probability: float, purpose: str) -> None:
        if not 0 < probability <= 1:
            raise ValueError(f"events are kept with a probability above 0 and up to 1, got {probability}")
        super().__init__(source.rate * probability, source.owner)
        self._source = source
        self._probability = probability
        self._purpose = f"thinned {purpose}"
        self._num_seen = 0
        self._numbers: list[int] = []

    def _next_time(self) -> float:
        while True:
            k = self._num_seen
            self._num_seen += 1
            if self._source._chance(k, self._purpose) <= self._probability:
                self._numbers.append(k)
                return self._source.event(k)

    def _chance(self, k: int, purpose: str) -> float:
        self.event(k)
        return self._source._chance(self._numbers[k], f"{self._purpose} {purpose}")


class Tick(NamedTuple, Generic[Node]):
    """One event of one clock."""

    time: float
    number: int
    clock: Clock[Node]


def merged(clocks: Iterable[Clock[Node]], after: float = -math.inf) -> Iterator[Tick[Node]]:
    """Yield the events of all clocks later than `after`, in the order of time, without end.

    Events at the same time come by owner (nodes before edges, by name), so the order does not depend on that of
    `clocks`; clocks of one owner keep theirs. O(log m) per event for m clocks; yields nothing for none.
    """
    ranked = sorted(clocks, key=lambda clock: (len(clock.owner), clock.owner))
    numbers = [clock.count(after) if after >= 0 else 0 for clock in ranked]
    heap = [
        (clock.event(number), rank, number) for rank, (clock, number) in enumerate(zip(ranked, numbers, strict=True))
    ]
    heapq.heapify(heap)
    while heap:
        time, rank, number = heap[0]
        yield Tick(time, number, ranked[rank])
        heapq.heapreplace(heap, (ranked[rank].event(number + 1), rank, number + 1))
