"""Random walks: where they go, how often, and what shunning the beaten path gains."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.graphs import connected, family
from topology.graph import Graph
from topology.samplers.walk import metropolis_hastings, self_repellent, step

RING = Graph({node: [(node - 1) % 16, (node + 1) % 16] for node in range(16)})


def walked(graph, alpha, num_steps, seed):
    """Return the visits of a walk from the first node."""
    visits, node = {}, graph.nodes[0]
    for draw in np.random.RandomState(seed).random_sample(num_steps).tolist():
        node = step(graph, node, draw, visits=visits, alpha=alpha)
        visits[node] = visits.get(node, 0) + 1
    return visits


def total_variation(visits, graph):
    """Return the distance of the shares of visits from the uniform distribution."""
    total = sum(visits.values())
    return sum(abs(visits.get(node, 0) / total - 1 / len(graph)) for node in graph.nodes) / 2


@settings(max_examples=40, deadline=None)
@given(connected())
def test_the_plain_walk_is_reversible_to_the_uniform_distribution(graph):
    rows = {node: metropolis_hastings(graph, node) for node in graph.nodes}
    for node, row in rows.items():
        assert list(row) == sorted({node, *graph.neighbours(node)})
        assert sum(row.values()) == pytest.approx(1)
        assert min(row.values()) >= 0
        assert all(p == rows[other][node] for other, p in row.items())


@settings(max_examples=40, deadline=None)
@given(connected(), st.data(), st.floats(0, 20))
def test_the_self_repellent_walk_is_reversible_to_what_theory_says(graph, data, alpha):
    """π_i(x) ∝ Σ_j μ_i P_ij (x_i/μ_i)^(−α) (x_j/μ_j)^(−α) [Doshi, Hu & Eun 2023]."""
    visits = {node: data.draw(st.integers(0, 9)) for node in graph.nodes}
    power = {node: (visits[node] + 1) ** -alpha for node in graph.nodes}
    plain = {node: metropolis_hastings(graph, node) for node in graph.nodes}
    measure = {i: sum(plain[i][j] * power[i] * power[j] for j in plain[i]) for i in graph.nodes}
    shunning = {node: self_repellent(graph, node, visits, alpha) for node in graph.nodes}
    for i in graph.nodes:
        assert sum(shunning[i].values()) == pytest.approx(1)
        for j in graph.neighbours(i):
            assert measure[i] * shunning[i][j] == pytest.approx(measure[j] * shunning[j][i], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(connected(), st.data())
def test_without_repulsion_visits_are_of_no_consequence(graph, data):
    visits = {node: data.draw(st.integers(0, 10**6)) for node in graph.nodes}
    for node in graph.nodes:
        plain = {other: p for other, p in metropolis_hastings(graph, node).items() if p > 0}
        assert self_repellent(graph, node, visits, 0.0) == pytest.approx(plain)


def test_what_was_visited_often_is_shunned():
    moves = self_repellent(RING, 3, {2: 1, 4: 3}, 2.0)
    assert moves == pytest.approx({2: 0.8, 4: 0.2})  # (1 + 1)^−2 : (3 + 1)^−2 = 4 : 1


def test_many_visits_and_much_repulsion_are_finite():
    moves = self_repellent(RING, 0, {1: 10**9, 15: 10**12}, 500.0)
    assert moves == {1: 1.0, 15: 0.0}
    assert step(RING, 0, 1 - 2**-53, visits={1: 10**9, 15: 10**12}, alpha=500.0) == 1


def test_shares_of_visits_get_nearer_with_more_repulsion():
    """Ring of 16, 3,000 steps; a single run of the reference had .068, .025, .016, .010."""
    means = [
        np.mean([total_variation(walked(RING, alpha, 3000, seed), RING) for seed in range(4)])
        for alpha in (0, 1, 5, 10)
    ]
    assert means == sorted(means, reverse=True)
    assert means == pytest.approx([0.068, 0.025, 0.016, 0.010], rel=0.4)


@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_all_are_visited_alike_whatever_their_degrees(alpha):
    graph = family("erdos-renyi", 12, seed=3, p=0.4)
    assert len(set(map(graph.degree, graph.nodes))) > 3
    assert graph.is_connected()
    assert total_variation(walked(graph, alpha, 6000, 1), graph) < 0.05


def test_the_draw_picks_by_cumulated_probabilities():
    path = Graph.from_edges("abc", ["ab", "bc"])
    assert metropolis_hastings(path, "a") == {"a": 0.5, "b": 0.5}
    assert [step(path, "a", draw) for draw in (0.0, 0.49, 0.5, 0.99)] == ["a", "a", "b", "b"]
    assert [step(path, "b", draw) for draw in (0.0, 0.5, 1 - 2**-53)] == ["a", "c", "c"]


def test_alone_it_stays():
    assert step(Graph({"a": []}), "a", 0.7, visits={"a": 10}, alpha=5.0) == "a"


@pytest.mark.parametrize("alpha", [-1.0, math.inf, math.nan])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        step(RING, 0, 0.5, alpha=alpha)
