"""Accelerated gossip against its recursion, and how fast it agrees."""

import pytest
import torch

from tests.aggregation.algorithms.swarm import Swarm, ring
from topology.spectra import second_eigenvalue


def swarm(n=8, own=1 / 3, **params):
    W = ring(n, own)
    return Swarm(W, "accelerated-gossip", {"second_eigenvalue": second_eigenvalue(W.numpy())} | params)


def disagreement(s):
    return (s.x - s.x.mean(0)).norm().item()


def mixes(s, num):
    for _ in range(num):
        s.mix()
    return s


@pytest.mark.parametrize("lazy", [True, False])
def test_it_is_the_recursion_of_the_paper(lazy):
    s = swarm(lazy=lazy, carry=True)
    eta = s.algorithm.config.eta
    W = (torch.eye(8) + s.W) / 2 if lazy else s.W
    before, x = s.x, W @ s.x
    for _ in range(11):
        before, x = x, (1 + eta) * W @ x - eta * before
    torch.testing.assert_close(mixes(s, 12).x, x, rtol=0, atol=1e-12)


def test_eta_makes_the_slowest_mode_a_double_root():
    """ρ² − (1 + η) λ₂ ρ + η has the double root √η."""
    s = swarm(lazy=False)
    eta, largest = s.algorithm.config.eta, s.algorithm.config.second_eigenvalue
    assert ((1 + eta) * largest) ** 2 == pytest.approx(4 * eta)


def test_the_mean_is_kept_and_agreement_comes_in_the_root_of_the_steps():
    fast, plain = swarm(24, carry=True), swarm(24, second_eigenvalue=0.0, lazy=False, carry=True)
    assert plain.algorithm.config.eta == 0
    mean, at_first = fast.x.mean(0), disagreement(fast)
    mixes(fast, 120)
    mixes(plain, 120)
    torch.testing.assert_close(fast.x.mean(0), mean, rtol=0, atol=1e-12)
    assert disagreement(fast) < 1e-6 * at_first
    assert disagreement(plain) > 1e-2 * at_first


def test_a_bipartite_graph_without_own_weight_agrees_because_mixing_is_lazy():
    s = swarm(8, own=0.0, second_eigenvalue=0.71, carry=True)  # W alone has the eigenvalue -1
    at_first = disagreement(s)
    assert disagreement(mixes(s, 80)) < 1e-7 * at_first


@pytest.mark.parametrize("lambda2", [0.0, 0.5, 0.99, 0.9999])
def test_a_wrong_eigenvalue_costs_speed_only(lambda2):
    s = swarm(8, second_eigenvalue=lambda2, carry=True)
    at_first = disagreement(s)
    assert disagreement(mixes(s, 300)) < 0.2 * at_first


def test_without_carry_the_motion_ends_with_the_round():
    s = swarm()
    s.mix(last=False)
    assert s.store["accelerated-gossip.s"].any()
    s.mix()
    assert not s.store["accelerated-gossip.s"].any()


@pytest.mark.parametrize("restart", [True, False])
def test_a_change_of_neighbours_stops_the_motion_if_so_set(restart):
    s = mixes(swarm(carry=True, restart=restart), 3)
    s.algorithm.on_view(s.store, s.ctx())
    assert s.store["accelerated-gossip.s"].any() != restart


def test_nobody_heard_rests():
    s = mixes(swarm(carry=True), 3)
    x = s.x.clone()
    s.mix(ok=torch.zeros_like(s.ok))
    assert torch.equal(s.x, x)
    assert not s.store["accelerated-gossip.s"].any()
