"""Which runs are one curve: those of one scenario under different seeds, or those that agree in a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from netsim.experiments.report.curves import Estimate, column, estimate, time_to
from netsim.experiments.report.settings import UNSET, differing, flat
from netsim.experiments.run_folder import Run
from peer.config.spelling import toml_value
from peer.errors import ConfigError

KEYS_IN_LABEL = 2
LABEL_LENGTH = 56


class Pool(NamedTuple):
    """Runs that are averaged. `settings`: what tells them from the other pools, by the path of the key."""

    label: str
    runs: Sequence[Run]
    settings: dict[str, Any]

    def final(self, name: str) -> Estimate:
        """Return the last value of a field of the totals, over the runs."""
        return estimate([getattr(run.totals[-1], name) for run in self.runs])

    def time_to(self, threshold: float) -> Estimate:
        """Return when the mean accuracy reached a threshold, over the runs in which it did."""
        return estimate(
            [time_to(column(r.totals, "at_s"), column(r.totals, "accuracy_mean"), threshold) for r in self.runs]
        )


def pools_of(runs: Sequence[Run], group_by: str = "") -> list[Pool]:
    """Pool runs of the same scenario, or, given the path of a key, those with the same value there.

    Pools come in the order of their first runs; values of a key that are numbers come sorted. Raises `ConfigError` for
    a key that no scenario has.
    """
    settings = {id(run): flat(run.record.scenario) for run in runs}
    if group_by and not any(group_by in table for table in settings.values()):
        known = sorted({path for table in settings.values() for path in table})
        near = [path for path in known if path.startswith(group_by) or path.endswith(f".{group_by}")]
        raise ConfigError(f"--group-by {group_by}: no scenario has it; known: {', '.join((near or known)[:12])}")
    pooled: dict[str, list[Run]] = {}
    for run in runs:
        key = toml_value(settings[id(run)].get(group_by, UNSET)) if group_by else run.record.scenario_hash
        pooled.setdefault(key, []).append(run)
    members = list(pooled.values())
    firsts = [settings[id(one[0])] for one in members]
    paths = [group_by] if group_by else differing([one[0].record.scenario for one in members])
    if len(paths) == 1 and all(_is_number(first.get(paths[0])) for first in firsts):
        members.sort(key=lambda one: float(settings[id(one[0])][paths[0]]))
    return _labelled(members, [{path: settings[id(one[0])].get(path, UNSET) for path in paths} for one in members])


def numeric_axis(pools: Sequence[Pool]) -> str:
    """Return the one key in which three or more pools differ, when its values are numbers; else nothing."""
    keys = list(pools[0].settings)
    if len(pools) < 3 or len(keys) != 1 or not all(_is_number(pool.settings[keys[0]]) for pool in pools):
        return ""
    return keys[0]


def shown_value(value: Any) -> str:
    """Return a setting as text."""
    return value if isinstance(value, str) else toml_value(value)


def _labelled(members: Sequence[Sequence[Run]], settings: Sequence[dict[str, Any]]) -> list[Pool]:
    names = [one[0].record.name for one in members]
    names_tell = len(set(names)) == len(members)
    labels = []
    for name, table in zip(names, settings, strict=True):
        keys = [f"{path} = {shown_value(value)}" for path, value in table.items()]
        shown = keys if len(keys) <= KEYS_IN_LABEL else [] if names_tell else [*keys[:KEYS_IN_LABEL], "…"]
        parts = [name] if len(set(names)) > 1 or not shown else []
        label = ", ".join([*parts, *shown])
        labels.append(label if len(label) <= LABEL_LENGTH else label[: LABEL_LENGTH - 1] + "…")
    if len(set(labels)) < len(labels):
        hashes = [one[0].record.scenario_hash[:8] for one in members]
        labels = [f"{label} [{digits}]" for label, digits in zip(labels, hashes, strict=True)]
    return [Pool(label, one, table) for label, one, table in zip(labels, members, settings, strict=True)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
