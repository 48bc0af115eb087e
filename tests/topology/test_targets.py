"""Whom a disaster hits: what all targets promise, then each one."""

import json
import math
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.catalogue import entry_of
from tests.topology.graphs import TEN, of
from topology.connectivity import components
from topology.disruption import betweenness, registry
from topology.disruption.amount import rounded_share
from topology.disruption.cut import without
from topology.errors import BadParameterError, GraphError
from topology.graph import Graph

BY_AMOUNT = ["betweenness", "hubs", "leaves", "random"]
EXAMPLES = {name: {"share": 0.3} for name in BY_AMOUNT} | {
    "area": {"x": 0.2, "y": 0.2, "radius": 0.5},
    "listed": {"peers": [3, 5, 99]},
}
PLACES = {node: (node % 6 / 5, node // 6 / 5) for node in range(30)}
GOLDEN = json.loads((Path(__file__).parent.parent / "golden/decavg.json").read_text())["ba_example"]


@pytest.fixture(params=registry.names())
def target(request):
    return registry.build(request.param, EXAMPLES[request.param])


def chosen(name, graph, candidates=None, seed=1, positions=PLACES, **params):
    target = registry.build(name, params)
    return target.choose(graph, graph.nodes if candidates is None else candidates, seed=seed, positions=positions)


# All of them


def test_some_of_the_candidates_sorted(target):
    graph, candidates = TEN["barabasi-albert"], [9, 3, 5, 17, 8, 2, 29]
    hit = target.choose(graph, candidates, seed=1, positions=PLACES)
    assert list(hit) == sorted(set(hit) & set(candidates))
    assert 0 < len(hit) < 7


def test_the_order_of_candidates_is_of_no_consequence(target):
    graph = TEN["barabasi-albert"]
    shuffled = [*reversed(range(20)), 3, 4, 3]
    hit = target.choose(graph, range(20), seed=1, positions=PLACES)
    assert hit == target.choose(graph, shuffled, seed=1, positions=PLACES)


def test_of_nobody_nobody_is_hit(target):
    assert target.choose(TEN["ring"], [], seed=1, positions={}) == ()


def test_documented_in_the_form_of_the_catalogue(target):
    entry = entry_of(registry, next(n for n in registry.names() if registry.piece(n) is type(target)))
    assert entry.summary.endswith(".")
    assert entry.formula
    assert entry.source
    assert all(len(parameter.meaning) > 20 for parameter in entry.parameters)


# How many


@pytest.mark.parametrize("name", BY_AMOUNT)
@pytest.mark.parametrize(
    ("params", "number"),
    [
        ({"share": 0.3}, 3),
        ({"share": 0.25}, 3),
        ({"share": 0.24}, 2),
        ({"share": 0.0}, 0),
        ({"share": 1}, 10),
        ({"count": 0}, 0),
        ({"count": 4}, 4),
        ({"count": 11}, 10),
    ],
)
def test_how_many(name, params, number):
    assert len(chosen(name, TEN["ring"], range(10), **params)) == number


@pytest.mark.parametrize("name", BY_AMOUNT)
@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({}, "give either share or count, got neither"),
        ({"share": 0.1, "count": 1}, "got both"),
        ({"share": 1.1}, "share"),
        ({"share": -0.1}, "share"),
        ({"share": math.nan}, "share"),
        ({"count": -1}, "count"),
        ({"count": 1.5}, "count"),
        ({"shares": 0.1}, "did you mean 'share'"),
    ],
)
def test_what_is_no_amount_is_refused(name, params, complaint):
    with pytest.raises(BadParameterError, match=f"target '{name}'.*{complaint}"):
        registry.build(name, params)


@given(hundredths=st.integers(0, 1000), n=st.integers(0, 5000))
def test_shares_are_rounded_as_they_were_written(hundredths, n):
    assert rounded_share(hundredths / 1000, n) == (2 * hundredths * n + 1000) // 2000


def test_halves_go_up_where_floats_are_a_little_less():
    assert 0.145 * 100 < 14.5
    assert rounded_share(0.145, 100) == 15
    assert rounded_share(0.285, 100) == 29


def test_small_shares_written_with_an_exponent():
    assert rounded_share(5e-05, 10_000) == 1
    assert rounded_share(4.9e-05, 10_000) == 0


# random


def test_random_hits_all_alike_and_more_at_a_larger_share():
    counts = dict.fromkeys(range(30), 0)
    for seed in range(300):
        few, many = (chosen("random", TEN["barabasi-albert"], seed=seed, count=count) for count in (6, 12))
        assert set(few) < set(many)
        for node in few:
            counts[node] += 1
    assert all(abs(count - 60) < 4 * math.sqrt(60 * 0.8) for count in counts.values())


