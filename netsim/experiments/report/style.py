"""How plots look: colours that colour-blind people tell apart, units, and events that stay out of the data's way."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from netsim.experiments.run_folder import EventRecord
from peer.logs import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Source: [Okabe & Ito 2008, Color universal design], without its yellow, which is lost on white."""

DASHES = ("-", "--", "-.", ":")
INK, FAINT, GREY = "#222222", "#6b6b6b", "#8f8f8f"
WIDTH_IN, HEIGHT_IN = 5.2, 3.5
DOTS_PER_INCH = 150
MOST_MARKED = 14  # distinct events that still get a line and a label each; more are marks along the upper edge
LABEL_POINTS = 7.5


class Plot(NamedTuple):
    """A figure with the name of its file, and what a reader has to know. `is_dense`: too many marks for SVG."""

    name: str
    title: str
    caption: str
    figure: Figure
    is_dense: bool = False


class Unit(NamedTuple):
    """A unit and how many of the basic one it is."""

    name: str
    size: float


def time_unit(longest_s: float) -> Unit:
    """Return the unit for an axis of times that ends at `longest_s`."""
    for unit in (Unit("days", 86_400), Unit("hours", 3_600), Unit("minutes", 60)):
        if longest_s >= 4 * unit.size:
            return unit
    return Unit("seconds", 1)


def bytes_unit(most: float) -> Unit:
    """Return the unit for an axis of bytes that ends at `most` (powers of 1000)."""
    for unit in (Unit("TB", 1e12), Unit("GB", 1e9), Unit("MB", 1e6), Unit("kB", 1e3)):
        if most >= 2 * unit.size:
            return unit
    return Unit("bytes", 1)


def new_figure(
    title: str, rows: Sequence[float] = (1,), *, size: tuple[float, float] = (WIDTH_IN, HEIGHT_IN)
) -> tuple[Figure, Any]:
    """Return a figure with a title and its axes below each other, which share x; `rows` are relative heights."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        "\n".join(map(plot_text, title.splitlines())), x=0.012, ha="left", fontsize=10.5, fontweight="bold", color=INK
    )
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(rows)})[:, 0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(FAINT)
        one.tick_params(labelsize=8.5, colors=INK)
        one.grid(color="#e4e4e4", linewidth=0.7)
        one.set_axisbelow(True)
    return figure, axes


def labels(axes: Axes, x: str, y: str) -> None:
    """Name the axes."""
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)


def legend(figure: Figure, axes: Axes, *, num_columns: int = 4) -> None:
    """Put the legend below the axes, where no data are."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    longest = max(map(len, names))
    columns = max(1, min(num_columns, len(handles), int(68 / (longest + 6))))
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, labelcolor=INK,
        handlelength=1.8, columnspacing=1.4,
    )  # fmt: skip


def percent_axis(axes: Axes) -> None:
    """Fit an axis of percentages to its data, within 0 and 100, and leave a little room."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), min(101.0, high))


def show_means(axes: Axes, values: npt.NDArray[np.float64], *, is_logarithmic: bool = False) -> None:
    """Fit an axis to `values` and to as much else of what is drawn as leaves them readable.

    Confidence bands of two or three runs can be many times as wide as anything that was measured.
    """
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    drawn_low, drawn_high = axes.get_ylim()
    if is_logarithmic:
        room = np.sqrt(max(high / low, 1.2))
        axes.set_ylim(max(low / room, drawn_low) if drawn_low > 0 else low / room, min(high * room, drawn_high))
        return
    room = 0.5 * max(high - low, abs(high), 1e-9)
    axes.set_ylim(max(low - room, drawn_low), min(high + room, drawn_high))


def log_axis(axes: Axes) -> None:
    """Make an axis logarithmic, with numbers that are written out, also where it spans less than a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    few_powers = high < 1000 * low
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_powers else (1.0,), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def count_axis(axes: Axes) -> None:
    """Let an axis of counts begin at 0 and have whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))


def markers(num_points: int) -> dict[str, Any]:
    """Return how points are marked: not at all where they are many."""
    return {"marker": "o", "markersize": 2.8} if num_points <= 12 else {}


def mark_events(axes: Sequence[Axes], events: Sequence[EventRecord], unit: Unit) -> None:
    """Draw a line through all axes for each event, its name above the first, in as many rows as they need.

    Events of one name that would be drawn over each other are one line, with their number. When there are too many
    lines (churn), marks along the upper edge stand for all.
    """
    first = axes[0]
    low, high = first.get_xlim()
    marks = _merged(events, unit, 0.012 * (high - low))
    if len(marks) > MOST_MARKED:
        times = [event.at_s / unit.size for event in events]
        transform = first.get_xaxis_transform()
        first.plot(times, np.full(len(times), 1.0), "|", color=PALETTE[1], markersize=6, alpha=0.6, transform=transform,
                   clip_on=False, label="_")  # fmt: skip
        _write(first, f"{len(events)} events", (low + high) / 2, 0, "center")
        first.set_xlim(low, high)
        return
    width = 0.86 * WIDTH_IN * 72
    ends: list[float] = []
    for time, text in marks:
        for one in axes:
            one.axvline(time, color=FAINT, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1.5)
        middle = (time - low) / (high - low) * width
        half = 0.5 * (len(text) * 0.56 * LABEL_POINTS + 6)
        side = "left" if middle < half else "right" if middle > width - half else "center"
        begin = {"left": middle, "right": middle - 2 * half, "center": middle - half}[side]
        row = next((row for row, end in enumerate(ends) if end <= begin), len(ends))
        ends[row : row + 1] = [begin + 2 * half]
        _write(first, text, time, row, side)
    first.set_xlim(low, high)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG."""
    return _saved(figure, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG: text as outlines, so that it looks the same everywhere."""
    return _saved(figure, format="svg", metadata={"Date": None, "Creator": None})


def plot_text(text: str) -> str:
    """Return text that a plot shows as it is: on one line, no formulas, what is not printable as escapes."""
    shown = visible(" ".join(text.split())).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # a label that begins so would be left out of the legend


def _merged(events: Sequence[EventRecord], unit: Unit, near: float) -> list[tuple[float, str]]:
    merged: list[tuple[float, str]] = []
    for name in dict.fromkeys(event.name for event in events):
        times = sorted(event.at_s / unit.size for event in events if event.name == name)
        for cluster in _clusters(times, near):
            shown = plot_text(name)[:28]
            merged.append((cluster[0], f"{shown} x{len(cluster)}" if len(cluster) > 1 else shown))
    return sorted(merged)


def _clusters(times: Sequence[float], near: float) -> Iterator[list[float]]:
    """Cut a sorted list where two neighbours are more than `near` apart."""
    cuts = [place for place, (a, b) in enumerate(pairwise(times), 1) if b - a > near]
    for begin, end in pairwise([0, *cuts, len(times)]):
        yield list(times[begin:end])


def _write(axes: Axes, text: str, at: float, row: int, side: str) -> None:
    axes.annotate(
        text, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3 + row * (LABEL_POINTS + 2.5)),
        textcoords="offset points", ha=side, va="bottom", fontsize=LABEL_POINTS, color=FAINT, annotation_clip=False,
    )  # fmt: skip


def _saved(figure: Figure, **options: Any) -> bytes:
    import matplotlib as mpl

    content = io.BytesIO()
    settings: Any = {"svg.hashsalt": "murmuration", "svg.fonttype": "path"}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names may be in any script
        figure.savefig(content, **options)
    figure.set_layout_engine("none")  # it has been laid out: saving it again need not do that again
    return content.getvalue()
