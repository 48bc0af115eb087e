"""Those on most shortest paths are hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topology.disruption.amount import Amount
from topology.families.positions import ordered
from topology.graph import Graph, Node

EXACT_UP_TO = 1000
"""Nodes. There the exact figure takes seconds; beyond, its cost grows with the square."""

NUM_PIVOTS = 64
"""Nodes from which paths are counted in larger graphs. No precedent: 6 s for 10,000 nodes and 20,000 edges."""


class Betweenness:
    """The candidates on most shortest paths are hit: bridges, whose loss splits the swarm though they may not be hubs.

        b(v) = Σ_{s≠v≠t} σ_st(v) / σ_st,   T = the first m candidates by (−b(v), name)

    σ_st: the number of shortest paths from s to t, σ_st(v) of those through v. Above 1,000 nodes s runs over 64 nodes
    only, drawn by hash of the seed: the most central ones are found, the order of the rest is rough (14 of the first 20
    are right on a Barabási–Albert graph of 1,500 nodes).
    Cost O(n·E), or O(64·E) above 1,000 nodes.
    Source: [Freeman 1977, A set of measures of centrality based on betweenness]; [Brandes & Pich 2007, Centrality
    estimation in large networks]; as an attack [Holme, Kim, Yoon & Han 2002, Attack vulnerability of complex networks].
    """

    class Config(Amount, frozen=True, forbid_unknown_fields=True):
        """How many."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def choose(
        self,
        graph: Graph[Node],
        candidates: Sequence[Node],
        *,
        seed: int,
        positions: Mapping[Node, tuple[float, float]],  # noqa: ARG002  the interface
    ) -> tuple[Node, ...]:
        """Return who is hit, sorted. Raises `GraphError` for a candidate that is not in the graph."""
        distinct = sorted(set(candidates))
        for node in distinct:
            graph.neighbours(node)
        centrality = _betweenness(graph, seed)
        order = sorted(distinct, key=lambda node: -centrality[node])
        return tuple(sorted(order[: self.config.of(len(order))]))


def _betweenness(graph: Graph[Node], seed: int) -> dict[Node, float]:
    """Return b(v), up to a factor; rounded, so that nodes that are alike are equal."""
    import networkx as nx

    copy = graph.to_networkx()
    if len(graph) <= EXACT_UP_TO:
        found = nx.betweenness_centrality(copy, normalized=False)
    else:
        # Not its own sampling (`k=`), which depends on the version of Python.
        pivots = ordered(graph.nodes, seed, "pivots")[:NUM_PIVOTS]
        found = nx.betweenness_centrality_subset(copy, pivots, graph.nodes)
    return {node: round(value, 6) for node, value in found.items()}
