"""What is left of a duration at a moment that knows nothing of it.

Whoever looks at a random moment finds himself in a long duration more often than in a short one: X* has the density
x f(x) / E X, and the moment is anywhere in it, so that U · X* is left, whose density is P(X > x) / E X
[Ross 1996, Stochastic Processes, §3.4 and §3.5].

X* is Q(w), with Q the inverse of X and w such that the Lorenz curve of X,

    L(w) = ∫₀ʷ Q(u) du / E X,

is uniform. L is tabulated by Gauss–Legendre quadrature over cells that halve towards both ends of (0, 1) and end where
`uniform_of` ends, so that no draw is longer than the longest that the durations themselves can have. Between the
entries Q is taken as a line.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import sqrt

from netsim.distributions import Distribution, uniform_of

_HALVINGS = 53
_CELLS_PER_HALVING = 8
_NODES = tuple(  # of three points on [0, 1], and their weights: exact for polynomials up to degree 5
    (0.5 + 0.5 * x, weight) for x, weight in ((-sqrt(0.6), 5 / 18), (0.0, 8 / 18), (sqrt(0.6), 5 / 18))
)


class Residual:
    """The law of what is left of durations. `mean_s` is the mean of the durations, as far as draws can tell.

    Cost: 2,500 quantiles once, then two hashes and a bisection for each draw.
    """

    def __init__(self, durations: Distribution) -> None:
        self._quantile = durations.quantile
        self._edges = list(_edges())
        parts = [
            sum(weight * self._quantile(low + x * (high - low)) for x, weight in _NODES) * (high - low)
            for low, high in zip(self._edges, self._edges[1:], strict=False)
        ]
        self._areas = [0.0, *accumulate(parts)]
        self.mean_s = self._areas[-1]

    def draw(self, seed: int, *names: int | str) -> float:
        """Return the draw that belongs to a seed and a tuple of names and numbers."""
        return uniform_of(seed, "age", *names) * self.biased(uniform_of(seed, "which", *names))

    def biased(self, share: float) -> float:
        """Return X* = Q(w) for L(w) = `share`."""
        area = share * self.mean_s
        cell = min(bisect_right(self._areas, area), len(self._areas) - 1) - 1
        low, high = self._edges[cell], self._edges[cell + 1]
        q_low, q_high = self._quantile(low), self._quantile(high)
        width = self._areas[cell + 1] - self._areas[cell]
        part = (area - self._areas[cell]) / width if width else 1.0
        # Q a line: the area up to x in [0, 1] is q_low·x + (q_high − q_low)·x²/2, of q_low/2 + q_high/2 in all.
        x = part * (q_low + q_high) / (q_low + sqrt(q_low**2 + part * (q_high**2 - q_low**2))) if q_high else part
        return q_low + x * (q_high - q_low)


def _edges() -> list[float]:
    halves = range(_HALVINGS, 1, -1)
    below = [2.0**-k * (1 + i / _CELLS_PER_HALVING) for k in halves for i in range(_CELLS_PER_HALVING)]
    return [*below, 0.5, *(1 - u for u in reversed(below))]
