"""Weights of a mixing step, from degrees alone."""

from __future__ import annotations

from typing import Any, TypeVar, cast

Number = TypeVar("Number")


def metropolis(degree_i: Number, degree_j: Number) -> Number:
    """Return the Metropolis–Hastings weight of the edge between i and j.

        w_ij = 1 / (1 + max(d_i, d_j)),   w_ii = 1 − Σ_j w_ij

    d is the number of neighbours, oneself not counted. Both ends get the same weight from what each already knows of
    the other, so W is symmetric and doubly stochastic on any graph without anyone seeing more of it than that.
    Shapes: numbers, numpy arrays or torch tensors (broadcast); the maximum is written as (a + b + |a − b|) / 2 so that
    one formula serves all three. Integers give floats (a torch integer tensor gives the default float dtype).
    Source: [Xiao, Boyd & Lall 2006, Distributed average consensus with time-varying Metropolis weights].
    """
    a, b = cast("Any", degree_i), cast("Any", degree_j)
    larger = (a + b + abs(a - b)) / 2
    return cast("Number", 1.0 / (1.0 + larger))
