"""Random worlds against the invariants: `make soak` plays a thousand, the test suite a few dozen.

A seed draws a scenario: peers and graph, churn, loss, latencies, limited links, partitions, crashes, slow-downs, quorum
and deadline. It is played without models, at the speed of the protocol, while the watch looks on. What fails prints
its seed, the scenario as TOML, and the one command that plays it again.

    python -m tests.netsim.soak 1000            seeds 0 .. 999
    python -m tests.netsim.soak --seed 17       that one
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any

from netsim.scenario.checks import check_scenario
from netsim.scenario.reading import scenario_of
from netsim.virtual.ledger import Ledger
from netsim.virtual.round_protocol import RoundProtocol
from netsim.virtual.stream import Stream
from netsim.virtual.world import World
from peer.config.spelling import toml_value
from peer.core.offers import KEPT

UNTIL_S = 240.0


def drawn(seed: int) -> dict[str, Any]:
    """Return the tables of the scenario of a seed."""
    draw = Stream("soak", seed)
    count = 3 + draw.below(14)
    families = [
        {"name": "ring"},
        {"name": "complete"},
        {"name": "regular", "degree": 3 + draw.below(2)},
        {"name": "star"},
        {"name": "barabasi-albert", "m": 2},
    ]
    samplers = [{"name": "static"}] * 3 + [
        {"name": "epidemic-local", "count": 2},
        {"name": "one-peer-exponential"},
        {"name": "matching"},
    ]
    table: dict[str, Any] = {
        "name": "soak",
        "peers": {"count": count},
        "topology": {
            "family": families[draw.below(len(families))],
            "upkeep": ["static", "overlay", "repair"][draw.below(3)],
            "sampler": samplers[draw.below(len(samplers))],
        },
        "rounds": {
            "total": 3 + draw.below(10),
            "quorum": [0.0, 0.5, 0.75, 1.0][draw.below(4)],
            "deadline_s": [0.5, 2.0, 8.0][draw.below(3)],
            "max_age_rounds": draw.below(4),
            "interval_s": [0.0, 0.0, 3.0][draw.below(3)],
            "start_members": [1, 1, count][draw.below(3)],
        },
        "method": {"gossip_steps": 1 + draw.below(2)},
        "membership": {"heartbeat_s": 1.0, "timeout_s": 3.0 + 10 * draw.random()},
        "links": {
            "latency_s": {"name": "uniform", "low": 0.001, "high": 0.3},
            "loss": [0.0, 0.0, 0.05, 0.3][draw.below(4)],
            "silence_s": 5 * draw.random(),
        },
        "world": {"spread": draw.random()},
        "stop": {"time_s": UNTIL_S},
        "timeline": [_event(draw) for _ in range(draw.below(5))],
    }
    if draw.below(3) == 0:
        table["links"]["up_bytes_s"] = {"name": "constant", "value": 5_000.0 + 50_000 * draw.random()}
    if draw.below(3) == 0:
        table["churn"] = {
            "name": "renewal",
            "session": {"name": "exponential", "mean": 30.0},
            "absence": {"name": "exponential", "mean": 10.0},
        }
    return table


def _event(draw: Stream) -> dict[str, Any]:
    who = {"name": "random", "share": 0.1 + 0.6 * draw.random()}
    for_s = [0.0, 20 * draw.random()][draw.below(2)]
    events = [
        {"name": "crash", "who": who, "for_s": for_s, "over_s": 5 * draw.random()},
        {"name": "leave", "who": who, "for_s": for_s},
        {"name": "join", "who": {"name": "random", "share": 0.3}, "over_s": 5 * draw.random()},
        {"name": "partition", "shares": [0.5, 0.5], "for_s": 1 + 30 * draw.random()},
        {"name": "slow-down", "who": who, "factor": 1 + 10 * draw.random(), "for_s": for_s},
        {"name": "link-loss", "share": 0.5, "for_s": 10.0},
        {"name": "hub-loss", "share": 0.2, "for_s": for_s},
        {"name": "throttle", "who": who, "factor": 0.2, "for_s": for_s},
        {"name": "data-loss", "who": who},
    ]
    return {"at_s": 30 * draw.random(), "event": events[draw.below(len(events))]}


def play(seed: int) -> World:
    """Play the scenario of a seed, and look at what must hold at its end."""
    scenario = scenario_of(drawn(seed), f"seed {seed}")
    check_scenario(scenario, f"seed {seed}")
    world = World(scenario, seed, lambda world: Ledger(len(world.names), traces=True))
    world.play()
    check_end(world)
    return world


def check_end(world: World) -> None:
    """What is held at the end is held by somebody who may hold it."""
    ledger, protocol = world.learning, world.protocol
    assert isinstance(ledger, Ledger)
    assert isinstance(protocol, RoundProtocol)
    n = len(world.names)
    if world.stop_reason == "nothing left to happen":
        # no transfers are under way: only inboxes and offers hold snapshots
        assert sum(ledger.holders.values()) <= n * (n + KEPT)
    for peer in protocol.peers:
        if peer.core is None:
            continue
        assert len(peer.core.neighbours) <= n - 1
        for other in peer.core.neighbours:
            entry = peer.core.newest_of(other)
            assert entry is None or protocol.version_of(entry.manifest.sha256) in ledger.holders


def main(arguments: list[str]) -> int:
    """Play seeds; return how many failed."""
    seeds = [int(arguments[1])] if arguments[:1] == ["--seed"] else range(int(arguments[0]))
    began, events, failed = time.perf_counter(), 0, 0
    for seed in seeds:
        try:
            events += play(seed).queue.num_played
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"seed {seed}: {toml_value(drawn(seed))}")
            print(f"to play it again: python -m tests.netsim.soak --seed {seed}", flush=True)
    print(f"{len(seeds) - failed} passed, {failed} failed; {events} events in {time.perf_counter() - began:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
