"""What a graph family is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from topology.graph import Graph, Node


class Family(Protocol):
    """A rule that turns a set of members into their neighbour graph.

    It is a pure function of the member *set* and the seed: peers that know the same members compute the same graph,
    in whatever order they heard of them. Where it can be had, one member more or less changes few edges, so that churn
    costs few links; `stable` says for which families it can.
    """

    stable: ClassVar[bool]
    """Whether a join or a leave changes, in the mean, at most a fixed multiple of the mean degree in edges (lost and
    gained together), however many members there are. Otherwise it changes a share of all edges."""

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the graph over `members` (any order, repeats ignored) under `seed`."""
