import pytest

from topology.errors import GraphError
from topology.graph import Graph


def test_neighbours_nodes_and_edges_are_sorted_whatever_order_they_came_in():
    graph = Graph.from_edges(["c", "a", "b"], [("c", "a"), ("b", "c")])
    assert graph.nodes == ("a", "b", "c")
    assert graph.edges == (("a", "c"), ("b", "c"))
    assert graph.neighbours("c") == ("a", "b")
    assert [graph.degree(node) for node in graph.nodes] == [1, 1, 2]


def test_an_edge_given_twice_or_turned_round_counts_once():
    assert Graph.from_edges([1, 2], [(1, 2), (2, 1), (1, 2)]) == Graph.from_edges([2, 1], [(1, 2)])


def test_equal_graphs_hash_alike():
    one, other = Graph.from_edges([1, 2], [(1, 2)]), Graph.from_edges([2, 1], [(2, 1)])
    assert hash(one) == hash(other)
    assert one != Graph.from_edges([1, 2], [])
    assert one != "graph"


@pytest.mark.parametrize("edges", [[(1, 1)], [(1, 9)], [(9, 1)]])
def test_loops_and_strangers_are_refused(edges):
    with pytest.raises(GraphError):
        Graph.from_edges([1, 2], edges)


def test_one_sided_adjacency_is_refused():
    with pytest.raises(GraphError, match="one end only"):
        Graph({1: [2], 2: []})


def test_asking_for_a_stranger_is_an_error():
    with pytest.raises(GraphError, match="not a node"):
        Graph.from_edges([1], []).neighbours(2)


@pytest.mark.parametrize(
    ("nodes", "edges", "connected"),
    [
        ([], [], True),
        ([1], [], True),
        ([1, 2], [], False),
        ([1, 2, 3, 4], [(1, 2), (3, 4)], False),
        ([1, 2, 3], [(1, 2), (2, 3)], True),
    ],
)
def test_connected(nodes, edges, connected):
    assert Graph.from_edges(nodes, edges).is_connected() is connected


def test_networkx_copy_has_the_same_edges_and_keeps_lonely_nodes():
    graph = Graph.from_edges([1, 2, 3], [(1, 2)])
    copy = graph.to_networkx()
    assert sorted(copy.nodes) == [1, 2, 3]
    assert list(copy.edges) == [(1, 2)]


def test_membership_length_and_repr():
    graph = Graph.from_edges([1, 2], [(1, 2)])
    assert 1 in graph
    assert 3 not in graph
    assert len(graph) == 2
    assert repr(graph) == "Graph(2 nodes, 1 edges)"
