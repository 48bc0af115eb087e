"""A directed graph over named nodes: who gives to whom in one round. The value that all samplers return."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Generic

from topology.errors import GraphError
from topology.graph import Graph, Node


class Digraph(Generic[Node]):
    """Immutable, without loops and double edges; two are equal when their nodes and edges are.

    Both directions are looked up in O(1); building costs O(n log n + E log E). Made by `from_receivers`,
    `from_senders` or `from_graph`.
    """

    __slots__ = ("_receivers", "_senders")

    def __init__(self, receivers: dict[Node, tuple[Node, ...]], senders: dict[Node, tuple[Node, ...]]) -> None:
        self._receivers = receivers
        self._senders = senders

    @classmethod
    def from_receivers(cls, receivers: Mapping[Node, Collection[Node]]) -> Digraph[Node]:
        """Build from the receivers of each node; those of no one are named with an empty collection.

        The same receiver twice counts once. Raises `GraphError` for a node that is its own receiver or for a receiver
        that is no key.
        """
        given = {node: tuple(sorted(set(receivers[node]))) for node in sorted(receivers)}
        turned: dict[Node, list[Node]] = {node: [] for node in given}
        for node, others in given.items():
            for other in others:
                if other == node:
                    raise GraphError(f"node {node!r} may not send to itself")
                if other not in turned:
                    raise GraphError(f"{node!r} sends to {other!r}, which is not a node")
                turned[other].append(node)  # nodes come sorted, so that senders need no sorting
        return cls(given, {node: tuple(others) for node, others in turned.items()})

    @classmethod
    def from_senders(cls, senders: Mapping[Node, Collection[Node]]) -> Digraph[Node]:
        """Build from the senders of each node, as `from_receivers` does from the other end."""
        return cls.from_receivers(senders).reversed()

    @classmethod
    def from_graph(cls, graph: Graph[Node], members: Iterable[Node] | None = None) -> Digraph[Node]:
        """Return `graph` with each edge used both ways; over `members` only, when given.

        A member that the graph does not have stands alone, and an edge to someone who is no member is left out.
        """
        nodes = graph.nodes if members is None else tuple(sorted(set(members)))
        if nodes == graph.nodes:
            both = {node: graph.neighbours(node) for node in nodes}
        else:
            known = set(nodes)
            both = {
                node: tuple(other for other in graph.neighbours(node) if other in known) if node in graph else ()
                for node in nodes
            }
        return cls(both, both)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, sorted."""
        return tuple(self._receivers)

    @property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        """All edges as (sender, receiver), sorted."""
        return tuple((node, other) for node, others in self._receivers.items() for other in others)

    def receivers(self, node: Node) -> tuple[Node, ...]:
        """Return to whom `node` gives, sorted. Raises `GraphError` for a node that is not in the graph."""
        return _looked_up(self._receivers, node)

    def senders(self, node: Node) -> tuple[Node, ...]:
        """Return from whom `node` takes, sorted. Raises `GraphError` for a node that is not in the graph."""
        return _looked_up(self._senders, node)

    def reversed(self) -> Digraph[Node]:
        """Return the graph with all edges turned round; O(1)."""
        return Digraph(self._senders, self._receivers)

    def is_mutual(self) -> bool:
        """Say whether everybody gives to exactly those from whom it takes, so that each exchange is of a pair."""
        return self._receivers == self._senders

    def __contains__(self, node: object) -> bool:
        return node in self._receivers

    def __len__(self) -> int:
        return len(self._receivers)

    def __eq__(self, other: object) -> bool:
        return self._receivers == other._receivers if isinstance(other, Digraph) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._receivers.items()))

    def __repr__(self) -> str:
        return f"Digraph({len(self)} nodes, {sum(map(len, self._receivers.values()))} edges)"


def _looked_up(table: dict[Node, tuple[Node, ...]], node: Node) -> tuple[Node, ...]:
    try:
        return table[node]
    except KeyError:
        raise GraphError(f"{node!r} is not a node of this graph") from None
