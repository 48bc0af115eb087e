"""What every family promises, over the registry; then what each one adds."""

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.errors import BadParameterError
from topology.families import registry
from topology.families.positions import encoded, position, positions_after, words
from topology.graph import Graph
from topology.matrices import metropolis_matrix
from topology.spectra import second_eigenvalue

DODECAHEDRON = Path(__file__).parent / "dodecahedron.edges"

# Parameters of families that have no default for all of them. The file has 20 nodes: no test here has more members.
EXAMPLES = {
    "clustered": {"clusters": 3, "p_in": 0.6, "p_out": 0.1},
    "erdos-renyi": {"p": 0.3},
    "file": {"path": str(DODECAHEDRON)},
    "geometric": {"degree": 4.0},
}
SEEDLESS = {"complete", "file"}
"""Graphs that the members alone decide: there is one complete graph, and a file says by itself who is neighbour."""

names = st.lists(st.text(max_size=5), max_size=12)
numbers = st.lists(st.integers(-(2**70), 2**70), max_size=12)
seeds = st.integers(-(2**63), 2**63)


@pytest.fixture(params=registry.names())
def family(request):
    return registry.build(request.param, EXAMPLES.get(request.param))


def regular(degree):
    return registry.build("regular", {"degree": degree})


@settings(max_examples=50)
@given(members=names | numbers, seed=seeds, data=st.data())
def test_peers_agree_in_whatever_order_they_heard_of_each_other(members, seed, data):
    shuffled = data.draw(st.permutations(members + members[:3]))
    for name in registry.names():
        family = registry.build(name, EXAMPLES.get(name))
        graph = family.build(members, seed)
        assert graph == family.build(iter(shuffled), seed)
        assert graph.nodes == tuple(sorted(set(members)))


@settings(max_examples=50)
@given(members=names | numbers, seed=seeds)
def test_neighbourhood_is_mutual(members, seed):
    for name in registry.names():
        graph = registry.build(name, EXAMPLES.get(name)).build(members, seed)
        assert all(a in graph.neighbours(b) for a in graph.nodes for b in graph.neighbours(a))


@pytest.mark.parametrize("name", registry.names())
def test_the_seed_decides(name):
    family = registry.build(name, EXAMPLES.get(name))
    graphs = {family.build(range(20), seed) for seed in range(5)}
    if name == "star":  # one of 20 hubs: two seeds may have the same
        assert len(graphs) > 2
    else:
        assert len(graphs) == (1 if name in SEEDLESS else 5)


def test_one_and_no_member(family):
    assert family.build([], 0) == Graph({})
    assert family.build(["only"], 0) == Graph({"only": []})


def test_each_parameter_is_documented(family):
    for field in msgspec.structs.fields(family.Config):
        assert "description" in msgspec.json.schema(family.Config)["$defs"]["Config"]["properties"][field.name]


def test_the_same_in_another_process_under_another_hash_seed():
    code = (
        "from topology.families import registry\n"
        f"for name in {registry.names()!r}:\n"
        f"    print(name, registry.build(name, {EXAMPLES!r}.get(name)).build(map(str, range(9)), 7).edges)"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": s}).stdout
        for s in ("1", "2")
    }
    graphs = {name: registry.build(name, EXAMPLES.get(name)).build(map(str, range(9)), 7) for name in registry.names()}
    assert runs == {"".join(f"{name} {graph.edges}\n" for name, graph in graphs.items()).encode()}


def test_positions_are_frozen():
    """A change here rewires every running swarm: peers of different versions would not agree on the graph."""
    assert position(1, "ring", 0, "peer") == 13404883087894301081
    assert len({position("1"), position(1), position("a", "b"), position("ab"), position("b", "a")}) == 5
    assert registry.build("ring").build("abcde", 1).edges == tuple(map(tuple, ("ac", "ae", "bd", "be", "cd")))
    assert registry.build("erdos-renyi", {"p": 0.5}).build("abcd", 1).edges == (("a", "b"), ("c", "d"))
    neighbours = [regular(4).build(range(8), 1).neighbours(node) for node in range(4)]
    assert neighbours == [(1, 5, 6, 7), (0, 3, 4, 5), (3, 4, 5, 6), (1, 2, 4, 7)]
    assert next(words(1, "peer")) == FROZEN_WORD
    assert {name: fingerprint(name) for name in FROZEN} == FROZEN


FROZEN_WORD = 9212317155056826727
FROZEN = {
    "barabasi-albert": "93fdfaf0",
    "clustered": "8152af87",
    "exponential": "c4c0ee43",
    "geometric": "cb809085",
    "hypercube": "8dad045a",
    "star": "ff006461",
    "torus": "ddb08a5b",
    "watts-strogatz": "ad3b77ac",
}


def fingerprint(name):
    """A few digits of a hash of the graph over twenty numbers."""
    graph = registry.build(name, EXAMPLES.get(name)).build(range(20), 1)
    return hashlib.sha256(repr(graph.edges).encode()).hexdigest()[:8]


