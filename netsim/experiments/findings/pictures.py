"""Plots of experiments: curves of several variations over rounds or time, and one figure against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netsim.experiments.report import style
from netsim.experiments.report.curves import Vector, column, common_grid, mean_with_confidence, stepped
from netsim.experiments.run_folder import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MID_ROUND = (
    "Mean over peers and seeds, measured whenever the median peer has mixed, while others have just trained; the last "
    "point is when all have mixed, which is why it lies higher."
)
"""The caption of curves over rounds."""

MOST_BANDS = 5
"""Curves up to which each gets its band; more bands hide each other, and the tables have the figures."""


SMALLEST = 1e-6
"""Smaller values have no place on a logarithmic axis: models that are equal but for rounding."""


def curves_over_rounds(title: str, runs: Mapping[str, Sequence[Run]], *, field: str = "accuracy_mean") -> Figure:
    """Return curves of accuracy in percent over the rounds of the median peer."""
    return curves(title, runs, x="round_median", y=field, x_label="round", y_label="accuracy in %", scale=100.0)


def curves(
    title: str,
    runs: Mapping[str, Sequence[Run]],
    *,
    x: str,
    y: str,
    x_label: str,
    y_label: str,
    scale: float = 1.0,
    log: bool = False,
    x_scale: float = 1.0,
    longest: float = float("inf"),
) -> Figure:
    """Return mean curves over the runs of each variation, with their 95 % confidence as a band where they are few and
    the axis is not logarithmic.

    `x` and `y` are fields of the totals, `scale` and `x_scale` what they are multiplied with; `longest` cuts x.
    """
    figure, (axes,) = style.new_figure(title)
    for place, (name, several) in enumerate(runs.items()):
        grid, mean, half = _mean_curve(several, x, y, longest, SMALLEST if log else -np.inf)
        color = style.PALETTE[place % len(style.PALETTE)]
        dash = style.DASHES[place // len(style.PALETTE) % len(style.DASHES)]
        axes.plot(x_scale * grid, scale * mean, dash, color=color, linewidth=1.6, label=style.plot_text(name))
        if np.isfinite(half).any() and len(runs) <= MOST_BANDS and not log:
            axes.fill_between(
                x_scale * grid, scale * (mean - half), scale * (mean + half), color=color, alpha=0.12, linewidth=0
            )
    style.labels(axes, x_label, y_label)
    if log:
        style.log_axis(axes)
    style.legend(figure, axes, num_columns=3)
    return figure


def _mean_curve(runs: Sequence[Run], x: str, y: str, longest: float, least: float) -> tuple[Vector, Vector, Vector]:
    pairs = []
    for run in runs:
        xs, ys = column(run.totals, x), column(run.totals, y)
        known = np.isfinite(ys) & (xs <= longest) & (ys > least)
        pairs.append((xs[known], ys[known]))
    grid = common_grid([xs for xs, _ in pairs])
    mean, half = mean_with_confidence(np.array([stepped(xs, ys, grid) for xs, ys in pairs]))
    return grid, mean, half


def scatter(
    title: str, points: Mapping[str, tuple[float, float]], *, x_label: str, y_label: str, log: tuple[bool, bool]
) -> Figure:
    """Return named points (x, y), each with its name beside it; `log` says of each axis whether it is logarithmic."""
    figure, (axes,) = style.new_figure(title)
    for place, (name, (x, y)) in enumerate(points.items()):
        axes.plot([x], [y], "o", color=style.PALETTE[place % len(style.PALETTE)], markersize=6)
        axes.annotate(
            style.plot_text(name),
            (x, y),
            xytext=(6, 4 if place % 2 == 0 else -11),
            textcoords="offset points",
            fontsize=8,
            color=style.INK,
        )
    axes.margins(x=0.14, y=0.12)
    if log[0]:
        axes.set_xscale("log")
    if log[1]:
        axes.set_yscale("log")
    style.labels(axes, x_label, y_label)
    return figure
