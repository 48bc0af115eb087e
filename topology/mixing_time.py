"""How many steps of averaging agreement takes: from λ, the share of disagreement that a step leaves."""

from __future__ import annotations

import math
from collections.abc import Callable

from topology.errors import GraphError


def mixing_time(second: float, epsilon: float) -> int:
    """Return the number of steps t until ‖Wᵗ − J‖₂ <= ε for a symmetric W, exactly: the least t with λᵗ <= ε.

    `second` is λ, see `spectra.second_eigenvalue`. After t steps every start is within ε·‖x(0) − x̄‖ of the mean; one
    step earlier the worst start is not. 0 for ε >= 1. Raises `GraphError` where λ >= 1, since then it never comes, and
    for ε <= 0.
    """
    check_mixing(second, epsilon)
    return least_steps(lambda steps: second**steps, epsilon)


def mixing_time_bound(second: float, epsilon: float) -> float:
    """Return ln(1/ε) / (1 − λ), the usual bound: `mixing_time` is at most this, rounded up, since ln(1/λ) >= 1 − λ."""
    check_mixing(second, epsilon)
    return max(0.0, -math.log(epsilon)) / (1.0 - second)


def least_steps(contraction: Callable[[int], float], epsilon: float) -> int:
    """Return the least t >= 0 with contraction(t) <= ε, for a contraction that falls to 0 as t grows."""
    if contraction(0) <= epsilon:
        return 0
    above, reached = 0, 1
    while contraction(reached) > epsilon:
        above, reached = reached, 2 * reached
    while reached - above > 1:
        middle = (above + reached) // 2
        if contraction(middle) <= epsilon:
            reached = middle
        else:
            above = middle
    return reached


def check_mixing(second: float, epsilon: float) -> None:
    """Raise `GraphError` unless 0 <= λ < 1 and ε > 0."""
    if not 0 <= second < 1:
        raise GraphError(f"steps until agreement exist for 0 <= λ < 1 only (λ = 1: not connected); got {second}")
    if not epsilon > 0:
        raise GraphError(f"agreement to epsilon = {epsilon} takes forever; it has to be above 0")
