"""χ₁ and χ₂ against the authors' figures and against what is known of them."""

import json
import math
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings

from aggregation.algorithms import registry
from tests.topology.graphs import TEN, connected, family, of
from topology import lanczos, spectra
from topology.errors import GraphError, UnsolvedError
from topology.graph import Graph
from topology.matrices import lazy, metropolis_matrix, metropolis_weights, symmetric_weights, uniform_weights
from topology.spectra import (
    DENSE_UP_TO,
    algebraic_connectivity,
    chi,
    disagreement_extremes,
    laplacian,
    laplacian_extremes,
    least_rate,
    pairwise_contraction,
    second_eigenvalue,
    second_largest_eigenvalue,
    smallest_eigenvalue,
    sparse_laplacian,
)

GOLDEN = Path(__file__).parents[1] / "golden"
DADAO = json.loads((GOLDEN / "dadao_step.json").read_text())["graph_quantities"]["cases"]
ACID = json.loads((GOLDEN / "acid_step.json").read_text())["constants"]["cases"]
RATES = json.loads((GOLDEN / "dadao_optimal_rates.json").read_text())["cases"]


def cycle(n):
    return Graph.from_edges(range(n), [(i, (i + 1) % n) for i in range(n)])


def graph_of(case):
    return Graph.from_edges(range(case["n"]), map(tuple, case["edges"]))


@pytest.mark.parametrize("case", DADAO, ids=lambda case: case["name"])
def test_dadao_quantities_are_the_authors(case):
    graph = graph_of(case)
    num_edges = len(graph.edges)
    assert chi(graph, 1 / num_edges) == pytest.approx((case["chi1_norm"], case["chi2_norm"]), rel=1e-9)
    assert least_rate(graph) * num_edges == pytest.approx(case["lambda_mix_total"], rel=1e-9)
    chi1, chi2 = chi(graph, least_rate(graph))
    assert (chi1, chi2) == pytest.approx((case["chi1_star"], case["chi2_star"]), rel=1e-9)
    assert 2 * chi1 * chi2 == pytest.approx(1.0)


@pytest.mark.parametrize("case", RATES, ids=lambda case: case["name"])
def test_the_least_uniform_rate_is_that_of_the_golden_file(case):
    graph = graph_of(case)
    assert least_rate(graph) * len(graph.edges) == pytest.approx(case["uniform_total"], rel=1e-9)


@pytest.mark.parametrize("case", ACID, ids=lambda case: f"{case['topology']}{case['n']}-{case['rate_com']}")
def test_acid_constants_are_the_authors(case):
    """A node meets each neighbour at rate / degree; the authors' exponential graph lists the peer opposite twice."""
    n, hops = case["n"], [1]
    if case["topology"] == "exponential":
        hops = [1 << k for k in range((n - 1).bit_length())]
    listed = [(i + sign * hop) % n for i in range(1) for hop in hops for sign in (1, -1)]
    rates = {}
    for i in range(n):
        for other in listed:
            j = (i + other) % n
            rates[min(i, j), max(i, j)] = listed.count(other) / len(listed)
    graph = Graph.from_edges(range(n), rates)
    chi1, chi2 = chi(graph, {edge: case["rate_com"] * rate for edge, rate in rates.items()})
    assert (chi1, chi2) == pytest.approx((case["chi1"], case["chi2"]), rel=1e-9)
    at_one = chi(graph, rates)
    config = registry.check("acid", {"chi1": at_one[0], "chi2": at_one[1], "rate": case["rate_com"]})
    assert (config.eta, config.alpha_tilde) == pytest.approx((case["eta"], case["alpha_tilde"]), rel=1e-9)


def test_chi2_is_at_most_chi1_and_equal_on_the_complete_graph():
    complete = Graph.from_edges(range(6), [(i, j) for i in range(6) for j in range(i)])
    assert chi(complete)[0] == pytest.approx(chi(complete)[1]) == pytest.approx(1 / 6)
    for graph in (cycle(5), cycle(12), Graph.from_edges(range(4), [(0, 1), (1, 2), (1, 3)])):
        assert chi(graph)[1] < chi(graph)[0]


def test_more_meetings_are_proportionally_smaller_chis():
    assert chi(cycle(7), 3.0) == pytest.approx(tuple(value / 3 for value in chi(cycle(7))))


def test_the_laplacian_by_hand():
    graph = Graph.from_edges("abc", [("a", "b"), ("b", "c")])
    expected = [[2.0, -2.0, 0.0], [-2.0, 5.0, -3.0], [0.0, -3.0, 3.0]]
    assert laplacian(graph, {("a", "b"): 2.0, ("b", "c"): 3.0}).tolist() == expected
    assert chi(graph, {("a", "b"): 2.0, ("b", "c"): 3.0})[1] == pytest.approx(1 / 4)  # a bridge has resistance 1/λ_e


@pytest.mark.parametrize(
    ("graph", "rate"),
    [(Graph.from_edges(range(4), [(0, 1), (2, 3)]), 1.0), (Graph.from_edges([0], []), 1.0), (cycle(4), 0.0)],
)
def test_graphs_that_never_agree_are_refused(graph, rate):
    with pytest.raises(GraphError, match="connected"):
        chi(graph, rate)


