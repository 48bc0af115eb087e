"""Gossip learning: to one random neighbour at a time."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Annotated, ClassVar

import msgspec

from topology.digraph import Digraph
from topology.graph import Graph, Node
from topology.samplers.draws import generator


class RandomNeighbour:
    """Everybody pushes its model to a few random neighbours in the swarm's graph.

        S_i ~ Uniform{S ⊆ N(i) : |S| = min(count, deg(i))},   i → j  iff  j ∈ S_i

    Traffic does not grow with the degree. Row-stochastic mixing only: who is drawn by many hears of many, so the mean
    is kept in expectation over rounds, not in each; on irregular graphs well-connected peers count for more.
    Cost O(E log E).
    Source: [Ormándi, Hegedűs & Jelasity 2013, Gossip learning with linear models on fully distributed data].
    """

    changes: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """To how many."""

        count: Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=1024,
                description="Neighbours that each member pushes to. Larger: faster agreement, traffic in proportion;"
                " from the largest degree on it is the whole graph.",
            ),
        ] = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:
        """Return whom each member pushes to."""
        whole = Digraph.from_graph(graph, members)
        slots = whole.edges
        # The `count` least of independent keys are a uniform sample without replacement.
        keys = generator(seed, round, "random-neighbour").random_sample(len(slots)).tolist()
        receivers: dict[Node, list[Node]] = {node: [] for node in whole.nodes}
        for (node, other), _ in sorted(zip(slots, keys, strict=True), key=itemgetter(1)):
            if len(receivers[node]) < self.config.count:
                receivers[node].append(other)
        return Digraph.from_receivers(receivers)
