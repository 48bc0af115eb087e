"""The ring: every member has two neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from topology.families.positions import circle, ordered
from topology.graph import Graph, Node


class Ring:
    """Members on a circle in the order of hash(seed, name).

        E = {(π(k), π(k+1 mod n))},   π the members by hash(seed, name)

    Degree 2 (n >= 3), diameter ⌊n/2⌋, λ = 1/3 + 2/3·cos(2π/n) under Metropolis weights: cheap, and slow to agree.
    A join or a leave changes exactly 3 edges (n >= 4). Cost O(n log n).
    Source: positions by hash as in [Karger et al. 1997, Consistent Hashing and Random Trees].
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """A ring has no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the ring over `members`; one member stands alone, two share one edge."""
        order = ordered(members, seed, "ring")
        return Graph.from_edges(order, circle(order))
