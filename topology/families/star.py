"""The star: one hub, and everybody else at its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from topology.families.positions import ordered
from topology.graph import Graph, Node


class Star:
    """The first member in the order of hash(seed, name) is the hub, the neighbour of all others.

        E = {(π(0), π(k)) : k ≥ 1},   π the members by hash(seed, name)

    Degrees n−1 and 1, diameter 2, λ = 1 − 1/n under Metropolis weights: the hub gives all others the same small
    weight. All traffic passes the hub, and all is lost with it: the server of federated learning, as a worst case for
    decentralized learning. A join or a leave changes 1 edge, but when it is the hub's, once in n times, all of them: 3
    in the mean. Cost O(n log n).
    Source: the centralized network of [Lian et al. 2017, Can Decentralized Algorithms Outperform Centralized
    Algorithms?]; positions by hash as in [Karger et al. 1997, Consistent Hashing and Random Trees].
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """A star has no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the star over `members`; one member stands alone."""
        order = ordered(members, seed, "star")
        return Graph.from_edges(order, ((order[0], leaf) for leaf in order[1:]))
