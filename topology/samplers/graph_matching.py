"""Random pairs of neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from topology.digraph import Digraph
from topology.graph import Graph, Node
from topology.samplers.draws import generator


class GraphMatching:
    """Neighbours are paired at random: each edge in a random order is taken if both of its ends are still free.

        for {i, j} in a random order of E:  i ↔ j  if neither has a partner yet

    Maximal: no two neighbours idle. At least half as many pairs as could be at best, in the mean more. Unlike
    `matching` it needs no connections but those of the graph; all peers need to know the graph, which they do when it
    follows from members and seed. Cost O(n + E log E).
    Source: [Dyer & Frieze 1991, Randomized greedy matching]; one matching of the graph per round as in [Wang et al.
    2019, MATCHA: Speeding Up Decentralized SGD via Matching Decomposition Sampling].
    """

    changes: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """A matching has no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:
        """Return the pairs of the round."""
        whole = Digraph.from_graph(graph, members)
        edges = [(a, b) for a, b in whole.edges if a < b]  # type: ignore[operator]  # nodes of a graph are of one kind
        partner: dict[Node, Node] = {}
        for number in generator(seed, round, "graph-matching").permutation(len(edges)).tolist():
            a, b = edges[number]
            if a not in partner and b not in partner:
                partner[a], partner[b] = b, a
        return Digraph.from_receivers({node: [partner[node]] if node in partner else [] for node in whole.nodes})
