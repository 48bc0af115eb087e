"""What is left of a graph: without nodes, without links, in parts; and what it takes to undo that.

All of it is set algebra on values. Nothing remembers what was cut: to heal a partition is to stop applying it, or to
put back the edges that `crossing` named. So disruptions can overlap and end in any order:

    graph(t) = without_edges(without(whole, dead(t)), lost(t) ∪ crossing(whole, groups(t)))

The ways to split (`split_*`) return groups of nodes: disjoint, none empty, each sorted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from topology.disruption.amount import rounded_share
from topology.errors import GraphError
from topology.families.positions import ordered, position
from topology.graph import Graph, Node

Edge = tuple[Node, Node]
Groups = Sequence[Collection[Node]]


def without(graph: Graph[Node], gone: Iterable[Node]) -> Graph[Node]:
    """Return `graph` without the nodes `gone` and their edges. Those that it does not have are gone already."""
    lost = set(gone)
    return within(graph, (node for node in graph.nodes if node not in lost))


def within(graph: Graph[Node], nodes: Iterable[Node]) -> Graph[Node]:
    """Return the part of `graph` on `nodes`, as far as it has them: the induced subgraph."""
    kept = {node for node in nodes if node in graph}
    return Graph({node: [other for other in graph.neighbours(node) if other in kept] for node in kept})


def without_edges(graph: Graph[Node], lost: Iterable[Edge[Node]]) -> Graph[Node]:
    """Return `graph` without the edges `lost`, given in either direction. Those that it lacks are lost already."""
    gone: dict[Node, set[Node]] = {}
    for a, b in lost:
        gone.setdefault(a, set()).add(b)
        gone.setdefault(b, set()).add(a)
    return Graph({node: set(graph.neighbours(node)) - gone.get(node, set()) for node in graph.nodes})


def with_edges(graph: Graph[Node], restored: Iterable[Edge[Node]]) -> Graph[Node]:
    """Return `graph` with the edges `restored` as well, as far as it has both ends: a dead peer gets no link back."""
    added = (edge for edge in restored if edge[0] in graph and edge[1] in graph)
    return Graph.from_edges(graph.nodes, [*graph.edges, *added])


def lost_links(graph: Graph[Node], share: float, seed: int) -> tuple[Edge[Node], ...]:
    """Return a random `share` (0 to 1) of the edges, sorted: ⌊share·E + ½⌋ of them.

    The first ones by a hash of the seed and both names, so a larger share loses the same ones and more.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 1, got {share}")
    edges = graph.edges
    order = sorted(edges, key=lambda edge: position("lost link", seed, *edge))
    return tuple(sorted(order[: rounded_share(share, len(edges))]))


def crossing(graph: Graph[Node], groups: Groups[Node]) -> tuple[Edge[Node], ...]:
    """Return the edges that a partition cuts, sorted: those whose ends are in different groups.

    Nodes that are in no group form one more. Raises `GraphError` for a node in two groups.
    """
    part = _parts(groups)
    rest = len(groups)
    return tuple((a, b) for a, b in graph.edges if part.get(a, rest) != part.get(b, rest))


def partitioned(graph: Graph[Node], groups: Groups[Node]) -> Graph[Node]:
    """Return `graph` without the edges that the partition cuts. See `crossing`."""
    return without_edges(graph, crossing(graph, groups))


def split_by_hash(nodes: Iterable[Node], shares: Sequence[float], seed: int) -> tuple[tuple[Node, ...], ...]:
    """Return groups drawn at random, of the sizes that `shares` (which sum to 1) say; empty ones are left out."""
    return _dealt(ordered(nodes, seed, "split"), shares)


def split_by_area(
    positions: Mapping[Node, tuple[float, float]], shares: Sequence[float], angle_deg: float = 0.0
) -> tuple[tuple[Node, ...], ...]:
    """Return groups divided by parallel lines on the map, of the sizes that `shares` (which sum to 1) say.

    Lines lie across the direction `angle_deg`: 0 divides from west to east (x grows), 90 from south to north. Nodes at
    the same distance go by name. Empty groups are left out.
    """
    east, north = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    distance = {node: round(x * east + y * north, 12) for node, (x, y) in positions.items()}
    return _dealt(sorted(sorted(positions), key=distance.__getitem__), shares)


def split_connected(graph: Graph[Node], num_parts: int, seed: int) -> tuple[tuple[Node, ...], ...]:
    """Return `num_parts` groups of about equal size, each connected where the graph allows it.

    Parts grow around centres drawn by hash: in turn, the smallest part takes one free node next to it. A part that is
    walled in stays small. Components without a centre are dealt out, whole, to the part that is smallest by then: only
    these make a part disconnected. Fewer groups when there are fewer nodes. O(n log n + num_parts·E).
    """
    if num_parts < 1:
        raise ValueError(f"a graph is split into at least one part, got {num_parts}")
    order = ordered(graph.nodes, seed, "split")
    parts = [[centre] for centre in order[:num_parts]]
    taken = {part[0] for part in parts}
    fronts = [deque(graph.neighbours(part[0])) for part in parts]
    while open_parts := [number for number, front in enumerate(fronts) if front]:
        number = min(open_parts, key=lambda number: (len(parts[number]), number))
        node = fronts[number].popleft()
        if node not in taken:
            taken.add(node)
            parts[number].append(node)
            fronts[number].extend(other for other in graph.neighbours(node) if other not in taken)
    for node in order:
        if node not in taken:
            island = _reached(graph, node)
            taken.update(island)
            min(parts, key=len).extend(island)
    return tuple(tuple(sorted(part)) for part in parts)


def _parts(groups: Groups[Node]) -> dict[Node, int]:
    part: dict[Node, int] = {}
    for number, group in enumerate(groups):
        for node in group:
            if part.setdefault(node, number) != number:
                raise GraphError(f"{node!r} is in two groups of the partition")
    return part


def _dealt(order: Sequence[Node], shares: Sequence[float]) -> tuple[tuple[Node, ...], ...]:
    if not (shares and min(shares) >= 0 and abs(math.fsum(shares) - 1.0) <= 1e-6):
        raise ValueError(f"shares must not be negative and sum to 1, got {list(shares)}")
    bounds = [0, *(min(len(order), math.floor(total * len(order) + 0.5)) for total in accumulate(shares))]
    bounds[-1] = len(order)
    return tuple(tuple(sorted(order[a:b])) for a, b in pairwise(bounds) if a < b)


def _reached(graph: Graph[Node], start: Node) -> list[Node]:
    seen, reached = {start}, [start]
    for node in reached:  # grows while it is read
        for other in graph.neighbours(node):
            if other not in seen:
                seen.add(other)
                reached.append(other)
    return reached
