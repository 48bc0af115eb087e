"""Weights that mix fastest, against closed forms, a bound by duality, and each other."""

import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.graphs import TEN, connected, family, of
from topology import optimal_weights, semidefinite
from topology.errors import GraphError, MissingSolverError, TopologyError, UnsolvedError
from topology.graph import Graph
from topology.matrices import max_degree_weights, metropolis_weights, symmetric_weights
from topology.optimal_rates import optimal_rates
from topology.optimal_weights import (
    best_constant_weight,
    best_constant_weights,
    fastest_averaging_weights,
    fastest_mixing_weights,
    is_known_edge_transitive,
)
from topology.spectra import second_eigenvalue

EDGE_TRANSITIVE = {
    "complete6": of(nx.complete_graph(6)),
    "ring7": family("ring", 7),
    "ring8": family("ring", 8),
    "star7": of(nx.star_graph(6)),
    "K3,5": of(nx.complete_bipartite_graph(3, 5)),
    "hypercube3": of(nx.hypercube_graph(3)),
    "hypercube4": of(nx.hypercube_graph(4)),
    "pair": Graph.from_edges("ab", [("a", "b")]),
    "alone": Graph.from_edges([0], []),
}
OTHERS = {
    "path": of(nx.path_graph(5)),
    "cube but one edge turned": Graph.from_edges(
        range(8),
        [(a, b) for a, b in of(nx.hypercube_graph(3)).edges if (a, b) not in {(0, 1), (6, 7)}] + [(0, 6), (1, 7)],
    ),
    "prism": of(nx.circular_ladder_graph(5)),
    "moebius": of(nx.circulant_graph(8, [1, 4])),  # 8 nodes of degree 3 like the cube
    "two rings": of(nx.disjoint_union(nx.cycle_graph(4), nx.cycle_graph(4))),
    "barbell": TEN["barbell"],
}


@pytest.fixture
def solved(monkeypatch):
    """The program is solved on all graphs, closed form or not."""
    monkeypatch.setattr(optimal_weights, "is_known_edge_transitive", lambda graph: False)


def constant(graph, weight):
    return second_eigenvalue(symmetric_weights(graph, np.full(len(graph.edges), weight)))


@pytest.mark.parametrize("name", EDGE_TRANSITIVE)
def test_edge_transitive_graphs_are_recognised(name):
    assert is_known_edge_transitive(EDGE_TRANSITIVE[name])


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not(name):
    assert not is_known_edge_transitive(OTHERS[name])


def test_hypercubes_are_recognised_by_whatever_names_they_have():
    cube = of(nx.hypercube_graph(5))
    names = np.random.default_rng(3).permutation(32).tolist()
    assert is_known_edge_transitive(Graph.from_edges(range(32), [(names[a], names[b]) for a, b in cube.edges]))


@pytest.mark.parametrize("dimension", [3, 4])
def test_random_regular_graphs_of_the_size_of_a_cube_are_cubes_when_they_are(dimension):
    cube = nx.hypercube_graph(dimension)
    for seed in range(30):
        random = nx.random_regular_graph(dimension, 2**dimension, seed=seed)
        assert is_known_edge_transitive(of(random)) == nx.is_isomorphic(random, cube)


@pytest.mark.parametrize("name", EDGE_TRANSITIVE)
def test_the_program_finds_what_the_closed_form_says(name, solved):
    """Complete: λ = 0. Star of n: (n−1)/(n+1). Ring, hypercube: (λ₁ − λ_{n−1}) / (λ₁ + λ_{n−1})."""
    graph = EDGE_TRANSITIVE[name]
    if len(graph) == 1:
        return
    assert second_eigenvalue(fastest_averaging_weights(graph)) == pytest.approx(
        second_eigenvalue(best_constant_weights(graph)), abs=1e-6
    )
    largest = max(graph.degree(node) for node in graph.nodes)
    clipped = constant(graph, min(best_constant_weight(graph), 1 / largest))
    assert second_eigenvalue(fastest_mixing_weights(graph)) == pytest.approx(clipped, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "averaging", "mixing"),
    [
        ("complete6", 0, 0),
        ("star7", 6 / 8, 5 / 6),  # the chain may give no leaf more than 1/6
        ("hypercube3", 1 / 2, 1 / 2),
        ("hypercube4", 3 / 5, 3 / 5),
        ("ring8", (4 - 0.585786437626905) / (4 + 0.585786437626905), (4 - 0.585786437626905) / (4 + 0.585786437626905)),
        ("alone", 0, 0),
    ],
)
def test_closed_forms_by_hand(name, averaging, mixing):
    assert second_eigenvalue(fastest_averaging_weights(EDGE_TRANSITIVE[name])) == pytest.approx(averaging, abs=1e-12)
    assert second_eigenvalue(fastest_mixing_weights(EDGE_TRANSITIVE[name])) == pytest.approx(mixing, abs=1e-12)


def test_large_closed_forms_need_no_program(monkeypatch):
    monkeypatch.setattr(optimal_weights, "modelling", None)
    assert second_eigenvalue(fastest_averaging_weights(of(nx.hypercube_graph(10)))) == pytest.approx(9 / 11, abs=1e-6)


