"""The plots of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netsim.experiments.report.curves import Bands, Vector, bands_over_peers, column
from netsim.experiments.report.graph_picture import graph_plots
from netsim.experiments.report.style import (
    DASHES,
    INK,
    PALETTE,
    WIDTH_IN,
    Plot,
    bytes_unit,
    count_axis,
    labels,
    legend,
    log_axis,
    mark_events,
    markers,
    new_figure,
    percent_axis,
    plot_text,
    time_unit,
)
from netsim.experiments.run_folder import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_GROUPS = 7
ACCURACY = "accuracy on the test set, %"


class Measured:
    """A run's measurements as arrays, read once for all plots."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.record = run.record
        table = run.peers()
        self.peer: npt.NDArray[np.int32] = table["peer"].to_numpy()
        self.accuracy: Vector = np.where(table["alive"].to_numpy(), table["accuracy"].to_numpy(), np.nan)
        self.at_s: Vector = table["at_s"].to_numpy()
        self.totals = {name: column(run.totals, name) for name in run.totals[0].__struct_fields__}
        self.unit = time_unit(self.totals["at_s"][-1])
        self.time = self.totals["at_s"] / self.unit.size

    @property
    def time_label(self) -> str:
        """How an axis of times is named."""
        return f"virtual time, {self.unit.name}"

    def final_accuracy(self) -> Vector:
        """Return the last accuracy of every peer of the record, NaN for those who are gone or were not measured."""
        final = np.full(len(self.record.peers), np.nan)
        if len(self.at_s):
            last = self.at_s == self.at_s[-1]
            final[self.peer[last]] = self.accuracy[last]
        return final


def run_plots(run: Run) -> list[Plot]:
    """Return all plots of a run that it has data for."""
    measured = Measured(run)
    makers: Sequence[Callable[[Measured], Plot | None]] = (
        accuracy_over_time,
        accuracy_by_group,
        accuracy_over_bytes,
        final_histogram,
        consensus_over_time,
        loss_over_time,
        traffic_over_time,
        alive_over_time,
        rounds_over_time,
    )
    plots = [plot for maker in makers if (plot := maker(measured)) is not None]
    return plots + graph_plots(run.record, measured.final_accuracy())


def accuracy_over_time(measured: Measured) -> Plot | None:
    """Plot mean, quantiles and extremes over peers."""
    bands = bands_over_peers(measured.at_s, measured.accuracy)
    if not np.isfinite(bands.mean).any():
        return None
    title = "Accuracy over time"
    figure, (axes,) = new_figure(title)
    _draw_bands(axes, bands._replace(at_s=bands.at_s / measured.unit.size), PALETTE[0])
    merged = measured.totals["accuracy_merged"]
    if np.isfinite(merged).any():
        style = {"color": INK, "linewidth": 1.1, "linestyle": "--", **markers(len(merged))}
        axes.plot(measured.time, 100 * merged, label="mean of all models", **style)
    labels(axes, measured.time_label, ACCURACY)
    percent_axis(axes)
    legend(figure, axes)
    _events(measured, [axes])
    return Plot("accuracy-time", title, "Over the measured honest peers that were there at the time.", figure)


def accuracy_by_group(measured: Measured) -> Plot | None:
    """Plot mean and quantiles of each group of peers, when there are several."""
    peers = measured.record.peers
    names = [peer.group for peer in peers]
    sizes = {name: names.count(name) for name in dict.fromkeys(names)}
    chosen = sorted(sizes, key=lambda name: -sizes[name])[:MOST_GROUPS]
    number = {name: place for place, name in enumerate(chosen)}
    group_of_row = np.array([number.get(name, -1) for name in names])[measured.peer]
    groups = [place for place in range(len(chosen)) if (group_of_row == place).any()]
    if len(groups) < 2:
        return None
    title = "Accuracy by group of peers"
    figure, (axes,) = new_figure(title)
    for place in groups:
        bands = bands_over_peers(measured.at_s, measured.accuracy, group_of_row == place)
        time = bands.at_s / measured.unit.size
        colour = PALETTE[place % len(PALETTE)]
        name = f"{plot_text(chosen[place]) or '(no group)'} ({sizes[chosen[place]]})"
        axes.fill_between(time, 100 * bands.p10, 100 * bands.p90, color=colour, alpha=0.16, linewidth=0)
        axes.plot(time, 100 * bands.mean, color=colour, linewidth=1.8, linestyle=DASHES[place % 4], label=name)
    labels(axes, measured.time_label, ACCURACY)
    percent_axis(axes)
    legend(figure, axes)
    _events(measured, [axes])
    left_out = f" The {len(sizes) - len(chosen)} smallest groups are left out." if len(sizes) > len(chosen) else ""
    caption = f"Mean, and 10 to 90 % of the peers of each group (in brackets: how many).{left_out}"
    return Plot("accuracy-groups", title, caption, figure)