def test_the_smallest_eigenvalue_of_a_ring():
    _, weights = metropolis_matrix(cycle(8))
    assert smallest_eigenvalue(weights) == pytest.approx(1 / 3 - 2 / 3)
    with pytest.raises(GraphError, match="symmetric"):
        smallest_eigenvalue(np.array([[1.0, 0.0], [0.5, 0.5]]))


@pytest.mark.parametrize(
    ("graph", "smallest", "largest"),
    [
        (family("ring", 10), 2 - 2 * math.cos(2 * math.pi / 10), 4),
        (of(nx.path_graph(7)), 2 - 2 * math.cos(math.pi / 7), 2 + 2 * math.cos(math.pi / 7)),
        (family("complete", 6), 6, 6),
        (of(nx.star_graph(8)), 1, 9),
        (of(nx.hypercube_graph(5)), 2, 10),
        (of(nx.complete_bipartite_graph(3, 5)), 3, 8),
        (
            of(nx.grid_2d_graph(5, 5, periodic=True)),
            2 - 2 * math.cos(2 * math.pi / 5),
            4 - 4 * math.cos(4 * math.pi / 5),
        ),
        (Graph.from_edges([0], []), 0, 0),
        (Graph.from_edges(range(5), [(0, 1), (1, 2), (3, 4)]), 0, 3),
        (Graph.from_edges(range(3), []), 0, 0),
    ],
)
def test_laplacian_spectra_that_are_known(graph, smallest, largest):
    assert laplacian_extremes(graph) == pytest.approx((smallest, largest), abs=1e-12)
    assert (algebraic_connectivity(graph) == 0) == (smallest == 0)
    assert laplacian_extremes(graph, 2.5) == pytest.approx((2.5 * smallest, 2.5 * largest), abs=1e-12)


def test_an_edge_of_rate_zero_connects_nobody():
    path = Graph.from_edges(range(3), [(0, 1), (1, 2)])
    assert algebraic_connectivity(path, {(0, 1): 1.0, (1, 2): 0.0}) == 0
    with pytest.raises(GraphError, match="connected"):
        chi(path, {(0, 1): 1.0, (1, 2): 0.0})
    ring = {(0, 1): 1.0, (1, 2): 1.0, (2, 3): 1.0, (0, 3): 0.0}
    assert chi(cycle(4), ring)[1] == pytest.approx(3 / 2)  # from 0 to 3 the long way round, which is three in a row


@pytest.mark.parametrize(("rates", "match"), [({(0, 1): 1.0}, "no rate"), (-1.0, "not negative"), (math.inf, "finite")])
def test_rates_that_are_none_are_refused(rates, match):
    with pytest.raises(GraphError, match=match):
        algebraic_connectivity(Graph.from_edges(range(3), [(0, 1), (1, 2)]), rates)


@settings(max_examples=30)
@given(graph=connected())
def test_extremes_are_those_of_the_matrix_written_out(graph):
    weights = symmetric_weights(graph, np.linspace(-0.1, 0.7, len(graph.edges)))
    dense = weights.dense()
    n = len(graph)
    expected = second_eigenvalue(dense)
    assert expected == pytest.approx(np.linalg.norm(dense - 1 / n, 2), abs=1e-12)
    assert second_eigenvalue(weights) == pytest.approx(expected, abs=1e-12)
    assert disagreement_extremes(weights) == pytest.approx(disagreement_extremes(dense), abs=1e-12)
    assert smallest_eigenvalue(weights) == pytest.approx(np.linalg.eigvalsh(dense)[0], abs=1e-12)


def test_the_sign_of_the_second_eigenvalue():
    nothing_for_oneself = symmetric_weights(family("complete", 5), np.full(10, 1 / 4))
    assert second_largest_eigenvalue(nothing_for_oneself) == pytest.approx(-1 / 4)
    assert second_eigenvalue(nothing_for_oneself) == pytest.approx(1 / 4)
    too_much = symmetric_weights(cycle(8), np.full(8, 0.6))  # -1.4 at the alternating vector: diverges
    assert second_eigenvalue(too_much) == pytest.approx(1.4)
    assert second_largest_eigenvalue(too_much) == pytest.approx(-0.2 + 1.2 * math.cos(math.pi / 4))
    alone = metropolis_weights(Graph.from_edges([0], []))
    assert (second_eigenvalue(alone), second_largest_eigenvalue(alone), smallest_eigenvalue(alone)) == (0, 0, 1)
    assert smallest_eigenvalue(alone.dense()) == 1


def test_matrices_that_do_not_average_are_refused():
    with pytest.raises(GraphError, match="symmetric"):
        second_eigenvalue(np.array([[0.5, 0.5], [0.0, 1.0]]))
    with pytest.raises(GraphError, match="symmetric"):
        second_eigenvalue(uniform_weights(of(nx.star_graph(3))))
    with pytest.raises(GraphError, match="sum to 1"):
        second_eigenvalue(np.eye(3) / 2)
    with pytest.raises(GraphError, match="sum to 1"):
        second_eigenvalue(sparse_laplacian(cycle(4)))


