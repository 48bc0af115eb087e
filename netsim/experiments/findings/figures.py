"""What is read off the folder of a run."""

from __future__ import annotations

from collections.abc import Callable

from netsim.experiments.findings.experiment import OfRun, Value
from netsim.experiments.run_folder import Run, TotalsRow


def final(name: str) -> OfRun:
    """Return the figure `name` of the last row of totals."""

    def read(run: Run) -> Value:
        value = getattr(run.totals[-1], name)
        return None if value is None else float(value)

    return read


accuracy = final("accuracy_mean")
worst = final("accuracy_min")


def at_round(name: str, round: int) -> OfRun:
    """Return the figure `name` when the median peer began `round`: of the first row from then on."""

    def read(run: Run) -> Value:
        value = next((getattr(row, name) for row in run.totals if row.round_median >= round), None)
        return None if value is None else float(value)

    return read


def at_time(name: str, at_s: float) -> OfRun:
    """Return the figure `name` as it was last measured up to `at_s`."""

    def read(run: Run) -> Value:
        rows = [row for row in run.totals if row.at_s <= at_s]
        value = getattr(rows[-1], name) if rows else None
        return None if value is None else float(value)

    return read


def when_reached(name: str, threshold: float, of: Callable[[TotalsRow], float]) -> OfRun:
    """Return `of` the first row in which the figure `name` is at least `threshold`; None where it never is."""

    def read(run: Run) -> Value:
        for row in run.totals:
            value = getattr(row, name)
            if value is not None and value >= threshold:
                return float(of(row))
        return None

    return read


def largest_share(run: Run) -> float:
    """Return the largest component at the end, as a share of those who are there."""
    last = run.totals[-1]
    return last.largest_component / max(1, last.num_alive)
