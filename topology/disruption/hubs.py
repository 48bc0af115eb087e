"""The best connected are hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topology.disruption.amount import Amount
from topology.graph import Graph, Node


class Hubs:
    """The candidates with the most neighbours are hit: an attack, or the power cut of a computing centre.

        T = the first m candidates by (−deg(i), name)

    Degrees are those of the graph as it is, in which those hit still count for each other. Fatal to scale-free graphs:
    what is left falls into many small components. Cost O(n log n).
    Source: [Albert, Jeong & Barabási 2000, Error and attack tolerance of complex networks]; in decentralized learning
    [Palmieri, Boldrini, Valerio, Passarella & Conti 2023, Exploring the Impact of Disrupted Peer-to-Peer Communications
    on Fully Decentralized Learning in Disaster Scenarios].
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
        seed: int,  # noqa: ARG002  the interface
        positions: Mapping[Node, tuple[float, float]],  # noqa: ARG002  the interface
    ) -> tuple[Node, ...]:
        """Return who is hit, sorted. Raises `GraphError` for a candidate that is not in the graph."""
        order = by_degree(graph, candidates)
        return tuple(sorted(order[: self.config.of(len(order))]))


def by_degree(graph: Graph[Node], nodes: Sequence[Node]) -> list[Node]:
    """Return the distinct `nodes`, those with the most neighbours in `graph` first, equal ones by name."""
    return sorted(sorted(set(nodes)), key=lambda node: -graph.degree(node))