def accuracy_over_bytes(measured: Measured) -> Plot | None:
    """Plot what the traffic bought."""
    totals = measured.totals
    sent = totals["bytes_sent"]
    if not np.isfinite(totals["accuracy_mean"]).any() or sent[-1] <= 0:
        return None
    unit = bytes_unit(sent[-1])
    title = "Accuracy over bytes sent"
    figure, (axes,) = new_figure(title)
    _range(axes, sent / unit.size, 100 * totals["accuracy_min"], 100 * totals["accuracy_max"], "lowest to highest")
    mean = {"color": PALETTE[0], "linewidth": 2, **markers(len(sent))}
    axes.plot(sent / unit.size, 100 * totals["accuracy_mean"], label="mean", **mean)
    labels(axes, f"sent by all peers together, {unit.name}", ACCURACY)
    percent_axis(axes)
    legend(figure, axes)
    return Plot("accuracy-bytes", title, "Every byte counts that a peer handed to the network, lost ones too.", figure)


def final_histogram(measured: Measured) -> Plot | None:
    """Plot how many peers ended at which accuracy."""
    final = measured.final_accuracy()
    known = 100 * final[np.isfinite(final)]
    if not len(known):
        return None
    title = "Accuracy of the peers at the end"
    figure, (axes,) = new_figure(title)
    low, high = float(known.min()), float(known.max())
    spread = max(high - low, 1.0)
    bins = int(np.clip(np.sqrt(len(known)) * 1.5, 8, 50))
    axes.hist(known, bins=bins, range=(low - 0.02 * spread, high + 0.02 * spread), color=PALETTE[5], edgecolor="white")
    axes.axvline(known.mean(), color=INK, linewidth=1.4, label=f"mean {known.mean():.1f} %")
    axes.axvline(np.median(known), color=PALETTE[1], linewidth=1.4, ls="--", label=f"median {np.median(known):.1f} %")
    labels(axes, ACCURACY, "peers")
    count_axis(axes)
    legend(figure, axes)
    caption = f"{len(known)} peers that were measured and there at the end; lowest {low:.1f} %, highest {high:.1f} %."
    return Plot("final-accuracy", title, caption, figure)


def consensus_over_time(measured: Measured) -> Plot | None:
    """Plot how far the models are from each other."""
    return _logarithmic(
        measured,
        "consensus",
        "Consensus distance",
        "squared distance to the mean",
        "Gossip averaging alone makes this fall in a straight line. Where it is 0 (equal models) nothing is drawn.",
    )


def loss_over_time(measured: Measured) -> Plot | None:
    """Plot the loss of local training."""
    return _logarithmic(measured, "loss_mean", "Training loss", "mean loss of the last local steps", "")


def _logarithmic(measured: Measured, name: str, title: str, label: str, caption: str) -> Plot | None:
    value = np.where(measured.totals[name] > 0, measured.totals[name], np.nan)
    if not np.isfinite(value).any():
        return None
    figure, (axes,) = new_figure(title)
    axes.plot(measured.time, value, color=PALETTE[2], linewidth=1.8, **markers(len(value)))
    log_axis(axes)
    _all_of_time(measured, axes)
    labels(axes, measured.time_label, label)
    _events(measured, [axes])
    return Plot(name.replace("_mean", "") + "-time", title, caption, figure)


