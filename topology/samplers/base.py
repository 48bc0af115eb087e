"""What a sampler is.

A draw is a pure function of the member *set*, the seed, the round and, for some, the graph: peers that know the same
members compute the same exchange without a message. Peers whose views differ, by one member even, draw unlike
exchanges in that round, except along a `static` graph; what comes from a sender that was not expected, or fails to
come from one that was, is for the exchange to tolerate. Where views differ for long and a wrong draw is costly, the
order of `hash_order` agrees on all members that two views have in common.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from topology.digraph import Digraph
from topology.graph import Graph, Node


class Sampler(Protocol):
    """A rule that says who gives its model to whom in a round."""

    changes: ClassVar[bool]
    """Whether another round gives another draw."""

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:
        """Return the exchange of `round` (0, 1, …) over `members` (any order, repeats ignored).

        `graph` is the swarm's static graph. Those who draw along it leave out edges to nodes that are no members;
        members that it does not have exchange with nobody.
        """
