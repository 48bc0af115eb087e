"""The report: one HTML page that needs nothing but itself, and the pictures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netsim.experiments.report.curves import Estimate, column, thresholds, time_to
from netsim.experiments.report.markup import (
    document,
    escaped,
    facts_table,
    figures,
    paragraph,
    preformatted,
    swatch,
    table,
    tiles,
)
from netsim.experiments.report.pools import KEYS_IN_LABEL, Pool, pools_of, shown_value
from netsim.experiments.report.settings import UNSET, as_toml
from netsim.experiments.run_folder import RECORD, Run, read_run
from peer.cli.status_view import bytes_, number, ratio, seconds
from peer.errors import ConfigError, StoreError
from peer.store.atomic import plain_reason

if TYPE_CHECKING:
    from netsim.experiments.report.style import Plot

MOST_EVENTS = 200
"""Events that the page lists; all are in the record."""

_TIMES = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0))
_BYTES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


def write_report(
    folders: Sequence[Path], page: Path, *, png_folder: Path | None = None, group_by: str = ""
) -> list[Path]:
    """Write the report on the runs in `folders` as `page`, and the pictures into `png_folder`; return those.

    A folder may also hold folders of runs. One run is shown as it is. Several are pooled by scenario, or by the value
    of the key `group_by`. Raises `ConfigError` for what is no run, `StoreError` when the system refuses to write.
    """
    runs = [read_run(folder) for folder in run_folders(folders)]
    for run in runs:
        if not run.totals:
            raise ConfigError(f"{run.folder}: nothing was measured in this run")
    title, body, plots = _of_one(runs[0]) if len(runs) == 1 else _of_many(runs, group_by)
    written = []
    try:
        if png_folder is not None:
            from netsim.experiments.report.style import png

            png_folder.mkdir(parents=True, exist_ok=True)
            for plot in plots:
                written.append(png_folder / f"{plot.name}.png")
                written[-1].write_bytes(png(plot.figure))
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(document(title, body), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {error.filename or page}: {plain_reason(error)}") from error
    return written


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of runs among and directly in `folders`, each once, sorted within a folder of runs."""
    found: dict[Path, None] = {}
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"*/{RECORD}") if not path.parent.name.endswith(".part"))
        is_many = bool(inside) and not (folder / RECORD).exists()
        found.update(dict.fromkeys(inside if is_many else [folder]))
    return list(found)


def _of_one(run: Run) -> tuple[str, str, list[Plot]]:
    from netsim.experiments.report.run_plots import run_plots

    record = run.record
    plots = run_plots(run)
    title = f"{record.name}, seed {record.seed}"
    body = [
        f"<h1>{escaped(record.name)}</h1>",
        paragraph(record.scenario.get("about")),
        tiles(_glance(run)),
        facts_table(_facts(run)),
        "<h2>To repeat this run</h2>",
        preformatted(record.command or "(not recorded)"),
        "<h2>What happened</h2>",
        _events(run),
        "<h2>Curves</h2>",
        figures(plot for plot in plots if not plot.name.startswith("graph")),
        "<h2>The graph</h2>",
        figures(plot for plot in plots if plot.name.startswith("graph")),
        *_counters(run),
        "<h2>The scenario</h2>",
        '<p class="faint">With all defaults filled in.</p>',
        preformatted(as_toml(record.scenario)),
    ]
    return title, "\n".join(body), plots