@pytest.mark.parametrize("name", TEN)
def test_each_freedom_more_is_no_slower(name):
    graph = TEN[name]
    averaging, mixing = fastest_averaging_weights(graph), fastest_mixing_weights(graph)
    best, chain, one_weight = (second_eigenvalue(w) for w in (averaging, mixing, best_constant_weights(graph)))
    assert best <= min(chain, one_weight) + 1e-6
    assert chain <= min(second_eigenvalue(build(graph)) for build in (metropolis_weights, max_degree_weights)) + 1e-6
    assert (mixing.dense() >= 0).all()
    for weights in (averaging, mixing):
        np.testing.assert_allclose(weights.row_sums, 1, rtol=0, atol=1e-12)
        assert weights.is_symmetric


@settings(max_examples=10)
@given(graph=connected(8), seed=st.integers(0, 99))
def test_no_other_weights_are_faster(graph, seed):
    """λ is convex in the weights: a step from the optimum in any direction, small or large, cannot make it smaller."""
    averaging = fastest_averaging_weights(graph)
    best, random = second_eigenvalue(averaging), np.random.default_rng(seed)
    for length in (1e-3, 1e-1):
        for _ in range(10):
            moved = averaging.upper + length * random.normal(size=len(graph.edges))
            assert second_eigenvalue(symmetric_weights(graph, moved)) >= best - 1e-6


def test_on_a_wheel_they_are_the_best_of_a_fine_grid():
    """By symmetry all spokes of a wheel have one weight and all of its rim another: two numbers can be tried out."""
    wheel = of(nx.wheel_graph(9))  # node 0 is the hub
    spokes = np.array([a == 0 for a, _ in wheel.edges])
    spoke, rim = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 0.3, 121), np.linspace(-0.1, 0.6, 141)))
    parts = [symmetric_weights(wheel, on.astype(float)).dense() - np.eye(9) for on in (spokes, ~spokes)]
    left = np.eye(9) - 1 / 9 + spoke[:, None, None] * parts[0] + rim[:, None, None] * parts[1]
    second = np.abs(np.linalg.eigvalsh(left)).max(axis=1)
    is_chain = (rim >= 0) & (8 * spoke <= 1) & (spoke + 2 * rim <= 1)
    averaging = second_eigenvalue(fastest_averaging_weights(wheel))
    mixing = second_eigenvalue(fastest_mixing_weights(wheel))
    assert second.min() - 0.01 < averaging <= second.min() + 1e-6
    assert second[is_chain].min() - 0.01 < mixing <= second[is_chain].min() + 1e-6
    assert averaging < mixing - 0.02


@settings(max_examples=30)
@given(graph=connected())
def test_the_best_constant_weight_is_the_best_of_all(graph):
    best = best_constant_weight(graph)
    at_best = constant(graph, best)
    assert all(constant(graph, best * factor) >= at_best - 1e-12 for factor in (0.5, 0.99, 1.01, 1.5))


def test_negative_weights_are_worth_a_third_of_the_gap_of_a_barbell():
    barbell = of(nx.barbell_graph(8, 0))
    averaging, mixing = fastest_averaging_weights(barbell), fastest_mixing_weights(barbell)
    assert min(averaging.upper.min(), averaging.diagonal.min()) < -0.01
    assert 1 - second_eigenvalue(averaging) > 1.3 * (1 - second_eigenvalue(mixing))
    assert 1 - second_eigenvalue(mixing) > 2 * (1 - second_eigenvalue(metropolis_weights(barbell)))


@pytest.mark.parametrize("build", [best_constant_weights, fastest_averaging_weights, fastest_mixing_weights])
@pytest.mark.parametrize("graph", [OTHERS["two rings"], Graph.from_edges(range(2), []), Graph.from_edges([], [])])
def test_graphs_that_never_agree_are_refused(build, graph):
    with pytest.raises(GraphError, match="connected"):
        build(graph)


@pytest.mark.parametrize("missing", ["cvxpy", "clarabel"])
@pytest.mark.parametrize("build", [fastest_averaging_weights, fastest_mixing_weights, optimal_rates])
def test_without_the_solver_the_error_says_what_to_install(build, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingSolverError, match=r"pip install 'murmuration\[optimal\]'") as caught:
        build(TEN["path"])
    assert isinstance(caught.value, TopologyError)


def test_what_the_solver_does_not_solve_is_an_error():
    cp = semidefinite.modelling()
    x = cp.Variable()
    with pytest.raises(UnsolvedError, match="a program: the solver ended as infeasible"):
        semidefinite.solve(cp.Problem(cp.Minimize(x), [x >= 1, x <= 0]), "a program")
    with pytest.raises(UnsolvedError, match="unbounded"):
        semidefinite.solve(cp.Problem(cp.Minimize(x)), "a program", nearly=True)


@pytest.mark.parametrize("nearly", [False, True])
def test_almost_solved_is_enough_only_for_callers_who_measure(nearly, monkeypatch):
    cp = semidefinite.modelling()
    problem = cp.Problem(cp.Minimize(cp.Variable(nonneg=True)))
    monkeypatch.setattr(type(problem), "status", property(lambda _: cp.OPTIMAL_INACCURATE))
    if nearly:
        semidefinite.solve(problem, "a program", nearly=True)
    else:
        with pytest.raises(UnsolvedError, match="optimal_inaccurate"):
            semidefinite.solve(problem, "a program")