LARGE = {
    "ring": (family("ring", 700), 2 - 2 * math.cos(2 * math.pi / 700), 4.0),
    "path": (of(nx.path_graph(701)), 2 - 2 * math.cos(math.pi / 701), 2 + 2 * math.cos(math.pi / 701)),
    "star": (of(nx.star_graph(999)), 1.0, 1000.0),
    "hypercube": (of(nx.hypercube_graph(10)), 2.0, 20.0),
    "grid": (of(nx.grid_2d_graph(24, 25)), 2 - 2 * math.cos(math.pi / 25), None),
    "apart": (of(nx.disjoint_union(nx.cycle_graph(300), nx.cycle_graph(300))), 0.0, 4.0),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_graphs_have_the_spectra_that_are_known(name):
    graph, smallest, largest = LARGE[name]
    assert len(graph) > DENSE_UP_TO
    found = laplacian_extremes(graph)
    assert found[0] == pytest.approx(smallest, rel=1e-6)
    assert (found[0] == 0) == (smallest == 0)
    assert largest is None or found[1] == pytest.approx(largest, rel=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        family("regular", 600, degree=6),
        of(nx.barabasi_albert_graph(600, 3, seed=5)),
        of(nx.barbell_graph(20, 500)),
        of(nx.random_geometric_graph(600, 0.08, seed=11)),
    ],
    ids=["regular", "barabasi-albert", "barbell", "geometric"],
)
def test_large_graphs_give_what_their_dense_matrices_give(graph):
    for weights in (metropolis_weights(graph), lazy(metropolis_weights(graph))):
        low, high = disagreement_extremes(weights)
        dense_low, dense_high = disagreement_extremes(weights.dense())
        assert low == pytest.approx(dense_low, abs=1e-6)
        assert 1 - high == pytest.approx(1 - dense_high, rel=1e-6, abs=1e-12)


def test_a_hub_does_not_hide_how_thin_its_tail_is(monkeypatch):
    """Eigenvalues 3.7e-5 and 602 in one spectrum."""
    broom = of(nx.disjoint_union(nx.star_graph(600), nx.path_graph(300)))
    broom = Graph.from_edges(broom.nodes, [*broom.edges, (0, 601)])
    found = laplacian_extremes(broom)
    monkeypatch.setattr(spectra, "DENSE_UP_TO", len(broom))
    assert found == pytest.approx(laplacian_extremes(broom), rel=1e-6)
    assert found == pytest.approx((3.74e-5, 602), rel=0.01)


@settings(max_examples=30)
@given(graph=connected())
def test_lanczos_on_small_graphs_is_the_dense_result(graph):
    matrix = laplacian(graph)
    found = lanczos.extreme_eigenvalues(lambda x: matrix @ x, len(graph))
    assert found == pytest.approx(laplacian_extremes(graph), rel=1e-6)


def test_lanczos_of_a_matrix_with_one_eigenvalue():
    assert lanczos.extreme_eigenvalues(lambda x: 0.0 * x, 5) == (0.0, 0.0)
    assert lanczos.extreme_eigenvalues(lambda x: 3.0 * x, 5) == pytest.approx((3.0, 3.0))


def test_lanczos_says_so_when_it_gives_up(monkeypatch):
    monkeypatch.setattr(lanczos, "MAX_STEPS", 64)
    monkeypatch.setattr(spectra, "DENSE_UP_TO", 10)
    with pytest.raises(UnsolvedError, match="after 64 steps"):
        algebraic_connectivity(of(nx.path_graph(400)))


def test_pairs_that_meet_at_random():
    """By hand: on a path of three, one of two edges is averaged; E[W] = I − L/4 and λ₂(L) = 1."""
    path = Graph.from_edges(range(3), [(0, 1), (1, 2)])
    assert pairwise_contraction(path) == pytest.approx(3 / 4)
    assert pairwise_contraction(path, 17.0) == pytest.approx(3 / 4)
    matrices = []
    for i, j in path.edges:
        difference = np.eye(3)[i] - np.eye(3)[j]
        matrices.append(np.eye(3) - np.outer(difference, difference) / 2)
    assert second_eigenvalue(0.3 * matrices[0] + 0.7 * matrices[1]) == pytest.approx(
        pairwise_contraction(path, {(0, 1): 3.0, (1, 2): 7.0})
    )
    with pytest.raises(GraphError, match="meet"):
        pairwise_contraction(path, 0.0)


@pytest.mark.parametrize("name", TEN)
def test_fiedler_bounds_hold_on_ten_families(name):
    graph = TEN[name]
    n, least_degree = len(graph), min(graph.degree(node) for node in graph.nodes)
    value = algebraic_connectivity(graph)
    assert value <= n / (n - 1) * least_degree + 1e-12
    assert value >= 2 - 2 * math.cos(math.pi / n) - 1e-12  # no connected graph is worse than the path