@given(members=names | numbers, seed=seeds)
def test_positions_that_share_their_first_parts_are_the_same_ones(members, seed):
    found = list(positions_after((seed, "what for"), map(encoded, members)))
    assert found == [position(seed, "what for", name) for name in members]


def test_names_that_are_neither_int_nor_str_are_refused():
    for name in (True, 1.0, b"x"):
        with pytest.raises(TypeError):
            position(name)


@pytest.mark.parametrize("n", [2, 3, 4, 10])
def test_ring(n):
    graph = registry.build("ring").build(range(n), 3)
    assert graph.is_connected()
    assert set(map(graph.degree, graph.nodes)) == {min(2, n - 1)}


@pytest.mark.parametrize("n", [2, 5])
def test_complete(n):
    assert len(registry.build("complete").build(range(n), 0).edges) == n * (n - 1) // 2


def test_erdos_renyi_has_p_of_the_edges_and_a_pair_depends_on_no_third_member():
    family = registry.build("erdos-renyi", {"p": 0.3})
    counts = [len(family.build(range(60), seed).edges) for seed in range(10)]
    assert sum(counts) / 10 == pytest.approx(0.3 * 60 * 59 / 2, rel=0.05)
    small, large = family.build(range(30), 0), family.build(range(60), 0)
    assert small.edges == tuple(e for e in large.edges if max(e) < 30)
    assert registry.build("erdos-renyi", {"p": 1}).build(range(9), 0) == registry.build("complete").build(range(9), 0)
    assert registry.build("erdos-renyi", {"p": 0}).build(range(9), 0).edges == ()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("erdos-renyi", {"p": 1.5}),
        ("regular", {"degree": 0}),
        ("barabasi-albert", {"m": 0}),
        ("watts-strogatz", {"degree": 3}),
        ("watts-strogatz", {"rewire": -0.1}),
        ("geometric", {}),
        ("geometric", {"radius": 0.1, "degree": 4}),
        ("geometric", {"radius": 0}),
        ("geometric", {"degree": 0.0}),
        ("clustered", {"p_in": 0.5}),
        ("clustered", {"p_in": 0.5, "p_out": 2}),
        ("clustered", {"p_in": 0.5, "p_out": 0.1, "clusters": 0}),
        ("torus", {"wrap": 1}),
        ("file", {}),
    ],
)
def test_parameters_out_of_range_are_refused(name, params):
    with pytest.raises(BadParameterError):
        registry.build(name, params)


@pytest.mark.parametrize("degree", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("n", [10, 11, 16, 33, 64])
@pytest.mark.parametrize("seed", range(5))
def test_regular_is_regular_and_connected(degree, n, seed):
    graph = regular(degree).build(range(n), seed)
    lone = 1 if degree % 2 and n % 2 else 0  # no such graph exists: one member goes without its last neighbour
    assert Counter(map(graph.degree, graph.nodes)) == Counter({degree: n - lone}) + Counter({degree - 1: lone})
    assert graph.is_connected()
    assert nx.is_connected(graph.to_networkx())


@pytest.mark.parametrize("n", [2, 4, 5])
def test_a_small_swarm_is_complete(n):
    assert regular(4).build(range(n), 1) == registry.build("complete").build(range(n), 1)


@pytest.mark.parametrize(("degree", "n"), [(4, 6), (4, 7), (4, 8), (8, 10), (8, 11), (16, 18), (5, 7)])
def test_where_rings_cannot_be_kept_apart_the_graph_stays_connected_and_nearly_regular(degree, n):
    for seed in range(5):
        graph = regular(degree).build(range(n), seed)
        assert graph.is_connected()
        assert max(map(graph.degree, graph.nodes)) <= degree
        assert 2 * len(graph.edges) >= 0.7 * degree * n


@pytest.mark.parametrize(
    ("degree", "n", "mean_bound"),
    [(2, 50, 3.0), (4, 8, 12.0), (4, 50, 9.0), (4, 200, 8.0), (8, 200, 16.0), (3, 50, 12.0), (5, 200, 20.0)],
)
def test_a_join_or_leave_changes_few_edges_in_the_mean(degree, n, mean_bound):
    """The sum of edges lost and gained; a graph drawn anew would change about degree·n of them."""
    changes = []
    for seed in range(8):
        graphs = [set(regular(degree).build(range(m), seed).edges) for m in range(n, n + 4)]
        changes += [len(a ^ b) for a, b in pairwise(graphs)]
    assert sum(changes) / len(changes) <= mean_bound


def test_random_regular_graphs_are_expanders():
    """λ of a large random d-regular graph is near (1 + 2√(d−1)) / (1 + d) under Metropolis weights [Friedman 2003]."""
    for n in (64, 256):
        _, weights = metropolis_matrix(regular(4).build(range(n), 0))
        assert second_eigenvalue(weights) < 0.95
        _, weights = metropolis_matrix(registry.build("ring").build(range(n), 0))
        assert second_eigenvalue(weights) > 0.99