def traffic_over_time(measured: Measured) -> Plot | None:
    """Plot the rate at which bytes are sent, between instants of measuring."""
    time_s, sent = measured.totals["at_s"], measured.totals["bytes_sent"]
    if len(time_s) < 2 or sent[-1] <= 0:
        return None
    rate = np.diff(sent) / np.diff(time_s)
    unit = bytes_unit(float(rate.max()))
    title = "Traffic over time"
    figure, (axes,) = new_figure(title)
    axes.stairs(rate / unit.size, measured.time, color=PALETTE[4], fill=True, alpha=0.35)
    axes.stairs(rate / unit.size, measured.time, color=PALETTE[4], linewidth=1.6, baseline=None)
    axes.set_ylim(bottom=0)
    labels(axes, measured.time_label, f"sent by all peers together, {unit.name}/s")
    _events(measured, [axes])
    whole = bytes_unit(sent[-1])
    broken = int(measured.totals["transfers_broken"][-1])
    caption = f"{sent[-1] / whole.size:.1f} {whole.name} in all; {broken} transfers broke in the middle."
    return Plot("traffic-time", title, caption, figure)


def alive_over_time(measured: Measured) -> Plot:
    """Plot who is there, and into how many parts they fall."""
    totals, time = measured.totals, measured.time
    title = "Peers that are there, and their connections"
    figure, (above, below) = new_figure(title, (2, 1), size=(WIDTH_IN, 4.1))
    step: dict[str, Any] = {"drawstyle": "steps-post", **markers(len(time))}
    above.plot(time, totals["num_alive"], color=PALETTE[0], linewidth=1.8, label="there", **step)
    largest = {"color": PALETTE[2], "linewidth": 1.8, "linestyle": "--"}
    above.plot(time, totals["largest_component"], label="in the largest component", **largest, **step)
    above.plot(time, totals["num_isolated"], color=PALETTE[1], linewidth=1.4, linestyle=":", label="isolated", **step)
    below.plot(time, totals["num_components"], color=PALETTE[3], linewidth=1.8, **step)
    count_axis(above)
    count_axis(below)
    above.set_ylabel("peers", fontsize=9, color=INK)
    labels(below, measured.time_label, "components")
    legend(figure, above)
    _events(measured, [above, below])
    return Plot("alive-time", title, "Connections are those over which peers can exchange models at the time.", figure)


def rounds_over_time(measured: Measured) -> Plot:
    """Plot how far the peers are, and how far apart."""
    totals = measured.totals
    title = "Rounds over time"
    figure, (axes,) = new_figure(title)
    _range(axes, measured.time, totals["round_min"], totals["round_max"], "slowest to fastest")
    median = {"color": PALETTE[0], "linewidth": 1.8, **markers(len(measured.time))}
    axes.plot(measured.time, totals["round_median"], label="median", **median)
    count_axis(axes)
    labels(axes, measured.time_label, "round")
    legend(figure, axes)
    _events(measured, [axes])
    return Plot("rounds-time", title, "Of the peers that were there at the time.", figure)


def _draw_bands(axes: Axes, bands: Bands, colour: str) -> None:
    axes.fill_between(
        bands.at_s, 100 * bands.low, 100 * bands.high, color=colour, alpha=0.13, linewidth=0, label="lowest to highest"
    )
    axes.fill_between(
        bands.at_s,
        100 * bands.p10,
        100 * bands.p90,
        color=colour,
        alpha=0.28,
        linewidth=0,
        label="10 to 90 % of peers",
    )
    axes.plot(bands.at_s, 100 * bands.mean, color=colour, linewidth=2, label="mean", **markers(len(bands.at_s)))


def _range(axes: Axes, x: Vector, low: Vector, high: Vector, name: str) -> None:
    axes.fill_between(x, low, high, color=PALETTE[0], alpha=0.18, linewidth=0, label=name)


def _all_of_time(measured: Measured, axes: Axes) -> None:
    """Show the whole run, also where nothing is drawn, so that plots can be compared by eye."""
    margin = 0.03 * max(measured.time[-1] - measured.time[0], 1e-9)
    axes.set_xlim(measured.time[0] - margin, measured.time[-1] + margin)


def _events(measured: Measured, axes: Sequence[Axes]) -> None:
    _all_of_time(measured, axes[0])
    mark_events(axes, measured.record.events, measured.unit)
