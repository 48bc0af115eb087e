"""The complete graph: everybody talks to everybody."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import ClassVar

import msgspec

from topology.graph import Graph, Node


class Complete:
    """Everybody talks to everybody.

        E = {(i, j) : i ≠ j}

    n(n−1)/2 edges, λ = 0: one mixing step is the exact average. For small swarms; traffic grows with n².
    Source: the network that robust averaging is analysed on, [Farhadkhani et al. 2023, Robust Collaborative Learning
    with Linear Gradient Overhead].
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """A complete graph has no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:  # noqa: ARG002  the interface of families
        """Return the complete graph over `members`; the seed makes no difference."""
        nodes = sorted(set(members))
        return Graph.from_edges(nodes, combinations(nodes, 2))
