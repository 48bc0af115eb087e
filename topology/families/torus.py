"""The torus and the grid: four neighbours each, in rows and columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import msgspec

from topology.families.placed import Place
from topology.families.positions import circle, ordered
from topology.graph import Graph, Node


class Torus:
    """Rows of members, filled in the order of hash(seed, name); rows and columns are rings, or paths without wrap.

        E = ⋃ ring(row) ∪ ⋃ ring(column)

    n = r·c with r ≤ c ≤ 2r, as near to a square as n divides, is the torus r × c: degree 4 (n ≥ 9), diameter
    ⌊r/2⌋ + ⌊c/2⌋, λ = 1 − 2/5·(1 − cos(2π/c)) under Metropolis weights. Any other n, a prime one for example, has no
    such shape: then c = ⌈√n⌉ and the last row is short. It is a shorter ring, and so are the columns that do not
    reach it, so that still all degrees are 4 (n ≥ 12), but for a last row of one (2) or of two (3), and the diameter
    is that of r × c. A grid (no wrap) has degree 4 inside, 3 at the sides, 2 in the corners, and diameter r + c − 2.
    Both are connected for every n. **Not stable**: a join or a leave moves all who come later in the order, and
    changes a share of all edges. Cost O(n log n), 0.1 s for n = 10⁴.
    Source: tori and grids among the networks of [Nedić, Olshevsky & Rabbat 2018, Network Topology and
    Communication-Computation Tradeoffs in Decentralized Optimization]; the short last row is ours.
    """

    stable: ClassVar[bool] = False

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of a torus."""

        wrap: Annotated[
            bool,
            msgspec.Meta(
                description="Whether the ends of rows and columns are neighbours. Without it this is a grid, of twice"
                " the diameter and slower agreement."
            ),
        ] = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the torus, or grid, over `members`."""
        order = ordered(members, seed, "torus")
        columns = shape(len(order))[1]
        lines = [order[start : start + columns] for start in range(0, len(order), columns)]
        lines += [order[column::columns] for column in range(columns)]
        return Graph.from_edges(order, (edge for line in lines for edge in self._along(line)))

    def positions(self, members: Iterable[Node], seed: int) -> dict[Node, Place]:
        """Return the middle of each member's field: columns from left to right, rows from the bottom up."""
        order = ordered(members, seed, "torus")
        rows, columns = shape(len(order))
        return {name: ((k % columns + 0.5) / columns, (k // columns + 0.5) / rows) for k, name in enumerate(order)}

    def _along(self, line: Sequence[Node]) -> Iterable[tuple[Node, Node]]:
        return circle(line) if self.config.wrap else pairwise(line)


def shape(n: int) -> tuple[int, int]:
    """Return the rows and columns of n members; n = rows·columns, or less when the last row is short."""
    rows = next((rows for rows in range(math.isqrt(n), 0, -1) if n % rows == 0), 1)
    if n <= 2 * rows**2:
        return rows, max(1, n // rows)
    columns = math.isqrt(n - 1) + 1
    return -(-n // columns), columns
