"""Write the pages of `docs/` that say what there is to set and to measure: `python -m peer.reference`.

They are made from the declarations themselves; a test fails when a committed page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client.metrics_core import Metric

from aggregation.catalogue import KINDS, Entry, entry_of, recipe_entries
from peer.config.complaints import bounds, expected_values
from peer.config.knobs import Knob, Section, knobs_of
from peer.config.peer_file import PeerFile
from peer.config.profiles import PROFILES, Timing
from peer.config.spelling import toml_value
from peer.config.swarm_file import SwarmFile
from peer.control.metrics import Metrics
from peer.control.status import Status

HEAD = "<!-- Made by `make docs` from the code: change it there. -->\n"


def settings_page() -> str:
    """Return `docs/settings.md`."""
    return "\n".join(
        [
            HEAD,
            "# Settings",
            "",
            "Two files in TOML. `murmuration init` writes both, with these explanations in them. A key that is",
            "not listed here is an error; so is a value of another type, unit or range.",
            "",
            *file_tables("swarm.toml", SwarmFile),
            *file_tables("peer.toml", PeerFile),
            *_profiles(),
            *_environment(),
        ]
    )


def metrics_page() -> str:
    """Return `docs/metrics.md`."""
    lines = [
        HEAD,
        "# Metrics",
        "",
        "Served in Prometheus' text format at `/metrics`, on the address that `control.http` in `peer.toml` names and",
        "on the unix socket. No label is ever a peer's id.",
        "",
        "| metric | type | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{_sample_name(family)}` | {family.type} | {family.documentation} |" for family in _families()]
    kinds = sorted(
        sample.labels["kind"] for family in _families() for sample in family.samples if "kind" in sample.labels
    )
    lines += ["", "Kinds of `murmuration_faults_total`: " + ", ".join(f"`{kind}`" for kind in kinds) + ".", ""]
    return "\n".join(lines)


def pieces_page() -> str:
    """Return `docs/pieces.md`."""
    lines = [
        HEAD,
        "# Pieces of methods",
        "",
        "A method is a composition of pieces: `murmuration methods` lists those that are installed,",
        "`murmuration methods NAME` shows one whole. Pieces of other packages join by entry points, see",
        "[CONTRIBUTING.md](../CONTRIBUTING.md). How well they do is in [methods.md](methods.md).",
        "",
    ]
    lines += ["## recipe", "", "Published methods as compositions of the pieces below.", ""]
    for recipe in recipe_entries():
        lines += piece_text(recipe)
    for registry in KINDS:
        lines += [f"## {registry.kind}", "", f"Entry points: `{registry.entry_point_group}`.", ""]
        for name in registry.builtin_names():
            lines += piece_text(entry_of(registry, name))
    return "\n".join(lines)


def piece_text(entry: Entry) -> Iterable[str]:
    """Yield the lines that say what a piece is."""
    yield from (f"### {entry.name}", "", entry.summary, "", "```", *entry.formula, "```", "", entry.source, "")
    if entry.parameters:
        yield from ("| parameter | default | takes | meaning |", "|---|---|---|---|")
        for p in entry.parameters:
            default = f"`{p.default}`" if p.default else "must be given"
            yield f"| `{p.name}` | {default} | {p.takes} | {_in_table(p.meaning)} |"
        yield ""


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "pieces.md": pieces_page,
}


def write_pages(pages: Mapping[str, Callable[[], str]], folder: Path) -> None:
    """Write pages by name into `folder`."""
    for name, page in pages.items():
        (folder / name).write_text(page(), encoding="utf-8")


def file_tables(name: str, whole: type[Section]) -> Iterable[str]:
    """Yield the lines that say all settings of a file."""
    yield from (f"## {name}", "", (whole.__module__ and (sys.modules[whole.__module__].__doc__ or "")).strip(), "")
    yield from _section_tables(whole, "")


def _section_tables(section: type[Section], prefix: str) -> Iterable[str]:
    knobs = knobs_of(section).values()
    if single := [knob for knob in knobs if knob.section is None and knob.item_section is None]:
        yield from _table(single)
    for knob in knobs:
        inner = knob.section or knob.item_section
        if inner is not None:
            head = f"[{prefix}{knob.name}]" if knob.section else f"[[{prefix}{knob.name}]]"
            meaning = knob.meaning if knob.section else f"{knob.meaning} {(inner.__doc__ or '').strip()}"
            yield from (f"### {head}", "", meaning, "")
            yield from _section_tables(inner, f"{prefix}{knob.name}.")


def _table(knobs: Iterable[Knob]) -> Iterable[str]:
    yield from ("| setting | default | takes | meaning |", "|---|---|---|---|")
    for knob in knobs:
        yield f"| `{knob.name}` | {_default(knob)} | {_takes(knob)} | {_meaning(knob)} |"
    yield ""


def _default(knob: Knob) -> str:
    if knob.default is msgspec.NODEFAULT:
        return "must be given"
    if knob.default is None:
        return "not set" if knob.is_piece else "by the profile"
    return f"`{toml_value(knob.default)}`"


def _takes(knob: Knob) -> str:
    if values := expected_values(knob):
        return ", ".join(f"`{toml_value(value)}`" for value in values)
    kinds = {"FloatType": "number", "IntType": "whole number", "BoolType": "true or false", "StrType": "text"}
    kinds |= {"CustomType": "path", "VarTupleType": "list", "StructType": "piece"}
    unit = f" of {knob.unit_word}" if knob.unit else ""
    return f"{kinds[type(knob.kind).__name__]}{unit}{bounds(knob.kind)}"


def _meaning(knob: Knob) -> str:
    costs = (("Larger", knob.larger), ("Smaller", knob.smaller))
    text = knob.meaning + "".join(f"<br>{word}: {cost}." for word, cost in costs if cost)
    return _in_table(text)


def _in_table(text: str) -> str:
    return text.replace("|", "\\|")


def _profiles() -> Iterable[str]:
    yield from ("### Profiles", "", (sys.modules[Timing.__module__].__doc__ or "").strip(), "")
    yield "| setting | " + " | ".join(PROFILES) + " |"
    yield "|---|" + "---|" * len(PROFILES)
    for name in Timing.__struct_fields__:
        yield f"| `{name}` | " + " | ".join(f"{getattr(timing, name):g}" for timing in PROFILES.values()) + " |"
    yield ""


def _environment() -> Iterable[str]:
    yield from (
        "## Environment",
        "",
        "| variable | meaning |",
        "|---|---|",
        "| `MURMURATION_PASSPHRASE` | Passphrase of the key file. Not handed on to the trainer. |",
        "| `CREDENTIALS_DIRECTORY` | Set by systemd: the file `murmuration-passphrase` in it holds the passphrase. |",
        "",
    )


def _families() -> list[Metric]:
    metrics = Metrics()
    nothing = Status(peer="", swarm="", swarm_id="", agent="", pid=0, uptime_s=0.0, state="starting")
    metrics.watch(lambda: nothing)
    return sorted(metrics.registry.collect(), key=lambda family: family.name)


def _sample_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


if __name__ == "__main__":
    write_pages(PAGES, Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
