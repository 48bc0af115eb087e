"""How connected a graph is: what a disaster leaves of it.

Peers in different components never hear of each other again, so what counts is the size of the largest one and how
many peers stand alone; within a component the algebraic connectivity says how fast news gets around.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from topology.graph import Graph, Node


class Connectivity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of one graph. All are 0 for the empty graph."""

    num_nodes: int
    num_edges: int
    num_components: int
    """Parts that cannot reach each other; a node that stands alone is one of them."""
    largest_component: int
    """Nodes of the largest part."""
    num_isolated: int
    """Nodes without a neighbour."""
    algebraic_connectivity: float | None = None
    """Second smallest eigenvalue of the Laplacian: 0 unless the graph is connected. None: not asked for."""


def connectivity(graph: Graph[Node], *, algebraic: bool = False) -> Connectivity:
    """Return the figures of `graph`; the eigenvalue, which costs far more than all others, only on demand.

    O(n + E): 0.02 s for 10,000 nodes and 20,000 edges. `algebraic` adds what `topology.spectra` takes.
    """
    sizes = [len(component) for component in _searched(graph)]
    value = None
    if algebraic:
        from topology.spectra import algebraic_connectivity  # numpy

        value = algebraic_connectivity(graph) if len(sizes) == 1 else 0.0
    return Connectivity(
        num_nodes=len(graph),
        num_edges=sum(map(graph.degree, graph.nodes)) // 2,
        num_components=len(sizes),
        largest_component=max(sizes, default=0),
        num_isolated=sizes.count(1),
        algebraic_connectivity=value,
    )


def components(graph: Graph[Node]) -> tuple[tuple[Node, ...], ...]:
    """Return the connected components, largest first, equal ones by their first node; each of them sorted."""
    found = [tuple(sorted(component)) for component in _searched(graph)]
    return tuple(sorted(found, key=lambda component: (-len(component), component[0])))


def _searched(graph: Graph[Node]) -> Iterator[list[Node]]:
    seen: set[Node] = set()
    for start in graph.nodes:
        if start in seen:
            continue
        seen.add(start)
        component = [start]
        for node in component:  # grows while it is read
            for other in graph.neighbours(node):
                if other not in seen:
                    seen.add(other)
                    component.append(other)
        yield component