def _of_many(runs: Sequence[Run], group_by: str) -> tuple[str, str, list[Plot]]:
    from netsim.experiments.report.pool_plots import pool_plots

    pools = pools_of(runs, group_by)
    names = list(dict.fromkeys(run.record.name for run in runs))
    title = f"{', '.join(names[:4])}{', …' if len(names) > 4 else ''}: {len(runs)} runs"
    plots = pool_plots(pools)
    what = f"the same {group_by}" if group_by else "one scenario under different seeds"
    body = [
        f"<h1>{escaped(title)}</h1>",
        paragraph(runs[0].record.scenario.get("about")) if len(names) == 1 else "",
        f"<p>Runs of {escaped(what)} are one row and one curve: the mean, ± half the width of its 95 % confidence "
        "interval over the runs (Student's t). A run that has ended counts with its last value.</p>",
        "<h2>What came out</h2>",
        _outcomes(pools),
        *_what_differs(pools),
        "<h2>Curves</h2>",
        figures(plot for plot in plots if not plot.name.startswith("graph")),
    ]
    graphs = [plot for plot in plots if plot.name.startswith("graph")]
    if graphs:
        body += ["<h2>The graphs</h2>", figures(graphs)]
    if len(pools) == 1:
        body += [f"<h2>What happened (seed {runs[0].record.seed})</h2>", _events(runs[0])]
    body += ["<h2>The runs</h2>", _runs(pools)]
    body += ["<h2>The scenario</h2>"] if len(pools) == 1 else ["<h2>The first scenario</h2>"]
    body += [
        '<p class="faint">With all defaults filled in.</p>',
        preformatted(as_toml(pools[0].runs[0].record.scenario)),
    ]
    return title, "\n".join(body), plots


def _glance(run: Run) -> list[tuple[str, str]]:
    first, last = run.totals[0], run.totals[-1]
    return [
        (ratio(last.accuracy_mean), f"mean accuracy at the end (from {ratio(first.accuracy_mean)})"),
        (ratio(last.accuracy_min), "accuracy of the worst peer"),
        (f"{last.num_alive} of {len(run.record.peers)}", "peers there at the end"),
        (str(last.largest_component), f"of them in the largest of {_count(last.num_components, 'component')}"),
        (bytes_(last.bytes_sent), f"sent in {seconds(run.record.outcome.at_s)} of virtual time"),
    ]


def _facts(run: Run) -> list[tuple[str, str]]:
    record, last = run.record, run.totals[-1]
    at_s, mean = column(run.totals, "at_s"), column(run.totals, "accuracy_mean")
    bad = sum(peer.is_byzantine for peer in record.peers)
    holders = sum(peer.samples > 0 for peer in record.peers)
    versions = record.versions
    reached = [
        f"{100 * threshold:.0f} % after {seconds(when)}"
        for threshold in thresholds([last.accuracy_mean or 0.0])
        if (when := time_to(at_s, mean, threshold)) is not None
    ]
    facts = [
        ("seed", str(record.seed)),
        ("scenario hash", record.scenario_hash),
        ("ended by", f"{record.outcome.reason}, at {seconds(record.outcome.at_s)}"),
        (
            "accuracy at the end",
            f"{ratio(last.accuracy_min)} to {ratio(last.accuracy_max)}, mean {ratio(last.accuracy_mean)}, standard "
            f"deviation {ratio(last.accuracy_std)}; mean of all models {ratio(last.accuracy_merged)}",
        ),
        ("mean accuracy reached", ", ".join(reached)),
        ("consensus distance", number(last.consensus)),
        ("rounds", f"{last.round_min} to {last.round_max}, median {last.round_median}; {last.node_rounds:,} in all"),
        ("peers", f"{len(record.peers)}, {holders} with data" + (f", {bad} Byzantine" if bad else "")),
        ("messages", f"{last.messages_sent:,}; {last.transfers_broken:,} transfers broke in the middle"),
        (
            "computed with",
            f"murmuration {versions.murmuration}, Python {versions.python}, torch {versions.torch}, "
            f"numpy {versions.numpy}",
        ),
    ]
    if run.timing is not None:
        timing = run.timing
        cost = (
            f"{seconds(timing.wall_s)}, {timing.events_per_s:,.0f} events/s, {bytes_(timing.peak_rss_bytes)} of memory"
        )
        facts.append(("computed in", f"{cost}, on {timing.machine}"))
    return [(name, value) for name, value in facts if value]


def _events(run: Run) -> str:
    events = run.record.events
    if not events:
        return '<p class="faint">No event was on the timeline.</p>'
    rows = [
        (escaped(seconds(event.at_s)), escaped(event.name), escaped(event.text), str(len(event.peers) or ""))
        for event in events[:MOST_EVENTS]
    ]
    more = len(events) - len(rows)
    rest = f'<p class="faint">And {more} more, which are in {RECORD}.</p>' if more > 0 else ""
    return table(("at", "event", "what", "peers"), rows, numeric=(0, 3)) + rest


