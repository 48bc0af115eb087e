"""Write `docs/scenario.md` from the declarations of the scenario file: `python -m netsim.reference`.

A test fails when the committed page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aggregation.catalogue import entry_of
from netsim.churn import registry as churns
from netsim.distributions import registry as distributions
from netsim.experiments import library
from netsim.happenings import registry as happenings
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.protocol import protocols
from peer.reference import HEAD, file_tables, piece_text, write_pages
from topology.disruption import registry as targets
from topology.registry import Registry
from topology.samplers import registry as samplers

KINDS: tuple[Registry[Any], ...] = (happenings, targets, churns, distributions, samplers, protocols)


def scenario_page() -> str:
    """Return `docs/scenario.md`."""
    lines = [
        HEAD,
        "# Scenarios",
        "",
        "`murmuration sim FILE` runs a scenario in virtual time, `murmuration sweep FILE --over KEY=[...]` a grid",
        "over any of its keys, `murmuration report RUN...` shows what came out. These come with murmuration:",
        "",
        "| `murmuration sim ...` | what it is |",
        "|---|---|",
        *(f"| `{name}` | {' '.join(library.load(name).about.split())} |" for name in library.names()),
        "",
        *file_tables("scenario.toml", Scenario),
        "## Pieces",
        "",
        "Everything with a `name` is a piece: ours are below, those of methods and graphs in",
        "[pieces.md](pieces.md); those of other packages join by entry points.",
        "",
    ]
    for registry in KINDS:
        lines += [f"### {registry.kind}", "", f"Entry points: `{registry.entry_point_group}`.", ""]
        for name in registry.builtin_names():
            lines += [line.replace("### ", "#### ", 1) for line in piece_text(entry_of(registry, name))]
    return "\n".join(lines)


PAGES: Mapping[str, Callable[[], str]] = {"scenario.md": scenario_page}

if __name__ == "__main__":
    write_pages(PAGES, Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
