import json
from pathlib import Path

import numpy as np
import pytest
import torch

from topology.errors import GraphError
from topology.graph import Graph
from topology.matrices import metropolis_matrix, second_eigenvalue, spectral_gap
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


def test_asymmetric_matrices_are_refused():
    with pytest.raises(GraphError):
        second_eigenvalue(np.array([[0.5, 0.5], [0.0, 1.0]]))


def test_metropolis_weight_of_numbers_arrays_and_tensors_is_one_formula():
    pairs = [(0, 0), (1, 4), (4, 1), (3, 3), (2**40, 7)]
    expected = [1 / (1 + max(pair)) for pair in pairs]
    assert [metropolis(a, b) for a, b in pairs] == expected
    a, b = np.array(pairs, dtype=np.int64).T
    np.testing.assert_array_equal(metropolis(a, b), expected)
    left, right = torch.tensor(pairs, dtype=torch.float64).T
    assert metropolis(left, right).tolist() == expected
