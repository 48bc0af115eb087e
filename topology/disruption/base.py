"""What a target is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from topology.graph import Graph, Node


class Target(Protocol):
    """A rule that says which peers a disaster hits.

    It chooses among candidates, by what they are on a graph that may hold others too: so that hubs can be looked for
    among peers that hold data, or among relays only, while degrees are those of the whole graph.
    """

    def choose(
        self,
        graph: Graph[Node],
        candidates: Sequence[Node],
        *,
        seed: int,
        positions: Mapping[Node, tuple[float, float]],
    ) -> tuple[Node, ...]:
        """Return who is hit, sorted: some of `candidates` (any order, repeats ignored), which are nodes of `graph`.

        A pure function of its arguments. `positions`: places on the map, of all candidates; only `area` reads them.
        """
