"""Accelerated gossip against matrices: polynomials, rates and steps."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.graphs import TEN
from topology import chebyshev, mixing_time
from topology.errors import GraphError
from topology.matrices import lazy, metropolis_weights
from topology.spectra import second_eigenvalue

seconds = st.floats(0, 0.999)
epsilons = st.floats(1e-9, 0.9)


def lazy_of(name):
    """A gossip matrix whose largest magnitude is λ₂ itself, so that all bounds are attained; and λ."""
    weights = lazy(metropolis_weights(TEN[name])).dense()
    return weights, second_eigenvalue(weights)


def semi_iterative(weights, second, steps):
    """P_k(W), by the two-term recursion on the identity."""
    before, now = np.zeros_like(weights), np.eye(len(weights))
    for omega in itertools.islice(chebyshev.omegas(second), steps):
        before, now = now, omega * weights @ now + (1 - omega) * before
    return now


def shift_register(weights, second, steps):
    eta = chebyshev.shift_register_momentum(second)
    before, now = np.eye(len(weights)), weights
    for _ in range(steps - 1):
        before, now = now, (1 + eta) * weights @ now - eta * before
    return now


def left(matrix):
    """What is left of the disagreement at worst."""
    return np.linalg.norm(matrix - 1 / len(matrix), 2)


@pytest.mark.parametrize("name", TEN)
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 25])
def test_contractions_are_attained(name, steps):
    weights, second = lazy_of(name)
    assert left(semi_iterative(weights, second, steps)) == pytest.approx(
        chebyshev.chebyshev_contraction(second, steps), rel=1e-6, abs=1e-12
    )
    assert left(shift_register(weights, second, steps)) == pytest.approx(
        chebyshev.shift_register_contraction(second, steps), rel=1e-6, abs=1e-12
    )


@pytest.mark.parametrize("name", TEN)
@pytest.mark.parametrize("epsilon", [0.3, 1e-3, 1e-6])
def test_the_numbers_of_steps_are_those_that_it_takes(name, epsilon):
    weights, second = lazy_of(name)
    for steps_to, after in (
        (mixing_time.mixing_time, lambda w, _, k: np.linalg.matrix_power(w, k)),
        (chebyshev.chebyshev_steps, semi_iterative),
        (chebyshev.shift_register_steps, shift_register),
    ):
        steps = steps_to(second, epsilon)
        assert left(after(weights, second, steps)) <= epsilon * (1 + 1e-6) + 1e-12
        assert steps == 1 or left(after(weights, second, steps - 1)) > epsilon * (1 - 1e-6)


@given(second=seconds, epsilon=epsilons)
def test_chebyshev_is_the_fastest_of_the_three_and_all_obey_their_formulas(second, epsilon):
    plain, register = mixing_time.mixing_time(second, epsilon), chebyshev.shift_register_steps(second, epsilon)
    best = chebyshev.chebyshev_steps(second, epsilon)
    at_a_tie = chebyshev.chebyshev_steps(second, epsilon * (1 + 1e-9))  # one of them may come out below, by rounding
    assert 1 <= at_a_tie <= best
    assert at_a_tie <= min(plain, register)
    assert plain <= math.ceil(mixing_time.mixing_time_bound(second, epsilon) * (1 + 1e-12))
    if second > 0.01:
        assert plain == pytest.approx(math.log(epsilon) / math.log(second), abs=1.001)
        assert best == pytest.approx(math.acosh(1 / epsilon) / math.acosh(1 / second), abs=1.001)


def test_the_steps_of_a_ring_of_64_to_a_millionth():
    """The figures of the specification's experiment, which counts from a random start: 3203 plain, 307 accelerated."""
    second = (1 + (1 + 2 * math.cos(2 * math.pi / 64)) / 3) / 2
    assert chebyshev.chebyshev_steps(second, 1e-6) < chebyshev.shift_register_steps(second, 1e-6) < 420
    assert mixing_time.mixing_time(second, 1e-6) > 3203


@given(second=seconds)
def test_omegas_fall_to_the_shift_register(second):
    first, *rest = itertools.islice(chebyshev.omegas(second), 400)
    assert first == 1
    if second > 0:
        assert rest[0] == pytest.approx(2 / (2 - second**2))
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rest))
    assert rest[-1] == pytest.approx(1 + chebyshev.shift_register_momentum(second), rel=1e-4)


@given(second=seconds)
def test_the_momentum_makes_the_slowest_mode_a_double_root(second):
    eta = chebyshev.shift_register_momentum(second)
    assert ((1 + eta) * second) ** 2 == pytest.approx(4 * eta, abs=1e-12)
    assert chebyshev.accelerated_rate(second) == pytest.approx(math.sqrt(eta), abs=1e-7)


@pytest.mark.parametrize("steps", range(7))
@pytest.mark.parametrize("second", [0.2, 0.7, 0.95])
def test_the_polynomial_is_that_of_chebyshev(second, steps):
    coefficients = np.array(chebyshev.polynomial(second, steps))
    assert len(coefficients) == steps + 1
    assert coefficients.sum() == pytest.approx(1)
    reference = np.polynomial.chebyshev.Chebyshev.basis(steps)
    points = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(
        np.polynomial.polynomial.polyval(points, coefficients),
        reference(points / second) / reference(1 / second),
        rtol=0,
        atol=1e-9,
    )


def test_an_exact_average_takes_one_step():
    assert mixing_time.mixing_time(0.0, 1e-9) == chebyshev.chebyshev_steps(0.0, 1e-9) == 1
    assert chebyshev.shift_register_steps(0.0, 1e-9) == 1
    assert chebyshev.polynomial(0.0, 1) == (0.0, 1.0)
    assert chebyshev.chebyshev_contraction(0.0, 0) == 1
    assert mixing_time.mixing_time_bound(0.5, 2.0) == 0


def test_mixing_times_by_hand():
    expected = {1.0: 0, 0.9: 1, 0.5: 1, 0.26: 2, 0.25: 2, 0.24: 3, 0.125: 3, 0.12: 4, 2**-9: 9, 2**-11: 11}
    assert {epsilon: mixing_time.mixing_time(0.5, epsilon) for epsilon in expected} == expected
    assert mixing_time.mixing_time_bound(0.5, math.exp(-1)) == pytest.approx(2)


@pytest.mark.parametrize(
    "steps_to", [mixing_time.mixing_time, chebyshev.chebyshev_steps, chebyshev.shift_register_steps]
)
@pytest.mark.parametrize(("second", "epsilon"), [(1.0, 0.1), (-0.1, 0.1), (1.4, 0.1), (0.5, 0.0), (math.nan, 0.1)])
def test_what_never_agrees_is_refused(steps_to, second, epsilon):
    with pytest.raises(GraphError):
        steps_to(second, epsilon)
    if not 0 <= second < 1:
        with pytest.raises(GraphError, match="λ"):
            chebyshev.omegas(second)
