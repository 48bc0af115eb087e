"""From measurements to curves: onto a common grid, bands over peers, confidence over seeds.

Runs are measured at instants of their own, and are compared on the union of these. What changes by events (peers,
components) keeps its value until it is measured again. What changes all the time (accuracy, distances, bytes) is a
straight line between two measurements: as a step it would differ between seeds by when they were measured, and the
confidence band would show that instead of what they have learnt. A run that has ended counts with its last value.
"""

# I instants, P peers, R runs, G points of a grid

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from netsim.experiments.run_folder import TotalsRow

Vector = npt.NDArray[np.float64]
GRID_POINTS = 400

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_Z_975 = 1.959964


class Bands(NamedTuple):
    """Accuracy over peers at each instant: extremes, 10 % and 90 % quantile, mean. NaN where nobody was measured."""

    at_s: Vector
    mean: Vector
    low: Vector
    p10: Vector
    p90: Vector
    high: Vector


class Estimate(NamedTuple):
    """A mean over runs, half the width of its 95 % confidence interval (NaN for fewer than two), and of how many."""

    mean: float
    half_width: float
    num_runs: int


def column(totals: Sequence[TotalsRow], name: str) -> Vector:
    """Return a field of all rows; None becomes NaN."""
    values = [getattr(row, name) for row in totals]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def common_grid(xs: Sequence[Vector], points: int = GRID_POINTS) -> Vector:
    """Return the union of the x of several curves, or, when that is more than `points`, so many evenly spaced ones."""
    union = np.unique(np.concatenate(xs))
    return union if len(union) <= points else np.linspace(union[0], union[-1], points)


def stepped(x_I: Vector, y_I: Vector, grid_G: Vector) -> Vector:
    """Return the curve on the grid: the last value at or before each point, NaN before the first. `x_I` may repeat."""
    place_G = np.searchsorted(x_I, grid_G, side="right") - 1
    return np.where(place_G < 0, np.nan, y_I[np.maximum(place_G, 0)])


def straight(x_I: Vector, y_I: Vector, grid_G: Vector) -> Vector:
    """Return the curve on the grid: straight lines, NaN before the first point, the last value after the last one.

    Of several points with the same x the last one counts.
    """
    is_last = np.append(np.diff(x_I) > 0, True)
    y_G: Vector = np.interp(grid_G, x_I[is_last], y_I[is_last], left=np.nan)
    return y_G


def t_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t, exact to 3 decimals; beyond 30 degrees by the expansion in 1/ν.

    Source: [Abramowitz & Stegun 1964, Handbook of mathematical functions, 26.7.5].
    """
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    z = _Z_975
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def mean_with_confidence(values_RG: npt.NDArray[np.float64]) -> tuple[Vector, Vector]:
    """Return the mean over runs at each point, and half the width of its 95 % interval; NaNs are left out.

        mean ± t(0.975, r−1) · s / √r,   s the sample standard deviation over the r runs that have a value

    The half width is NaN where fewer than two have one.
    """
    known_RG = np.isfinite(values_RG)
    count_G = known_RG.sum(axis=0)
    filled_RG = np.where(known_RG, values_RG, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_G = filled_RG.sum(axis=0) / count_G
        variance_G = np.where(known_RG, (values_RG - mean_G) ** 2, 0.0).sum(axis=0) / (count_G - 1)
        t_G = np.array([t_quantile(count - 1) if count > 1 else np.nan for count in count_G.tolist()])
        return mean_G, t_G * np.sqrt(variance_G / count_G)


def estimate(values: Sequence[float | None]) -> Estimate:
    """Return the mean of one figure over runs; None and NaN are left out."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not len(known):
        return Estimate(np.nan, np.nan, 0)
    mean, half = mean_with_confidence(known[:, None])
    return Estimate(float(mean[0]), float(half[0]), len(known))


def bands_over_peers(at_s: Vector, value: Vector, chosen: npt.NDArray[np.bool_] | None = None) -> Bands:
    """Return mean and bands over the chosen rows at each instant of a long table, whose rows are in order of time."""
    starts = np.flatnonzero(np.diff(at_s, prepend=-np.inf))
    counted = np.isfinite(value) if chosen is None else np.isfinite(value) & chosen
    rows = np.full((len(starts), 5), np.nan)
    for place, (begin, end) in enumerate(pairwise([*starts, len(at_s)])):
        values = value[begin:end][counted[begin:end]]
        if len(values):
            low, p10, p90, high = np.quantile(values, (0.0, 0.1, 0.9, 1.0))
            rows[place] = values.mean(), low, p10, p90, high
    return Bands(at_s[starts], *rows.T)


def time_to(at_s: Vector, value: Vector, threshold: float) -> float | None:
    """Return the first instant at which the value was measured to be at least `threshold`, or None."""
    reached = np.flatnonzero(value >= threshold)
    return float(at_s[reached[0]]) if len(reached) else None


def thresholds(finals: Sequence[float]) -> list[float]:
    """Return up to three accuracies worth timing: 50, 80 and 95 % of the best final one, down to a round number."""
    best = max((value for value in finals if np.isfinite(value)), default=0.0)
    step = 0.05 if best >= 0.3 else 0.01
    rounded = {round(np.floor(share * best / step + 1e-9) * step, 10) for share in (0.5, 0.8, 0.95)}
    return sorted(value for value in rounded if value > 0)