def _counters(run: Run) -> list[str]:
    counters = run.record.counters
    if not counters:
        return []
    rows = [(escaped(name.replace("_", " ")), f"{value:,}") for name, value in counters.items()]
    return ["<h2>What was counted</h2>", table(("", ""), rows, numeric=(1,))]


def _outcomes(pools: Sequence[Pool]) -> str:
    from netsim.experiments.report.pool_plots import colour_of

    levels = thresholds([pool.final("accuracy_mean").mean for pool in pools])
    head = [
        "", "runs", "accuracy, %", "worst peer, %", "mean of models, %",
        *(f"{100 * level:.0f} % after" for level in levels), "sent", "there at the end", "components",
    ]  # fmt: skip
    rows = [
        [
            swatch(colour_of(place)) * (len(pools) > 1) + escaped(pool.label),
            str(len(pool.runs)),
            _estimate(pool.final("accuracy_mean"), 100, "{:.1f}"),
            _estimate(pool.final("accuracy_min"), 100, "{:.1f}"),
            _estimate(pool.final("accuracy_merged"), 100, "{:.1f}"),
            *(_duration(pool.time_to(level), len(pool.runs)) for level in levels),
            _in_units(pool.final("bytes_sent"), _BYTES),
            _estimate(pool.final("num_alive"), 1, "{:.1f}"),
            _estimate(pool.final("num_components"), 1, "{:.1f}"),
        ]
        for place, pool in enumerate(pools)
    ]
    return table(head, rows, numeric=range(1, len(head)))


def _what_differs(pools: Sequence[Pool]) -> list[str]:
    paths = list(pools[0].settings)
    if len(pools) == 1 or (len(paths) <= KEYS_IN_LABEL and not any("…" in pool.label for pool in pools)):
        return []  # the labels say it
    from netsim.experiments.report.pool_plots import colour_of

    rows = [
        [
            swatch(colour_of(place)) + escaped(pool.label),
            *(escaped(shown_value(pool.settings.get(path, UNSET))) for path in paths),
        ]
        for place, pool in enumerate(pools)
    ]
    return ["<h2>What differs</h2>", table(["", *map(escaped, paths)], rows)]


def _runs(pools: Sequence[Pool]) -> str:
    rows = [
        [
            escaped(run.record.name),
            str(run.record.seed),
            f"<code>{escaped(run.record.scenario_hash[:12])}</code>",
            escaped(ratio(run.totals[-1].accuracy_mean)),
            escaped(seconds(run.record.outcome.at_s)),
            escaped(run.record.outcome.reason),
            f"<code>{escaped(run.record.command)}</code>",
        ]
        for pool in pools
        for run in pool.runs
    ]
    return table(("scenario", "seed", "hash", "accuracy", "ended at", "by", "to repeat it"), rows, numeric=(1, 3, 4))


def _estimate(estimate: Estimate, factor: float, form: str) -> str:
    if not estimate.num_runs:
        return "-"
    mean = form.format(factor * estimate.mean)
    is_known = estimate.num_runs > 1
    return f"{mean} ± {form.format(factor * estimate.half_width)}" if is_known else mean


def _duration(estimate: Estimate, num_runs: int) -> str:
    """Return a time as mean ± confidence; where not all runs have come so far, in how many."""
    if not estimate.num_runs:
        return "never"
    if estimate.num_runs < num_runs:
        return f"{_in_units(estimate._replace(num_runs=1), _TIMES)} (in {estimate.num_runs} of {num_runs})"
    return _in_units(estimate, _TIMES)


def _in_units(estimate: Estimate, units: Sequence[tuple[str, float]]) -> str:
    """Return a figure with one decimal, in the largest unit of which it is two, or in the smallest."""
    name, size = next((unit for unit in units if estimate.mean >= 2 * unit[1]), units[-1])
    return f"{_estimate(estimate, 1 / size, '{:.1f}')} {name}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
