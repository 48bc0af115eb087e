"""Accelerated gossip: agreement in about the root of the steps that plain averaging takes, from one number, λ.

W is symmetric, W 1 = 1, and all its other eigenvalues lie in [−λ, λ], λ < 1. After k exchanges a peer can hold any p(W)
x(0) with p a polynomial of degree k, and the mean is kept when p(1) = 1. The one that is smallest on [−λ, λ] is the
Chebyshev polynomial

    P_k(x) = T_k(x/λ) / T_k(1/λ),   ‖P_k(W) − J‖₂ <= 1 / T_k(1/λ) ≈ 2 ρᵏ,   ρ = λ / (1 + √(1 − λ²))

with equality when ±λ is an eigenvalue. Two vectors are enough (the semi-iterative method):

    x(k+1) = ω_{k+1} W x(k) + (1 − ω_{k+1}) x(k−1),   ω_1 = 1,   ω_2 = 2 / (2 − λ²),   ω_{k+1} = 1 / (1 − λ² ω_k / 4)

ω_k falls to 1 + η from k = 2 on, η = ρ². The shift register uses 1 + η from the second step on, so that it has no count
of steps to agree about, and pays with a factor that grows like k instead of 2:

    ‖S_k(W) − J‖₂ <= (1 + k √(1 − λ²)) ρᵏ

No numbers but λ are needed, hence no arrays here: a daemon imports this for one formula.
Source: [Golub & Varga 1961, Chebyshev semi-iterative methods, successive overrelaxation iterative methods, and second
order Richardson iterative methods]; [Muthukrishnan, Ghosh & Schultz 1998, First- and second-order diffusive methods
for rapid, coarse, distributed load balancing]; [Liu & Morse 2011, Accelerated Linear Iterations for Distributed
Averaging].
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from topology.errors import GraphError
from topology.mixing_time import check_mixing, least_steps


def shift_register_momentum(second: float) -> float:
    """Return η = (1 − √(1 − λ²)) / (1 + √(1 − λ²)) of x⁺ = (1 + η) W x − η x⁻: it makes the slowest mode a double root.

    Raises `GraphError` unless 0 <= λ < 1, as all functions here do.
    """
    root = _root(second)
    return (1 - root) / (1 + root)


def accelerated_rate(second: float) -> float:
    """Return ρ = √η = λ / (1 + √(1 − λ²)), what a step of either method leaves of the disagreement in the long run."""
    return second / (1 + _root(second))


def omegas(second: float) -> Iterator[float]:
    """Return ω_1, ω_2, … of the semi-iterative method, without end: x(k) = ω_k W x(k−1) + (1 − ω_k) x(k−2)."""
    _root(second)

    def recursion() -> Iterator[float]:
        yield 1.0
        omega = 2.0
        while True:
            omega = 1.0 / (1.0 - second * second * omega / 4.0)
            yield omega

    return recursion()


def polynomial(second: float, steps: int) -> tuple[float, ...]:
    """Return the coefficients c_0, …, c_k of P_k(x) = Σ c_j xʲ; they sum to 1.

    To look at, or for a handful of steps: they grow like (2/λ)ᵏ with alternating signs, so that from about 20 steps on
    their sum is rounding. The recursion with `omegas` is the way to calculate P_k(W) x.
    """
    before: list[float] = []
    now = [1.0]
    for _, omega in zip(range(steps), omegas(second), strict=False):
        kept = before + [0.0] * (len(now) + 1 - len(before))
        before, now = now, [omega * up + (1 - omega) * old for up, old in zip([0.0, *now], kept, strict=True)]
    return tuple(now)


def chebyshev_contraction(second: float, steps: int) -> float:
    """Return 1 / T_k(1/λ), the share of disagreement that k steps of the semi-iterative method leave at most."""
    root = _root(second)
    if second == 0:
        return 1.0 if steps == 0 else 0.0
    # T_k(cosh a) = cosh(k a) with e^(−a) = ρ: in powers of ρ nothing overflows.
    rate = second / (1 + root)
    return 2.0 * rate**steps / (1.0 + rate ** (2 * steps))


def chebyshev_steps(second: float, epsilon: float) -> int:
    """Return the least k with 1 / T_k(1/λ) <= ε: steps that bring every start to within ε·‖x(0) − x̄‖ of the mean.

    ⌈arcosh(1/ε) / arcosh(1/λ)⌉, about ln(2/ε) / √(2 (1 − λ)). 0 for ε >= 1; raises `GraphError` for ε <= 0.
    """
    check_mixing(second, epsilon)
    return least_steps(lambda steps: chebyshev_contraction(second, steps), epsilon)


def shift_register_contraction(second: float, steps: int) -> float:
    """Return (1 + k √(1 − λ²)) ρᵏ, the share of disagreement that k steps of the shift register leave at most."""
    return (1.0 + steps * _root(second)) * accelerated_rate(second) ** steps


def shift_register_steps(second: float, epsilon: float) -> int:
    """Return the least k with (1 + k √(1 − λ²)) ρᵏ <= ε; 0 for ε >= 1. Raises `GraphError` for ε <= 0."""
    check_mixing(second, epsilon)
    return least_steps(lambda steps: shift_register_contraction(second, steps), epsilon)


def _root(second: float) -> float:
    if not 0 <= second < 1:
        raise GraphError(f"acceleration needs 0 <= λ < 1, all eigenvalues but one within ±λ; got {second}")
    return math.sqrt(1 - second * second)
