import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.graphs import TEN, connected, family, of
from topology.edge_matrix import EdgeMatrix, edge_indices
from topology.graph import Graph
from topology.matrices import (
    lazy,
    max_degree_weights,
    metropolis_matrix,
    metropolis_weights,
    symmetric_weights,
    uniform_weights,
)
from topology.spectra import disagreement_extremes, second_eigenvalue, second_largest_eigenvalue, spectral_gap
from topology.weights import metropolis

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "gossip_matrix.json").read_text())
CASES = {case["name"]: case for case in GOLDEN["metropolis"]}


@pytest.mark.parametrize("name", CASES)
def test_golden_matrices(name):
    case = CASES[name]
    graph = Graph.from_edges(range(case["n"]), map(tuple, case["edges"]))
    nodes, weights = metropolis_matrix(graph)
    assert [graph.degree(node) for node in nodes] == case["degrees"]
    np.testing.assert_allclose(weights, case["W"], rtol=0, atol=1e-12)
    assert second_eigenvalue(weights) == pytest.approx(case["lambda_second"], abs=1e-12)
    assert spectral_gap(weights) == pytest.approx(case["spectral_gap"], abs=1e-12)
    for power in (1, 2, 4):
        raised = np.linalg.matrix_power(weights, power)
        assert second_eigenvalue(raised) == pytest.approx(case[f"lambda_W^{power}"], abs=1e-12)


def test_doubly_stochastic_on_an_irregular_graph():
    _, weights = metropolis_matrix(Graph.from_edges("abcde", [("a", "b"), ("a", "c"), ("a", "d")]))
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights[4, 4] == 1  # nobody's neighbour keeps its own
    assert second_eigenvalue(weights) == pytest.approx(1)


def test_one_node_agrees_with_itself():
    assert second_eigenvalue(metropolis_matrix(Graph.from_edges([0], []))[1]) == 0


def test_metropolis_weight_of_numbers_arrays_and_tensors_is_one_formula():
    pairs = [(0, 0), (1, 4), (4, 1), (3, 3), (2**40, 7)]
    expected = [1 / (1 + max(pair)) for pair in pairs]
    assert [metropolis(a, b) for a, b in pairs] == expected
    a, b = np.array(pairs, dtype=np.int64).T
    np.testing.assert_array_equal(metropolis(a, b), expected)
    left, right = torch.tensor(pairs, dtype=torch.float64).T
    assert metropolis(left, right).tolist() == expected


FROM_DEGREES = [metropolis_weights, max_degree_weights, uniform_weights]


@pytest.mark.parametrize("build", FROM_DEGREES)
@settings(max_examples=30)
@given(graph=connected())
def test_rows_sum_to_one_and_nobody_gives_itself_nothing(build, graph):
    matrix = build(graph)
    dense = matrix.dense()
    np.testing.assert_allclose(matrix.row_sums, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(dense.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (matrix.diagonal > 0).all()
    assert (dense >= 0).all()
    assert {(i, j) for i, j in np.argwhere(dense).tolist() if i < j} == set(graph.edges)


@settings(max_examples=30)
@given(graph=connected(), columns=st.integers(1, 4), seed=st.integers(0, 9))
def test_a_product_is_the_product_of_the_matrix_written_out(graph, columns, seed):
    x = np.random.default_rng(seed).normal(size=(len(graph), columns))
    for build in FROM_DEGREES:
        matrix = build(graph)
        np.testing.assert_allclose(matrix @ x, matrix.dense() @ x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(matrix @ x[:, 0], matrix.dense() @ x[:, 0], rtol=0, atol=1e-12)


def test_products_where_some_rows_or_all_have_no_edge():
    some = metropolis_weights(Graph.from_edges(range(4), [(1, 2)]))
    assert (some @ np.array([8.0, 2.0, 4.0, 9.0])).tolist() == [8, 3, 3, 9]
    nobody = metropolis_weights(Graph.from_edges(range(3), []))
    assert (nobody @ np.array([1.0, 2.0, 3.0])).tolist() == [1, 2, 3]
    assert nobody.dense().tolist() == np.eye(3).tolist()
    assert max_degree_weights(Graph.from_edges([], [])).dense().shape == (0, 0)


def test_matrices_of_a_path_by_hand():
    path = Graph.from_edges("abc", [("a", "b"), ("b", "c")])
    third = 1 / 3
    np.testing.assert_allclose(
        uniform_weights(path).dense(), [[0.5, 0.5, 0], [third, third, third], [0, 0.5, 0.5]], rtol=0, atol=1e-15
    )
    np.testing.assert_allclose(
        max_degree_weights(path).dense(),
        [[2 * third, third, 0], [third, third, third], [0, third, 2 * third]],
        rtol=0,
        atol=1e-15,
    )
    assert not uniform_weights(path).is_symmetric
    assert uniform_weights(path).nodes == ("a", "b", "c")
    assert edge_indices(path).tolist() == [[0, 1], [1, 2]]


@settings(max_examples=30)
@given(graph=connected())
def test_uniform_weights_agree_on_the_mean_weighted_by_degrees(graph):
    weights = uniform_weights(graph)
    pi = np.array([1.0 + graph.degree(node) for node in graph.nodes])
    np.testing.assert_allclose(pi @ weights.dense(), pi, rtol=0, atol=1e-12)


@settings(max_examples=30)
@given(graph=connected())
def test_metropolis_never_has_a_larger_second_eigenvalue_than_max_degree(graph):
    there, here = (second_largest_eigenvalue(build(graph)) for build in (max_degree_weights, metropolis_weights))
    assert here <= there + 1e-12


@pytest.mark.parametrize("build", FROM_DEGREES)
@pytest.mark.parametrize("graph", [family("ring", 9), of(nx.hypercube_graph(3)), family("complete", 6)])
def test_all_are_one_where_all_degrees_are_equal(build, graph):
    np.testing.assert_allclose(build(graph).dense(), metropolis_weights(graph).dense(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", TEN)
def test_lazy_halves_the_way_to_one(name):
    weights = symmetric_weights(TEN[name], np.full(len(TEN[name].edges), 0.45))
    low, high = disagreement_extremes(weights)
    assert disagreement_extremes(lazy(weights)) == pytest.approx(((1 + low) / 2, (1 + high) / 2), abs=1e-12)
    np.testing.assert_allclose(lazy(weights).dense(), (np.eye(len(weights)) + weights.dense()) / 2, rtol=0, atol=1e-15)


def test_lazy_keeps_both_directions_of_an_asymmetric_matrix():
    star = of(nx.star_graph(3))
    expected = (np.eye(4) + uniform_weights(star).dense()) / 2
    np.testing.assert_allclose(lazy(uniform_weights(star)).dense(), expected, rtol=0, atol=1e-15)


def test_ten_thousand_nodes_take_a_few_numbers_each():
    n, hops = 10_000, (1, 7, 49)
    graph = Graph.from_edges(range(n), [(i, (i + hop) % n) for i in range(n) for hop in hops])
    matrix = metropolis_weights(graph)
    assert isinstance(matrix, EdgeMatrix)
    assert matrix.edges.shape == (len(hops) * n, 2)
    wave = np.cos(2 * np.pi * np.arange(n) / n)
    eigenvalue = (1 + 2 * sum(np.cos(2 * np.pi * hop / n) for hop in hops)) / 7
    np.testing.assert_allclose(matrix @ wave, eigenvalue * wave, rtol=0, atol=1e-12)
