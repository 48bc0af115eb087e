"""Random pairs out of all members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from topology.digraph import Digraph
from topology.graph import Graph, Node
from topology.samplers.draws import generator


class Matching:
    """All members are paired at random by a permutation that everybody computes from the shared seed.

        π ~ Uniform(permutations of V by (seed, round)),   π(2k) ↔ π(2k+1)

    All perfect matchings are equally likely; with odd n one member, another each time, idles. One model per member and
    round, the mean is kept in each, and E‖x − x̄‖² shrinks to (n−2)/(2n−2), nearly one half, of what it was (n even).
    Pairs need no negotiation; where views differ, a partner that expects somebody else must refuse, and both idle.
    Cost O(n log n).
    Source: [Kolehmainen et al. 2025, NoLoCo: No-all-reduce Low Communication Training Method for Large Models];
    pairwise averaging as in [Boyd, Ghosh, Prabhakar & Shah 2006, Randomized gossip algorithms].
    """

    changes: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """A matching has no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:  # noqa: ARG002  the interface
        """Return the pairs of the round."""
        nodes = sorted(set(members))
        order = [nodes[place] for place in generator(seed, round, "matching").permutation(len(nodes)).tolist()]
        return Digraph.from_graph(Graph.from_edges(nodes, zip(order[::2], order[1::2], strict=False)))
