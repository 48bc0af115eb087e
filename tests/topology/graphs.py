"""Graphs of known spectra, and graphs of all sorts, for the tests of topology."""

import networkx as nx
from hypothesis import strategies as st

from topology.families import registry as families
from topology.graph import Graph


def of(copy):
    """Return a networkx graph as one of ours, nodes numbered."""
    numbered = nx.convert_node_labels_to_integers(copy, ordering="sorted")
    return Graph.from_edges(range(len(numbered)), numbered.edges)


def family(name, n, seed=0, **params):
    return families.build(name, params).build(range(n), seed)


TEN = {
    "ring": family("ring", 16),
    "torus": of(nx.grid_2d_graph(4, 6, periodic=True)),
    "complete": family("complete", 8),
    "star": of(nx.star_graph(9)),
    "path": of(nx.path_graph(12)),
    "hypercube": of(nx.hypercube_graph(4)),
    "regular": family("regular", 24, seed=3, degree=4),
    "erdos-renyi": of(nx.gnp_random_graph(24, 0.25, seed=2)),
    "barabasi-albert": of(nx.barabasi_albert_graph(30, 2, seed=1)),
    "barbell": of(nx.barbell_graph(5, 2)),
}
"""Ten families, all connected."""


@st.composite
def connected(draw, most=12):
    """Any connected graph: a random tree and some edges more."""
    n = draw(st.integers(2, most))
    tree = [(draw(st.integers(0, node - 1)), node) for node in range(1, n)]
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] != pair[1])
    return Graph.from_edges(range(n), [*tree, *draw(st.lists(pairs, max_size=2 * n))])
