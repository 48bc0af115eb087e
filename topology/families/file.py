"""A graph from a file: an edge list or GraphML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from topology.errors import BadParameterError
from topology.graph import Graph, Node

_COMMENTS = ("#", "%")  # as SNAP and KONECT write them
_HEADERS = {("source", "target"), ("from", "to")}


class File:
    """The graph of a file; its nodes in natural order are the members in sorted order.

        E = {(a_i, a_j) : (v_i, v_j) is in the file},   a the members sorted, v the nodes of the file sorted

    For measured networks, and for graphs that other programs made. Natural order reads numbers as such: n2 comes before
    n10. A file with more nodes than there are members is cut down to its first n nodes and the edges among them, which
    may disconnect it; one with fewer is refused. Edges are taken in both directions; those given twice count once.
    `.txt`, `.edges`, `.csv`: an edge per line, two names with blanks, tabs or a comma between them, further columns
    (weights, times) are passed over, `#` and `%` begin comments, a first line `source,target` or `from,to` is a header.
    `.graphml`: ids of nodes are their names. The seed makes no difference. Peers who have different files compute
    different graphs: the path is part of the swarm file, the contents are not. **Not stable**: a join or a leave
    shifts all who come later in the order to the next node, and changes a share of all edges. Cost O(n + E), read
    once.
    Source: [Brandes et al. 2002, GraphML Progress Report]; edge lists as in [Leskovec & Krevl 2014, SNAP Datasets].
    """

    stable: ClassVar[bool] = False

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Where the graph is."""

        path: Annotated[
            str,
            msgspec.Meta(
                description="Name of the file, .txt, .edges, .csv or .graphml; a relative one counts from where the"
                " program was started."
            ),
        ]

    def __init__(self, config: Config) -> None:
        self.config = config
        path = Path(config.path)
        read = _READERS.get(path.suffix.lower())
        if read is None:
            raise BadParameterError(f"{path}: a graph file ends in {', '.join(sorted(_READERS))}, not {path.suffix!r}")
        try:
            self.graph: Graph[str] = read(path)
        except OSError as error:
            raise BadParameterError(f"{path}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise BadParameterError(f"{path}: not a text in UTF-8: {error.reason} at byte {error.start}") from None
        self._order = sorted(self.graph.nodes, key=natural)

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:  # noqa: ARG002  the interface of families
        """Return the graph of the file over `members`. Raises `BadParameterError` when they are more than its nodes."""
        nodes = sorted(set(members))
        if len(nodes) > len(self._order):
            raise BadParameterError(
                f"{self.config.path}: its {len(self._order)} nodes are too few for {len(nodes)} members"
            )
        member = dict(zip(self._order, nodes, strict=False))
        edges = ((member[a], member[b]) for a, b in self.graph.edges if a in member and b in member)
        return Graph.from_edges(nodes, edges)


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a key by which names sort with the numbers in them read as numbers: n2 before n10, 9 before a."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name


def _read_edge_list(path: Path) -> Graph[str]:
    edges = list(_edges(path))
    if not edges:
        raise BadParameterError(f"{path}: no edge in it")
    return Graph.from_edges((name for edge in edges for name in edge), edges)


def _edges(path: Path) -> Iterator[tuple[str, str]]:
    is_first = True
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        text = re.split("[#%]", line, maxsplit=1)[0].strip()
        if not text:
            continue
        names = [name.strip() for name in text.split(",")] if "," in text else text.split()
        if is_first and tuple(name.lower() for name in names[:2]) in _HEADERS:
            is_first = False
            continue
        is_first = False
        if len(names) < 2 or not all(names[:2]):
            raise BadParameterError(f"{path}, line {number}: expected two names of nodes, got {text!r}")
        if names[0] == names[1]:
            raise BadParameterError(f"{path}, line {number}: node {names[0]!r} may not be its own neighbour")
        yield names[0], names[1]


def _read_graphml(path: Path) -> Graph[str]:
    from xml.etree.ElementTree import ParseError

    import networkx as nx

    try:
        found: Any = nx.read_graphml(path)
    except (ParseError, nx.NetworkXError, KeyError, ValueError) as error:
        raise BadParameterError(f"{path}: no GraphML: {error}") from None
    nodes = [str(node) for node in found.nodes]
    edges = [(str(a), str(b)) for a, b in found.edges()]
    loop = next((a for a, b in edges if a == b), None)
    if loop is not None:
        raise BadParameterError(f"{path}: node {loop!r} may not be its own neighbour")
    if not edges:
        raise BadParameterError(f"{path}: no edge in it")
    return Graph.from_edges(nodes, edges)


_READERS: dict[str, Callable[[Path], Graph[str]]] = {
    ".txt": _read_edge_list,
    ".edges": _read_edge_list,
    ".csv": _read_edge_list,
    ".graphml": _read_graphml,
}
