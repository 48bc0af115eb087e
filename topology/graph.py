"""An undirected simple graph over named nodes: the value that all families return and everything else reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from topology.errors import GraphError

if TYPE_CHECKING:
    import networkx as nx

Node = TypeVar("Node", bound=int | str)
"""Peer ids in the daemon, numbers in simulation; one kind within a graph, since nodes are kept sorted."""


class Graph(Generic[Node]):
    """Immutable; two graphs are equal when their nodes and edges are."""

    __slots__ = ("_adjacency",)

    def __init__(self, adjacency: Mapping[Node, Collection[Node]]) -> None:
        self._adjacency: dict[Node, tuple[Node, ...]] = {
            node: tuple(sorted(set(adjacency[node]))) for node in sorted(adjacency)
        }
        for node, neighbours in self._adjacency.items():
            for other in neighbours:
                if other == node:
                    raise GraphError(f"node {node!r} may not be its own neighbour")
                if node not in adjacency.get(other, ()):
                    raise GraphError(f"edge {node!r}-{other!r} is known at one end only")

    @classmethod
    def from_edges(cls, nodes: Iterable[Node], edges: Iterable[tuple[Node, Node]]) -> Graph[Node]:
        """Build a graph from its nodes and its edges; the same edge twice, or turned round, counts once.

        Raises `GraphError` for a loop or for an edge at a node that is not in `nodes`.
        """
        adjacency: dict[Node, set[Node]] = {node: set() for node in nodes}
        for a, b in edges:
            if a not in adjacency or b not in adjacency:
                raise GraphError(f"edge {a!r}-{b!r} has an end that is not a node")
            adjacency[a].add(b)
            adjacency[b].add(a)
        return cls(adjacency)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, sorted."""
        return tuple(self._adjacency)

    @property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        """All edges as (smaller, larger), sorted."""
        rank = {node: i for i, node in enumerate(self._adjacency)}
        return tuple((a, b) for a, neighbours in self._adjacency.items() for b in neighbours if rank[a] < rank[b])

    def neighbours(self, node: Node) -> tuple[Node, ...]:
        """Return the neighbours of `node`, sorted. Raises `GraphError` for a node that is not in the graph."""
        try:
            return self._adjacency[node]
        except KeyError:
            raise GraphError(f"{node!r} is not a node of this graph") from None

    def degree(self, node: Node) -> int:
        """Return how many neighbours `node` has, itself not counted."""
        return len(self.neighbours(node))

    def is_connected(self) -> bool:
        """Say whether every node can be reached from every other; true for the empty graph."""
        if not self._adjacency:
            return True
        start = next(iter(self._adjacency))
        seen, frontier = {start}, [start]
        while frontier:
            for other in self._adjacency[frontier.pop()]:
                if other not in seen:
                    seen.add(other)
                    frontier.append(other)
        return len(seen) == len(self._adjacency)

    def to_networkx(self) -> nx.Graph[Any]:
        """Return a networkx copy, for analysis and drawing. Imports networkx."""
        import networkx as nx

        copy: nx.Graph[Any] = nx.Graph()
        copy.add_nodes_from(self.nodes)
        copy.add_edges_from(self.edges)
        return copy

    def __contains__(self, node: object) -> bool:
        return node in self._adjacency

    def __len__(self) -> int:
        return len(self._adjacency)

    def __eq__(self, other: object) -> bool:
        return self._adjacency == other._adjacency if isinstance(other, Graph) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._adjacency.items()))

    def __repr__(self) -> str:
        return f"Graph({len(self)} nodes, {len(self.edges)} edges)"
