"""The least connected are hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topology.disruption.amount import Amount
from topology.graph import Graph, Node


class Leaves:
    """The candidates with the fewest neighbours are hit: the edge of the network, which nobody else depends on.

        T = the first m candidates by (deg(i), name)

    What is lost is their data and little connectivity, which makes it the counterpart of `hubs`. Cost O(n log n).
    Source: [Palmieri, Boldrini, Valerio, Passarella & Conti 2023, Exploring the Impact of Disrupted Peer-to-Peer
    Communications on Fully Decentralized Learning in Disaster Scenarios] for hubs; their counterpart is ours.
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
        order = sorted(sorted(set(candidates)), key=graph.degree)
        return tuple(sorted(order[: self.config.of(len(order))]))
