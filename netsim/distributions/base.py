"""What a distribution is."""

from __future__ import annotations

from typing import Protocol

LARGEST = 1e15
"""Largest value that our pieces take as a parameter: whole numbers of bytes up to here are exact in a float."""


class Distribution(Protocol):
    """A law of a number that is never negative: seconds, bytes, bytes per second, joules, whatever is drawn from it.

    It is given by its inverse, Q(u) = inf {x : P(X ≤ x) ≥ u}, and not by a generator: with u a hash of who draws and
    what for, every draw is a pure function, in whatever order a simulation asks (`draws.draw`). Q does not decrease.
    """

    @property
    def mean(self) -> float:
        """The expected value; inf where there is none."""

    @property
    def least(self) -> float:
        """The infimum of the values. Where it equals `mean`, there is one value only."""

    def quantile(self, u: float) -> float:
        """Return Q(u), finite and ≥ 0, for u in [2⁻⁵³, 1 − 2⁻⁵³], which is all that `uniform_of` gives."""
