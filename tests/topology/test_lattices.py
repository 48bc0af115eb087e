"""Families that are exact: star, torus and grid, hypercube, exponential; against networkx, theory, and for every n."""

import math
from collections import Counter

import networkx as nx
import pytest

from topology.families import registry
from topology.families.positions import ordered
from topology.families.torus import shape
from topology.graph import Graph
from topology.matrices import metropolis_weights
from topology.spectra import second_eigenvalue


def build(name, n, seed=5, **params):
    return registry.build(name, params).build(range(n), seed)


def numbered(graph, name, seed=5):
    """The graph as networkx has it, nodes numbered in the order of the family."""
    rank = {node: i for i, node in enumerate(ordered(graph.nodes, seed, name))}
    return nx.relabel_nodes(graph.to_networkx(), rank)


def is_same(one, other):
    return nx.utils.graphs_equal(one, nx.Graph(other.edges))


def slem(graph):
    return second_eigenvalue(metropolis_weights(graph))


@pytest.mark.parametrize("n", [2, 3, 10, 31])
def test_star(n):
    graph = build("star", n)
    assert is_same(numbered(graph, "star"), nx.star_graph(n - 1))
    if n > 2:
        assert nx.diameter(graph.to_networkx()) == 2
        assert slem(graph) == pytest.approx(1 - 1 / n)


def test_everybody_may_be_the_hub_of_a_star():
    hubs = Counter(max(graph.nodes, key=graph.degree) for graph in (build("star", 6, seed) for seed in range(300)))
    assert len(hubs) == 6
    assert max(hubs.values()) < 100


def test_a_leaf_of_a_star_comes_and_goes_alone():
    family = registry.build("star")
    whole = family.build(range(20), 1)
    hub = max(whole.nodes, key=whole.degree)
    changed = {
        gone: len(set(whole.edges) ^ set(family.build([x for x in range(20) if x != gone], 1).edges))
        for gone in range(20)
    }
    assert changed == {gone: 19 + 18 if gone == hub else 1 for gone in range(20)}


@pytest.mark.parametrize(("n", "rows", "columns"), [(9, 3, 3), (12, 3, 4), (18, 3, 6), (25, 5, 5), (56, 7, 8)])
@pytest.mark.parametrize("wrap", [True, False])
def test_a_torus_that_n_divides_into_is_that_of_networkx(n, rows, columns, wrap):
    graph = build("torus", n, wrap=wrap)
    assert shape(n) == (rows, columns)
    grid = nx.relabel_nodes(nx.grid_2d_graph(rows, columns, periodic=wrap), lambda at: at[0] * columns + at[1])
    assert is_same(numbered(graph, "torus"), grid)
    if wrap:
        assert slem(graph) == pytest.approx(1 - 2 / 5 * (1 - math.cos(2 * math.pi / columns)))


def test_the_shape_of_a_torus():
    """The divisors nearest to each other, if they are near; else nearly a square with a short last row."""
    expected = {0: (1, 1), 1: (1, 1), 2: (1, 2), 3: (2, 2), 8: (2, 4), 10: (3, 4), 20: (4, 5), 22: (5, 5), 97: (10, 10)}
    assert {n: shape(n) for n in expected} == expected
    for n in range(1, 500):
        rows, columns = shape(n)
        assert (rows - 1) * columns < n <= rows * columns
        assert rows - 1 <= columns <= 2 * rows


@pytest.mark.parametrize("n", [*range(1, 60), 97, 101, 149, 240])
def test_a_torus_of_any_size_is_connected_nearly_regular_and_small(n):
    torus, grid = build("torus", n), build("torus", n, wrap=False)
    rows, columns = shape(n)
    assert nx.diameter(torus.to_networkx()) == rows // 2 + columns // 2
    assert grid.is_connected()
    assert set(grid.edges) <= set(torus.edges)
    assert max(map(grid.degree, grid.nodes)) <= 4
    if n >= 12:
        last = n - (rows - 1) * columns
        short = {1: {2: 1}, 2: {3: 2}}.get(last, {})
        assert Counter(map(torus.degree, torus.nodes)) == Counter({4: n - sum(short.values())} | short)


def test_a_grid_has_its_sides_and_corners():
    grid = build("torus", 35, wrap=False)
    assert Counter(map(grid.degree, grid.nodes)) == {4: 3 * 5, 3: 2 * (3 + 5), 2: 4}
    assert nx.diameter(grid.to_networkx()) == 5 + 7 - 2


@pytest.mark.parametrize("dimension", range(2, 8))
def test_a_hypercube_is_that_of_networkx(dimension):
    graph = build("hypercube", 2**dimension)
    cube = nx.relabel_nodes(nx.hypercube_graph(dimension), lambda bits: int("".join(map(str, bits)), 2))
    assert is_same(numbered(graph, "hypercube"), cube)
    assert nx.diameter(cube) == dimension
    assert slem(graph) == pytest.approx(1 - 2 / (dimension + 1))


@pytest.mark.parametrize("n", [*range(2, 36), 47, 63, 65, 100])
def test_a_hypercube_of_any_size_keeps_degree_diameter_and_connectivity(n):
    graph = build("hypercube", n)
    dimension = math.ceil(math.log2(n))
    degrees = set(map(graph.degree, graph.nodes))
    assert min(degrees) >= dimension - 1
    assert max(degrees) <= max(1, 2 * dimension - 2)
    assert nx.diameter(graph.to_networkx()) <= dimension
    assert nx.node_connectivity(graph.to_networkx()) >= dimension - 1


def test_who_differs_in_the_first_bit_only_stands_in():
    """Six of eight: 110 and 111 are missing, and 010 and 011 have their edges."""
    edges = {frozenset(edge) for edge in numbered(build("hypercube", 6), "hypercube").edges}
    square = {(0, 1), (0, 2), (1, 3), (2, 3)}
    assert edges == set(map(frozenset, square | {(0, 4), (1, 5), (4, 5)} | {(2, 4), (3, 5)}))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8, 16, 23, 64, 100, 129])
def test_an_exponential_graph_is_a_circulant(n):
    graph = build("exponential", n)
    hops = [2**k for k in range(math.ceil(math.log2(n)))]
    assert is_same(numbered(graph, "exponential"), nx.circulant_graph(n, hops))
    (degree,) = set(map(graph.degree, graph.nodes))
    assert degree <= 2 * len(hops)
    assert nx.diameter(graph.to_networkx()) <= len(hops) // 2 + 1


@pytest.mark.parametrize("t", range(3, 9))
def test_an_exponential_graph_of_a_power_of_two(t):
    graph = build("exponential", 2**t)
    assert set(map(graph.degree, graph.nodes)) == {2 * t - 1}
    assert slem(graph) == pytest.approx(1 - 2 / t)


@pytest.mark.parametrize("name", ["star", "torus", "hypercube", "exponential"])
def test_the_smallest(name):
    assert build(name, 2) == Graph.from_edges(range(2), [(0, 1)])
    assert build(name, 3).is_connected()
