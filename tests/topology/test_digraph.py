"""Who gives to whom, looked up from both ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.digraph import Digraph
from topology.errors import GraphError
from topology.graph import Graph

pairs = st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda pair: pair[0] != pair[1])


def of(pairs, nodes=range(9)):
    return Digraph.from_receivers({node: [b for a, b in pairs if a == node] for node in nodes})


@settings(max_examples=40, deadline=None)
@given(st.lists(pairs))
def test_both_ends_tell_the_same(given_pairs):
    digraph = of(given_pairs)
    assert digraph.edges == tuple(sorted(set(given_pairs)))
    assert digraph.nodes == tuple(range(9))
    assert {(a, b) for b in digraph.nodes for a in digraph.senders(b)} == set(given_pairs)
    assert all(list(digraph.senders(node)) == sorted(set(digraph.senders(node))) for node in digraph.nodes)


@settings(max_examples=40, deadline=None)
@given(st.lists(pairs))
def test_turned_round(given_pairs):
    digraph = of(given_pairs)
    assert digraph.reversed() == of([(b, a) for a, b in given_pairs])
    assert digraph.reversed().reversed() == digraph
    assert Digraph.from_senders({node: digraph.senders(node) for node in digraph.nodes}) == digraph
    assert digraph.is_mutual() == (digraph == digraph.reversed())


@settings(max_examples=40, deadline=None)
@given(st.lists(pairs))
def test_a_graph_used_both_ways(given_pairs):
    graph = Graph.from_edges(range(9), given_pairs)
    digraph = Digraph.from_graph(graph)
    assert digraph.is_mutual()
    assert all(digraph.receivers(node) == graph.neighbours(node) == digraph.senders(node) for node in graph.nodes)


def test_over_members_only():
    digraph = Digraph.from_graph(Graph.from_edges("abc", ["ab", "bc"]), ["d", "c", "b", "b"])
    assert digraph == Digraph.from_receivers({"b": "c", "c": "b", "d": ""})
    assert Digraph.from_graph(Graph({}), ["b"]).nodes == ("b",)


def test_values():
    one, other = of([(0, 1)]), of([(0, 1), (0, 1)])
    assert one == other
    assert hash(one) == hash(other)
    assert one != of([(1, 0)])
    assert one != "something else"
    assert 0 in one
    assert 9 not in one
    assert len(one) == 9
    assert repr(one) == "Digraph(9 nodes, 1 edges)"


@pytest.mark.parametrize("receivers", [{0: [0]}, {0: [1]}])
def test_what_is_no_graph_is_refused(receivers):
    with pytest.raises(GraphError):
        Digraph.from_receivers(receivers)


def test_a_stranger_is_refused():
    for look_up in (of([]).receivers, of([]).senders):
        with pytest.raises(GraphError, match="9 is not a node"):
            look_up(9)
