"""The random geometric graph: whoever is within reach is a neighbour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, product
from typing import Annotated, ClassVar

import msgspec

from topology.families.placed import Place, scatter
from topology.graph import Graph, Node

_WHOLE_SQUARE = 1.5  # more than its diagonal: within reach of everybody


class Geometric:
    """Members at random places in the unit square are neighbours when they are nearer to each other than the radius.

        E = {(i, j) : ‖p_i − p_j‖ < radius},   p uniform in [0,1)²

    Mean degree (n−1)·(πr² − 8/3·r³ + r⁴/2) for r ≤ 1, borders counted; given a `degree`, the radius is the one that
    has it (more than 97 % of n−1 gives the complete graph). Radios in a place, with or without infrastructure.
    Connected with high probability only for πr² > ln(n)/n, that is degree > ln n: **below that some stand alone**, and
    nothing here prevents it. Clustering about 0.59; diameter about √2/r, and 1−λ of the order of r²: slow to agree.
    A pair's fate depends on no third member, so that a join or a leave changes the edges at that member only, the
    least possible; given a `degree` the radius follows n, and about degree/2 edges more come or go. Places belong to
    the graph: an area of the map is a neighbourhood. Cost O(n·degree), 0.5 s for degree 8 and n = 10⁴.
    Source: [Gilbert 1961, Random Plane Networks]; connectivity by [Penrose 1997, The longest edge of the random
    minimal spanning tree].
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of the geometric graph: exactly one of the two."""

        radius: Annotated[
            Annotated[float, msgspec.Meta(gt=0)] | None,
            msgspec.Meta(
                description="Reach; the side of the map is 1. Larger: more neighbours, faster agreement, more"
                " traffic. Give this or `degree`.",
            ),
        ] = None
        degree: Annotated[
            Annotated[float, msgspec.Meta(gt=0)] | None,
            msgspec.Meta(
                description="Mean number of neighbours; the radius follows the number of members. Give this"
                " or `radius`.",
            ),
        ] = None

        def __post_init__(self) -> None:
            if (self.radius is None) == (self.degree is None):
                raise ValueError("give exactly one of radius and degree")

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the graph over `members` at their places; it may be disconnected."""
        return self.build_at(self.positions(members, seed))

    def positions(self, members: Iterable[Node], seed: int) -> dict[Node, Place]:
        """Return the places of `members`: those of `placed.scatter`."""
        return scatter(members, seed)

    def build_at(self, positions: Mapping[Node, Place]) -> Graph[Node]:
        """Return the graph over members who are at these places, wherever on the plane: for members who move."""
        radius = self.radius(len(positions))
        return Graph.from_edges(positions, _pairs_within(positions, radius))

    def radius(self, n: int) -> float:
        """Return the radius for n members."""
        if self.config.degree is None:
            return self.config.radius or 0.0
        return radius_of(self.config.degree / max(1, n - 1))


def share_within(radius: float) -> float:
    """Return the probability that two random places in the unit square are nearer than `radius` <= 1."""
    return math.pi * radius**2 - 8 / 3 * radius**3 + radius**4 / 2


def radius_of(share: float) -> float:
    """Return the radius within which a `share` of all is expected; beyond the formula's range it is the whole square.

    Found by halving, in additions and products only: the same number on every machine.
    """
    if share > share_within(1.0):
        return _WHOLE_SQUARE
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if share_within(middle) >= share else (middle, high)
    return high


def _pairs_within(positions: Mapping[Node, Place], radius: float) -> Iterator[tuple[Node, Node]]:
    """Yield the pairs nearer than `radius`, each once, from those in the same or in adjoining fields of that width."""
    width = max(radius, 1e-4)  # a radius of nearly 0 would number its fields beyond what floats hold exactly
    fields: dict[tuple[int, int], list[tuple[float, float, Node]]] = {}
    for name, (x, y) in positions.items():
        fields.setdefault((math.floor(x / width), math.floor(y / width)), []).append((x, y, name))
    limit = radius * radius
    ahead = [(0, 1), (1, -1), (1, 0), (1, 1)]
    for (column, row), here in fields.items():
        near = list(combinations(here, 2))
        for right, up in ahead:
            near += product(here, fields.get((column + right, row + up), ()))
        for (x, y, a), (other_x, other_y, b) in near:
            if (x - other_x) * (x - other_x) + (y - other_y) * (y - other_y) < limit:
                yield a, b
