"""Gossip averaging alone converges at the rate that eigenvalues predict, on ten families of graphs."""

import itertools
import math

import numpy as np
import pytest
import torch

from tests.aggregation.test_mixing import gossip
from tests.topology.graphs import TEN
from topology.chebyshev import chebyshev_steps, omegas
from topology.matrices import lazy, max_degree_weights, metropolis_weights
from topology.mixing_time import mixing_time
from topology.optimal_weights import best_constant_weights
from topology.spectra import edge_rates, laplacian, pairwise_contraction, second_eigenvalue


def start(n, seed=0):
    """Peers that disagree, and whose mean is far from 0."""
    return 5.0 + np.random.default_rng((n, seed)).normal(size=n)


def disagreement(x):
    return float(np.linalg.norm(x - x.mean()))


def contraction_in_the_long_run(step, x, warm_up=300, measured=100):
    """Share of the disagreement that a step leaves, geometric mean over `measured` steps after `warm_up`.

    Disagreement is blown up to length one again after each step, before it sinks into the rounding of the mean.
    """
    mean, logarithms = x.mean(), []
    for _ in range(warm_up + measured):
        x = mean + (x - x.mean()) / disagreement(x)
        x = step(x)
        assert x.mean() == pytest.approx(mean, abs=1e-12)
        if disagreement(x) < 1e-12:
            return 0.0
        logarithms.append(math.log(disagreement(x)))
    return math.exp(np.mean(logarithms[warm_up:]))


@pytest.mark.parametrize("name", TEN)
@pytest.mark.parametrize(
    "build",
    [metropolis_weights, max_degree_weights, best_constant_weights, lambda graph: lazy(metropolis_weights(graph))],
    ids=["metropolis", "max-degree", "best-constant", "lazy"],
)
def test_the_long_run_contraction_is_the_second_eigenvalue(name, build):
    weights = build(TEN[name])
    measured = contraction_in_the_long_run(lambda x: weights @ x, start(len(weights)))
    assert measured == pytest.approx(second_eigenvalue(weights), rel=0.01, abs=1e-9)


@pytest.mark.parametrize("name", TEN)
def test_so_it_is_for_the_mixing_rule_that_peers_run(name):
    graph = TEN[name]

    def step(x):
        return gossip(graph, torch.from_numpy(x)[:, None]).numpy()[:, 0]

    measured = contraction_in_the_long_run(step, start(len(graph)), warm_up=60, measured=15)
    assert measured == pytest.approx(second_eigenvalue(metropolis_weights(graph)), rel=0.01, abs=1e-9)


@pytest.mark.parametrize("name", TEN)
@pytest.mark.parametrize("epsilon", [1e-2, 1e-7])
def test_any_start_agrees_in_the_predicted_steps(name, epsilon):
    """Plain and Chebyshev; from a random start it is within the prediction, and not much below it."""
    weights = metropolis_weights(TEN[name])
    second, x = second_eigenvalue(weights), start(len(TEN[name]))
    goal = epsilon * disagreement(x)

    plain = x
    for steps in range(mixing_time(second, epsilon)):
        assert steps == 0 or disagreement(plain) > goal * 1e-2
        plain = weights @ plain
    assert disagreement(plain) <= goal + 1e-12

    before, now = np.zeros_like(x), x
    for omega in itertools.islice(omegas(second), chebyshev_steps(second, epsilon)):
        before, now = now, omega * (weights @ now) + (1 - omega) * before
    assert disagreement(now) <= goal + 1e-12
    assert now.mean() == pytest.approx(x.mean(), abs=1e-12)


def mean_square_after(meetings, graph, shares, x):
    """E‖x‖² after so many meetings of pairs, exactly."""
    identity = np.eye(len(graph))
    differences = [identity[i] - identity[j] for i, j in graph.edges]
    means_ENN = np.stack([identity - np.outer(b, b) / 2 for b in differences])
    covariance = np.outer(x, x)
    for _ in range(meetings):
        covariance = np.tensordot(shares, means_ENN @ covariance @ means_ENN, axes=1)
    return np.trace(covariance)


@pytest.mark.parametrize("name", TEN)
def test_pairs_that_meet_at_random_agree_at_the_rate_of_their_laplacian(name):
    """4000 runs at once, edges at rates that differ, all from the slowest mode v: E⟨v, x⟩ falls by λ₂(E[W]) each.

    E‖x − x̄‖² is the trace of the covariance, C ← Σ_e p_e W_e C W_e, and at most λ₂(E[W]) to the number of meetings.
    """
    graph = TEN[name]
    runs, meetings = 4000, 60
    rates = {edge: 1.0 + place % 3 for place, edge in enumerate(graph.edges)}
    predicted = pairwise_contraction(graph, rates)
    values, vectors = np.linalg.eigh(laplacian(graph, rates))
    slowest = vectors[:, 1]
    assert 1 - values[1] / (2 * sum(rates.values())) == pytest.approx(predicted)

    random = np.random.default_rng(7)
    edges, shares = np.array(graph.edges), edge_rates(graph, rates) / sum(rates.values())
    x_RN = np.tile(slowest, (runs, 1))
    everybody = np.arange(runs)
    for _ in range(meetings):
        i, j = edges[random.choice(len(edges), size=runs, p=shares)].T
        x_RN[everybody, i] = x_RN[everybody, j] = (x_RN[everybody, i] + x_RN[everybody, j]) / 2
    projections = x_RN @ slowest
    error = 4 * projections.std() / math.sqrt(runs)
    assert error < max(0.1 * predicted**meetings, 0.01)
    assert projections.mean() == pytest.approx(predicted**meetings, abs=error)
    squares = np.square(x_RN - x_RN.mean(axis=1, keepdims=True)).sum(axis=1)
    expected = mean_square_after(meetings, graph, shares, slowest)
    assert squares.mean() == pytest.approx(expected, abs=5 * squares.std() / math.sqrt(runs))
    assert predicted ** (2 * meetings) <= expected <= predicted**meetings
    np.testing.assert_allclose(x_RN.sum(axis=1), 0, rtol=0, atol=1e-12)
