"""The plots of several runs: a curve for each pool, the mean over its seeds with a 95 % confidence band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netsim.experiments.report.curves import Vector, column, common_grid, mean_with_confidence, stepped, straight
from netsim.experiments.report.graph_picture import graph_plots
from netsim.experiments.report.pools import Pool, numeric_axis
from netsim.experiments.report.run_plots import ACCURACY, Measured
from netsim.experiments.report.style import (
    DASHES,
    HEIGHT_IN,
    PALETTE,
    WIDTH_IN,
    Plot,
    Unit,
    bytes_unit,
    count_axis,
    labels,
    legend,
    log_axis,
    mark_events,
    new_figure,
    percent_axis,
    plot_text,
    show_means,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTS = ("num_alive", "largest_component")
MOST_GRAPHS = 4
CURVES_WITH_BANDS = 8
PLAIN = Unit("", 1.0)


def colour_of(place: int) -> str:
    """Return the colour of the pool at this place."""
    return PALETTE[place % len(PALETTE)]


def pool_plots(pools: Sequence[Pool]) -> list[Plot]:
    """Return all plots of the pools that there are data for."""
    longest = max(run.totals[-1].at_s for pool in pools for run in pool.runs)
    most = max(run.totals[-1].bytes_sent for pool in pools for run in pool.runs)
    time, size = time_unit(longest), bytes_unit(most)
    virtual, sent = f"virtual time, {time.name}", f"sent by all peers together, {size.name}"
    draw = _Drawing(pools, time)
    plots = [
        draw.plot("accuracy-time", "Accuracy over time", "at_s", "accuracy_mean", virtual, ACCURACY, time),
        draw.plot("worst-time", "Accuracy of the worst peer", "at_s", "accuracy_min", virtual, ACCURACY, time),
        draw.plot("accuracy-bytes", "Accuracy over bytes sent", "bytes_sent", "accuracy_mean", sent, ACCURACY, size),
        draw.plot(
            "accuracy-rounds", "Accuracy over rounds", "round_median", "accuracy_mean", "round of the median peer",
            ACCURACY,
        ),
        draw.plot(
            "consensus-time", "Consensus distance", "at_s", "consensus", virtual,
            "squared distance to the mean", time,
        ),
        draw.plot("bytes-time", "Bytes sent over time", "at_s", "bytes_sent", virtual, sent, time, y_unit=size),
        draw.plot("alive-time", "Peers that are there", "at_s", "num_alive", virtual, "peers", time),
        draw.plot(
            "largest-time", "Peers in the largest component", "at_s", "largest_component", virtual, "peers", time
        ),
        _finals(pools),
    ]  # fmt: skip
    graphs = _graphs(pools) if len(pools) <= MOST_GRAPHS else []
    return [plot for plot in plots if plot is not None] + graphs


class _Drawing:
    def __init__(self, pools: Sequence[Pool], time: Unit) -> None:
        self._pools = pools
        self._time = time

    def plot(
        self, name: str, title: str, x: str, y: str, x_label: str, y_label: str, x_unit: Unit = PLAIN, *,
        y_unit: Unit = PLAIN,
    ) -> Plot | None:  # fmt: skip
        """Draw field `y` over field `x` of the totals for every pool."""
        is_logarithmic, is_share = y == "consensus", y.startswith("accuracy")
        is_count = y in COUNTS
        figure, (axes,) = new_figure(title)
        means: list[Vector] = []
        for place, pool in enumerate(self._pools):
            grid, mean, half = _pooled(pool, x, y, is_logarithmic)
            if not np.isfinite(mean).any() or (x != "at_s" and grid[-1] <= grid[0]):
                continue
            low, high = mean - half, mean + half
            if is_logarithmic:
                low, mean, high = 10**low, 10**mean, 10**high
            scale = 100.0 if is_share else 1 / y_unit.size
            means.append(scale * mean)
            drawstyle = "steps-post" if is_count else "default"
            style = {"color": colour_of(place), "linestyle": DASHES[place % len(DASHES)]}
            label = plot_text(pool.label) + (f" ({len(pool.runs)} runs)" if len(pool.runs) > 1 else "")
            axes.plot(grid / x_unit.size, scale * mean, linewidth=1.8, label=label, drawstyle=drawstyle, **style)
            if len(self._pools) <= CURVES_WITH_BANDS:
                colour = colour_of(place)
                band = {"color": colour, "alpha": 0.18, "linewidth": 0, "step": "post" if is_count else None}
                axes.fill_between(grid / x_unit.size, scale * low, scale * high, **band)
        if not means:
            return None
        show_means(axes, np.concatenate(means), is_logarithmic=is_logarithmic)
        if is_logarithmic:
            log_axis(axes)
        elif is_share:
            percent_axis(axes)
        elif is_count:
            count_axis(axes)
        else:
            axes.set_ylim(bottom=0)
        labels(axes, x_label, y_label)
        legend(figure, axes, num_columns=3)
        if x == "at_s":
            self._events(axes)
        return Plot(name, title, self._caption(is_logarithmic), figure)

    def _caption(self, is_logarithmic: bool) -> str:
        if all(len(pool.runs) == 1 for pool in self._pools):
            return "One run each: no confidence can be given."
        mean = "Geometric mean" if is_logarithmic else "Mean"
        if len(self._pools) > CURVES_WITH_BANDS:
            return f"{mean} over runs."
        return f"{mean} over runs with its 95 % confidence band (Student's t)."

    def _events(self, axes: Axes) -> None:
        """Mark the events of the first run: of one pool with their names, of several where they have the same times."""
        timelines = [[(event.at_s, event.name) for event in pool.runs[0].record.events] for pool in self._pools]
        if all(timeline == timelines[0] for timeline in timelines):
            mark_events([axes], self._pools[0].runs[0].record.events, self._time)


def _pooled(pool: Pool, x: str, y: str, is_logarithmic: bool) -> tuple[Vector, Vector, Vector]:
    xs = [column(run.totals, x) for run in pool.runs]
    ys = [column(run.totals, y) for run in pool.runs]
    if is_logarithmic:
        ys = [np.log10(np.where(value > 0, value, np.nan)) for value in ys]
    grid = common_grid(xs)
    between = stepped if y in COUNTS else straight
    mean, half = mean_with_confidence(np.stack([between(a, b, grid) for a, b in zip(xs, ys, strict=True)]))
    return grid, mean, half


def _finals(pools: Sequence[Pool]) -> Plot | None:
    """Plot the final accuracy of every run and the mean of each pool: over the swept key, or pool by pool."""
    finals = [pool.final("accuracy_mean") for pool in pools]
    if len(pools) < 2 or not any(final.num_runs for final in finals):
        return None
    key = numeric_axis(pools)
    places = np.array([float(pool.settings[key]) for pool in pools] if key else range(len(pools)))
    title = f"Accuracy at the end over {key}" if key else "Accuracy at the end"
    figure, (axes,) = new_figure(title, size=(WIDTH_IN, HEIGHT_IN if key else max(2.2, 1.1 + 0.34 * len(pools))))
    means = 100 * np.array([final.mean for final in finals])
    halves = 100 * np.nan_to_num(np.array([final.half_width for final in finals]))
    along: Callable[[Vector, Vector], tuple[Vector, Vector]] = (lambda a, b: (a, b)) if key else (lambda a, b: (b, a))
    if key:
        axes.plot(places, means, color=PALETTE[0], linewidth=1.2)
    for place, pool in enumerate(pools):
        each = column([run.totals[-1] for run in pool.runs], "accuracy_mean")
        colour = PALETTE[0] if key else colour_of(place)
        axes.scatter(
            *along(np.full(len(each), places[place]), 100 * each), s=16, color=colour, alpha=0.45, linewidths=0
        )
        bar = {"yerr": halves[[place]]} if key else {"xerr": halves[[place]]}
        mean = along(places[[place]], means[[place]])
        axes.errorbar(*mean, **bar, fmt="D", color=colour, markersize=6, capsize=4, linewidth=1.6)
    if key:
        labels(axes, plot_text(key), ACCURACY)
        if (places > 0).all() and places.max() >= 50 * places.min():
            axes.set_xscale("log")
        percent_axis(axes)
    else:
        axes.set_yticks(places, [plot_text(pool.label)[:40] for pool in pools])
        axes.set_ylim(len(pools) - 0.5, -0.5)
        low, high = axes.get_xlim()
        axes.set_xlim(max(0.0, low), min(101.0, high))
        labels(axes, ACCURACY, "")
    return Plot(
        "final-accuracy", title, "Rings: each run. Diamonds: mean of the runs with its 95 % confidence.", figure
    )


def _graphs(pools: Sequence[Pool]) -> list[Plot]:
    plots = []
    for place, pool in enumerate(pools, 1):
        run = pool.runs[0]
        if not run.record.peers:
            continue
        for plot in graph_plots(run.record, Measured(run).final_accuracy(), f"{pool.label}, seed {run.record.seed}"):
            suffix = f"-{place}" if len(pools) > 1 else ""
            plots.append(plot._replace(name=f"{plot.name}{suffix}"))
    return plots
