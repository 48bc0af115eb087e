"""The static exponential graph: neighbours at distances 1, 2, 4, 8 … on a circle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from topology.families.positions import ordered
from topology.graph import Graph, Node


class Exponential:
    """Members on a circle by hash(seed, name); neighbours are 1, 2, 4, … places apart, in both directions.

        E = {(π(i), π(i + 2ᵏ mod n)) : 0 ≤ k < ⌈log₂ n⌉},   π the members by hash(seed, name)

    The graph of the source with its edges taken in both directions. Regular, of degree 2⌈log₂ n⌉ at most: one less
    for n = 2ᵗ, where both ways to the opposite are one edge, and other distances that meet after going round count
    once. Diameter about half of log₂ n, λ = 1 − 2/t under Metropolis weights for n = 2ᵗ ≥ 8: near to the complete
    graph at the price of log n. **Not stable**: distances are counted, so that a join or a leave changes every edge
    that spans it: a share of all edges. Cost O(n log n), 0.7 s for n = 10⁴.
    Source: [Ying et al. 2021, Exponential Graph is Provably Efficient for Decentralized Deep Training].
    """

    stable: ClassVar[bool] = False

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """An exponential graph has no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the exponential graph over `members`."""
        order = ordered(members, seed, "exponential")
        n = len(order)
        hops = [1 << k for k in range((n - 1).bit_length())] if n else []
        return Graph.from_edges(order, ((name, order[(i + hop) % n]) for hop in hops for i, name in enumerate(order)))
