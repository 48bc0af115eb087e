"""Rings and matchings that avoid edges already taken: the parts of which regular graphs are made.

Theory of operation. Two independent random rings over n members share about 2 edges, whatever n is, so a union of
rings is almost, but not quite, regular. Drawing the whole ring again until it fits would let one join redraw
everything: then nobody keeps a neighbour. Here a clash is mended where it happens, by exchanging one member of the
ring with the nearest one further on that helps. All else stays where its hash put it, so a join or a leave changes
three edges per ring and, now and then, a few more around a mended place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from topology.families.positions import circle, ordered, position
from topology.graph import Node

NUM_SALTS = 64  # tries for a ring (or rounds of a matching) before an overlap (a shortfall) is accepted


class Edges(Generic[Node]):
    """A set of undirected edges."""

    def __init__(self) -> None:
        self._ends: dict[Node, set[Node]] = {}

    def __contains__(self, edge: tuple[Node, Node]) -> bool:
        return edge[1] in self._ends.get(edge[0], ())

    def add(self, a: Node, b: Node) -> None:
        """Add the edge between `a` and `b`."""
        self._ends.setdefault(a, set()).add(b)
        self._ends.setdefault(b, set()).add(a)


def ring_avoiding(members: Sequence[Node], seed: int, purpose: str, taken: Edges[Node]) -> list[tuple[Node, Node]]:
    """Return the edges of a hash-ordered ring over n >= 3 members that has no edge in common with `taken`.

    The first of `NUM_SALTS` orders that can be mended is used. When none can (only seen when `taken` holds most of
    the pairs), the unmended first one is returned, whose edges overlap. Cost O(n log n) per order tried.
    """
    for salt in range(NUM_SALTS):
        order = ordered(members, seed, purpose, salt)
        if _mend(order, taken):
            return circle(order)
    return circle(ordered(members, seed, purpose))


def matching_avoiding(members: Sequence[Node], seed: int, taken: Edges[Node]) -> list[tuple[Node, Node]]:
    """Return a matching over `members` without an edge of `taken`: perfect for even n, one member over for odd n.

    Rounds of greedy matching along a ring, least hash first; a round leaves about 1/e² of the members for the next.
    Whom a member gets depends on its surroundings only, so a join or leave re-matches few. What the rounds leave over
    is worked in by opening a pair; where even that cannot be done (only seen when `taken` holds most of the pairs)
    members stay unmatched. Cost O(n log n).
    """
    left = list(members)
    pairs: list[tuple[Node, Node]] = []
    for salt in range(NUM_SALTS):
        matched = _match_along(ordered(left, seed, "matching", salt), seed, taken)
        pairs += matched
        done = {node for pair in matched for node in pair}
        left = [node for node in left if node not in done]
        if len(left) < 2:
            return pairs
    order = ordered(left, seed, "matching")
    for a, b in zip(order[::2], order[1::2], strict=False):
        _work_in(a, b, pairs, taken)
    return pairs


def _mend(order: list[Node], taken: Edges[Node]) -> bool:
    """Exchange members of the ring `order` until no edge is taken; say whether that succeeded."""
    n = len(order)
    for i in range(n):
        if (order[i], order[(i + 1) % n]) in taken and not any(
            _exchange(order, (i + 1) % n, (i + 1 + step) % n, taken) for step in range(1, n - 1)
        ):
            return False
    return True


def _exchange(order: list[Node], i: int, j: int, taken: Edges[Node]) -> bool:
    """Exchange the members at i and j if none of the edges that this touches is taken then."""
    n = len(order)
    order[i], order[j] = order[j], order[i]
    if not any((order[k - 1], order[k]) in taken for k in (i, (i + 1) % n, j, (j + 1) % n)):
        return True
    order[i], order[j] = order[j], order[i]
    return False


def _match_along(order: Sequence[Node], seed: int, taken: Edges[Node]) -> list[tuple[Node, Node]]:
    candidates = [(position(seed, "matching", *sorted(edge)), edge) for edge in circle(order) if edge not in taken]
    pairs: list[tuple[Node, Node]] = []
    done: set[Node] = set()
    for _, (a, b) in sorted(candidates):
        if a not in done and b not in done:
            pairs.append((a, b))
            done |= {a, b}
    return pairs


def _work_in(a: Node, b: Node, pairs: list[tuple[Node, Node]], taken: Edges[Node]) -> None:
    """Match `a` and `b`, which may not be neighbours, by opening the first pair (c, d) that allows a-c and b-d."""
    for i, (c, d) in enumerate(pairs):
        for one, other in ((c, d), (d, c)):
            if (a, one) not in taken and (b, other) not in taken:
                pairs[i : i + 1] = [(a, one), (b, other)]
                return
