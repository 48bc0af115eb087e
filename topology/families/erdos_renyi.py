"""The Erdős–Rényi graph G(n, p)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec

from topology.families.positions import POSITION_BITS, encoded, positions_after
from topology.graph import Graph, Node


class ErdosRenyi:
    """Each pair is an edge with probability p, whatever the others are.

        (a, b) ∈ E  iff  hash(seed, {a, b}) < p·2⁶⁴

    Mean degree p·(n−1). Connected with high probability only for p > ln(n)/n: **below that some members may stand
    alone**, and nothing here prevents it. A pair's fate depends on no third member: a join or leave changes only the
    edges at that member, p·(n−1) in the mean, the least possible. Cost: n(n−1)/2 hashes, 0.3 s for n = 10³ and
    half a minute for 10⁴.
    Source: [Gilbert 1959, Random Graphs].
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of G(n, p)."""

        p: Annotated[
            float,
            msgspec.Meta(ge=0, le=1, description="Probability of each edge. Larger: faster agreement, more traffic."),
        ]

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the graph over `members`; it may be disconnected."""
        nodes = sorted(set(members))
        limit = self.config.p * 2**POSITION_BITS
        names = [encoded(name) for name in nodes]
        edges: list[tuple[Node, Node]] = []
        for i, a in enumerate(nodes):
            found = positions_after((seed, "erdos_renyi", a), names[i + 1 :])
            edges += [(a, b) for b, place in zip(nodes[i + 1 :], found, strict=True) if place < limit]
        return Graph.from_edges(nodes, edges)
