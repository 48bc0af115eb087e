"""Anybody is hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topology.disruption.amount import Amount
from topology.families.positions import ordered
from topology.graph import Graph, Node


class Random:
    """Candidates are hit at random, all alike: failures that have nothing to do with the graph.

        T = the first m candidates by hash(seed, name)

    Under one seed those hit at a smaller share are among those hit at a larger one. Scale-free graphs survive the loss
    of most peers in this way, unlike that of their hubs. Cost O(n log n).
    Source: [Albert, Jeong & Barabási 2000, Error and attack tolerance of complex networks].
    """

    class Config(Amount, frozen=True, forbid_unknown_fields=True):
        """How many."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def choose(
        self,
        graph: Graph[Node],  # noqa: ARG002  the interface
        candidates: Sequence[Node],
        *,
        seed: int,
        positions: Mapping[Node, tuple[float, float]],  # noqa: ARG002  the interface
    ) -> tuple[Node, ...]:
        """Return who is hit, sorted."""
        order = ordered(candidates, seed, "target")
        return tuple(sorted(order[: self.config.of(len(order))]))