# hubs, leaves


def test_hubs_in_the_order_of_the_reference():
    graph = Graph.from_edges(range(10), map(tuple, GOLDEN["edges"]))
    assert [graph.degree(node) for node in graph.nodes] == GOLDEN["degrees"]
    for count in range(11):
        assert chosen("hubs", graph, count=count) == tuple(sorted(GOLDEN["hub_order"][:count]))
    hit = chosen("hubs", graph, share=0.3)
    assert list(hit) == GOLDEN["removed"]
    assert [list(part) for part in components(without(graph, hit))] == GOLDEN["components_after"]


def test_leaves_have_fewest_neighbours_and_equal_ones_go_by_name():
    graph = Graph.from_edges("abcdef", ["ab", "ac", "ad", "bc"])
    assert [chosen("leaves", graph, count=count)[-1] for count in range(1, 4)] == ["e", "f", "f"]
    assert chosen("leaves", graph, count=3) == ("d", "e", "f")
    assert chosen("leaves", graph, count=4) == ("b", "d", "e", "f")
    assert chosen("hubs", graph, count=2) == ("a", "b")


def test_degrees_are_those_of_the_whole_graph():
    star = Graph.from_edges(range(6), [(0, 1), (0, 2), (0, 3), (4, 5)])
    assert chosen("hubs", star, [5, 4, 0], count=1) == (0,)
    assert chosen("leaves", star, [0, 4], count=1) == (4,)


@pytest.mark.parametrize("name", ["betweenness", "hubs", "leaves"])
def test_a_candidate_that_is_not_in_the_graph_is_refused(name):
    with pytest.raises(GraphError, match="99 is not a node"):
        chosen(name, TEN["ring"], [0, 99], count=1)


# betweenness


def test_bridges_before_hubs():
    barbell = of(nx.barbell_graph(5, 1))
    assert chosen("betweenness", barbell, count=1) == (5,)
    assert chosen("betweenness", barbell, count=3) == (4, 5, 6)
    assert 5 not in chosen("hubs", barbell, count=3)


def test_nodes_that_are_alike_go_by_name():
    for graph in (nx.cycle_graph(9), nx.hypercube_graph(5), nx.dodecahedral_graph()):
        assert chosen("betweenness", of(graph), count=3) == (0, 1, 2)


def test_in_large_graphs_paths_are_counted_from_some_nodes(monkeypatch):
    graph = of(nx.barabasi_albert_graph(200, 2, seed=1))
    exact = chosen("betweenness", graph, count=20)
    monkeypatch.setattr(betweenness, "EXACT_UP_TO", 199)
    sampled = {chosen("betweenness", graph, seed=seed, count=20) for seed in range(3)}
    assert len(sampled) == 3
    assert all(len(set(exact) & set(hit)) >= 13 for hit in sampled)
    monkeypatch.setattr(betweenness, "NUM_PIVOTS", 200)
    assert chosen("betweenness", graph, count=20) == exact


# area, listed


def test_area_is_a_circle():
    places = {0: (0.0, 0.0), 1: (0.3, 0.4), 2: (0.5, 0.5), 3: (-0.2, 0.1), 4: (0.4, 0.0)}
    assert chosen("area", TEN["ring"], range(5), positions=places, x=0.0, y=0.0, radius=0.5) == (0, 3, 4)
    assert chosen("area", TEN["ring"], [1, 4], positions=places, x=0.0, y=0.0, radius=0.5001) == (1, 4)


def test_area_needs_positions():
    with pytest.raises(GraphError, match="3 has no position"):
        chosen("area", TEN["ring"], [3], positions={}, x=0, y=0, radius=1)


@pytest.mark.parametrize("params", [{"share": 0.1}, {"x": 0, "y": 0, "radius": 0}, {"x": 0, "y": 0}])
def test_area_takes_a_place_and_no_share(params):
    with pytest.raises(BadParameterError):
        registry.build("area", params)


def test_listed_are_those_of_the_candidates_who_are_named():
    graph = Graph.from_edges(["1", "2", "3"], [])
    assert chosen("listed", graph, peers=["3", "1", "gone"]) == ("1", "3")
    assert chosen("listed", graph, ["2", "3"], peers=["3", "1"]) == ("3",)
    assert chosen("listed", graph, peers=[1, 3]) == ()
    with pytest.raises(BadParameterError, match="peers"):
        registry.build("listed")
