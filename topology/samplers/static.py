"""The same neighbours in every round."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from topology.digraph import Digraph
from topology.graph import Graph, Node


class Static:
    """Everybody exchanges with all neighbours in the swarm's graph, in every round.

        i → j  iff  {i, j} ∈ E

    Mutual, and needs connections to deg(i) peers only, which stay open. How fast a swarm agrees is up to the graph: by
    its λ₂ under Metropolis weights. Cost O(n + E).
    Source: [Lian et al. 2017, Can Decentralized Algorithms Outperform Centralized Algorithms?, Alg. 1].
    """

    changes: ClassVar[bool] = False

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """The graph has all the parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:  # noqa: ARG002  the interface
        """Return the graph among `members`."""
        return Digraph.from_graph(graph, members)
