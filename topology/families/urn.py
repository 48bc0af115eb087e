"""Uniform draws among members of which a join or a leave changes few: the parts of which random attachment is made.

Theory of operation. "The k-th of n" is no name: when one joins, half of all draws would mean somebody else. And the
next member on a circle of hashes is a name, but not drawn uniformly: members get shares as uneven as their gaps. Here
every member covers a window of equal width, 1/n of the circle, from its own position on. A point is thrown; it lies
in one window in the mean, in more where members crowd. One of `CAPACITY` tickets decides which of them is drawn, or
none, and then the next point is thrown. A member is drawn when the point lies in its window and the ticket is its
own, which has the same probability for all. A join changes a draw only if its window covers a point on the way to
it, or a window's end, which moves by 1/n², passes one: of the order of 1/n of all draws.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic

from topology.families.positions import POSITION_BITS, position
from topology.graph import Node

CAPACITY = 8
"""Tickets, a power of two, and points per draw in the mean. More than 8 windows lie over a point, so that the last go
without, with probability 1e-6, that of a Poisson number of mean 1; which members that befalls depends on their hashes
only."""


class Urn(Generic[Node]):
    """The distinct `members` in the order of their positions under (seed, purpose), to be drawn from."""

    def __init__(self, members: Iterable[Node], seed: int, purpose: str) -> None:
        placed = sorted((position(seed, purpose, name), name) for name in set(members))
        self.order = [name for _, name in placed]
        self._places = [place for place, _ in placed]
        self._width = 2**POSITION_BITS // max(1, len(placed))

    def draw(self, numbers: Iterator[int]) -> int:
        """Return a place in the order, uniform over all n members (n >= 1)."""
        return self._draw(numbers, len(self.order), 2**POSITION_BITS)

    def draw_before(self, rank: int, numbers: Iterator[int]) -> int:
        """Return a place in the order, uniform over [0, rank); `rank` is in [1, n)."""
        return self._draw(numbers, rank, self._places[rank])

    def _draw(self, numbers: Iterator[int], rank: int, end: int) -> int:
        while True:
            number = next(numbers)
            point = (number // CAPACITY) * (end + self._width) // (2**POSITION_BITS // CAPACITY)
            found = bisect_right(self._places, point - self._width) + number % CAPACITY
            if found < rank and self._places[found] <= point:
                return found
