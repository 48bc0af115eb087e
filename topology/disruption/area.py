"""Everybody in a place is hit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from topology.errors import GraphError
from topology.graph import Graph, Node

_Place = Annotated[
    float, msgspec.Meta(ge=-1e9, le=1e9, description="Where the middle of the circle is, in the unit of positions.")
]


class Area:
    """All candidates within a circle on the map are hit: a flood, an earthquake, a power cut.

        T = {i : ‖p_i − (x, y)‖ < radius}

    Unlike random failures these take neighbours together where the graph follows the map. Cost O(n).
    Source: [Neumayer, Zussman, Cohen & Modiano 2011, Assessing the Vulnerability of the Fiber Infrastructure to
    Disasters].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Where, and how far."""

        x: _Place
        y: _Place
        radius: Annotated[
            float,
            msgspec.Meta(
                gt=0, le=1e9, description="Of the circle, in the unit of positions. Larger: more peers are hit."
            ),
        ]

    def __init__(self, config: Config) -> None:
        self.config = config

    def choose(
        self,
        graph: Graph[Node],  # noqa: ARG002  the interface
        candidates: Sequence[Node],
        *,
        seed: int,  # noqa: ARG002  the interface
        positions: Mapping[Node, tuple[float, float]],
    ) -> tuple[Node, ...]:
        """Return who is hit, sorted. Raises `GraphError` for a candidate without a position."""
        distinct = sorted(set(candidates))
        for node in distinct:
            if node not in positions:
                raise GraphError(f"{node!r} has no position, so nobody can say whether it is in the area")
        middle = (self.config.x, self.config.y)
        return tuple(node for node in distinct if math.dist(positions[node], middle) < self.config.radius)
