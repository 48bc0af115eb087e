"""What a graph is made of, against networkx."""

import msgspec
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.graphs import TEN
from topology.connectivity import Connectivity, components, connectivity
from topology.graph import Graph

pairs = st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda pair: pair[0] != pair[1])


@settings(max_examples=40, deadline=None)
@given(st.lists(pairs, max_size=15))
def test_as_networkx_has_it(edges):
    graph = Graph.from_edges(range(15), edges)
    whole = graph.to_networkx()
    assert sorted(map(set, components(graph)), key=min) == sorted(nx.connected_components(whole), key=min)
    assert connectivity(graph) == Connectivity(
        num_nodes=15,
        num_edges=whole.number_of_edges(),
        num_components=nx.number_connected_components(whole),
        largest_component=max(map(len, nx.connected_components(whole))),
        num_isolated=nx.number_of_isolates(whole),
    )


def test_largest_first_then_by_name():
    graph = Graph.from_edges("abcdefg", ["fg", "bc", "cd"])
    assert components(graph) == (("b", "c", "d"), ("f", "g"), ("a",), ("e",))


@pytest.mark.parametrize("name", TEN)
def test_algebraic_connectivity_on_demand(name):
    assert connectivity(TEN[name]).algebraic_connectivity is None
    value = connectivity(TEN[name], algebraic=True).algebraic_connectivity
    assert value == pytest.approx(
        nx.algebraic_connectivity(TEN[name].to_networkx(), method="lanczos", seed=1), rel=1e-6
    )


@pytest.mark.parametrize("graph", [Graph({}), Graph({0: []}), Graph.from_edges(range(4), [(0, 1), (2, 3)])])
def test_where_there_is_none_it_is_0(graph):
    assert connectivity(graph, algebraic=True).algebraic_connectivity == 0.0


def test_an_empty_graph_is_all_zeros():
    assert msgspec.structs.astuple(connectivity(Graph({}))) == (0, 0, 0, 0, 0, None)
