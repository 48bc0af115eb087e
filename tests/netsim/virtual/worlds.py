"""Small worlds for tests."""

from __future__ import annotations

from typing import Any

from netsim.scenario.reading import scenario_of
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.ledger import Ledger
from netsim.virtual.world import World

CONSTANT = {"name": "constant", "value": 0.02}


def scenario(count: int = 8, **tables: Any) -> Scenario:
    """Return a scenario of `count` peers on a complete graph, quick and without chance; tables are merged into it."""
    whole: dict[str, Any] = {
        "name": "test",
        "peers": {"count": count},
        "topology": {"family": {"name": "complete"}},
        "rounds": {"total": 5, "quorum": 1.0, "deadline_s": 5.0},
        "links": {"latency_s": CONSTANT, "silence_s": 2.0},
        "membership": {"heartbeat_s": 1.0, "timeout_s": 4.0},
        "world": {"spread": 0.0},
    }
    for name, table in tables.items():
        whole[name] = {**whole.get(name, {}), **table} if isinstance(table, dict) else table
    return scenario_of(whole, "test")


def world(count: int = 8, *, seed: int = 1, traces: bool = True, **tables: Any) -> World:
    """Return a world without models."""
    return World(scenario(count, **tables), seed, lambda world: Ledger(len(world.names), traces=traces))


def event(at_s: float, **event: Any) -> dict[str, Any]:
    return {"at_s": at_s, "event": event}
