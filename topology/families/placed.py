"""Places on the map, which is the unit square: for families that have them by nature, and for all others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from topology.families.positions import POSITION_BITS, position
from topology.graph import Node

Place = tuple[float, float]
"""(x, y), each in [0, 1)."""

_FLOAT_BITS = 53  # what a float holds exactly: more could round up to 1.0


@runtime_checkable
class Placed(Protocol):
    """A family whose members have places that belong to its graph: neighbours, by its own measure, are near."""

    def positions(self, members: Iterable[Node], seed: int) -> dict[Node, Place]:
        """Return the place of each of `members` under `seed`, in the graph that `build` returns for the same two."""


def scatter(members: Iterable[Node], seed: int) -> dict[Node, Place]:
    """Return a place for each of `members`, independent and uniform: for graphs that have no map of their own.

    A member's place depends on its own name and the seed only. Cost: two hashes per member.
    """
    return {
        name: (fraction(position(seed, "place", "x", name)), fraction(position(seed, "place", "y", name)))
        for name in sorted(set(members))
    }


def fraction(number: int) -> float:
    """Return a position, uniform in [0, 2**64), as a number in [0, 1)."""
    return (number >> (POSITION_BITS - _FLOAT_BITS)) / 2.0**_FLOAT_BITS
