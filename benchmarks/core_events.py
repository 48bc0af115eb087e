"""Events per second of the exchange core under a heap, without training: `python -m benchmarks.core_events`.

Peers on a random 4-regular graph exchange round after round in virtual time. A message takes 20 ms, a snapshot is one
message, local steps take 1 s give or take a tenth (seeded), admission and mixing take no time, nothing is lost.

    event        one message delivered to a core, or one timer of a core that fired, and what a shell does after it:
                 events acted on, messages sent, the next timer looked up and planned
    node-round   one round of one peer: with 4 neighbours about 12 messages, 1 publication and 1 timer

What is timed is CPU time of this process, heap and collector of garbage included; building the world and the first
rounds are not. Target: 200,000 events per second. `--profile` prints where the time goes, `--memory` what a core takes.
Prints a table and one JSON line. Never fails on a slow machine: it only measures.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import heapq
import json
import pstats
import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from peer.core.exchange import ExchangeCore, Phase
from peer.core.exchange_events import CheckModel, ExchangeConfig, RoundReady
from peer.core.messages import Manifest, Message, PeerId
from topology.families import registry as families

TARGET_EVENTS_PER_S = 200_000
LATENCY_S = 0.02
TRAINING_S, JITTER_S = 1.0, 0.1
WARM_UP_S = 3.0
NODE_ROUNDS = 40_000  # as many are timed, about, whatever the number of peers
SWARM, SPACE = b"s" * 32, b"p" * 32

Action = Callable[[Any, Any], None]
_TRAINING = Phase.TRAINING


class World:
    """A heap of (time, place, action, two arguments), and the peers that put things into it."""

    def __init__(self, num_peers: int, degree: int, seed: int) -> None:
        self.now = 0.0
        self.num_events = 0
        self.heap: list[tuple[float, int, Action, Any, Any]] = []
        self._planned = 0
        names = [PeerId(f"peer-{i:06}") for i in range(num_peers)]
        graph = families.build("regular", {"degree": degree}).build(names, seed)
        config = ExchangeConfig(SWARM, SPACE, max_model_bytes=1_000_000, deadline_s=10.0)
        self.peers = {name: Shell(self, name, config, seed) for name in names}
        self.receivers = {name: peer.receive for name, peer in self.peers.items()}
        for name, peer in self.peers.items():
            for other in graph.neighbours(name):
                peer.core.link_up(other, 0.0)
            peer.core.set_neighbours(graph.neighbours(name), 0.0)
        for peer in self.peers.values():
            peer.begin_round()

    def at(self, when: float, action: Action, first: Any = None, second: Any = None) -> None:
        """Have `action(first, second)` called at a time."""
        self._planned += 1
        heapq.heappush(self.heap, (when, self._planned, action, first, second))

    def run(self, until: float) -> None:
        """Play everything that is due before a time."""
        heap, pop = self.heap, heapq.heappop
        while heap[0][0] < until:
            self.now, _, action, first, second = pop(heap)
            action(first, second)

    def num_rounds(self) -> int:
        """Return the rounds done, over all peers."""
        return sum(peer.core.round for peer in self.peers.values())


class Shell:
    """The least that a shell has to do for one core."""

    __slots__ = ("_author", "_planned", "_rng", "_seq", "core", "name", "world")

    def __init__(self, world: World, name: PeerId, config: ExchangeConfig, seed: int) -> None:
        self.world, self.name = world, name
        self._rng = random.Random(f"{seed}/{name}")
        self.core = ExchangeCore(config, first_round=0, is_authentic=_always, rng=self._rng)
        self._author = name.encode().ljust(32, b".")
        self._seq = 0
        self._planned: list[float] = []

    def begin_round(self) -> None:
        """Train."""
        duration_s = TRAINING_S + self._rng.uniform(-JITTER_S, JITTER_S)
        self.world.at(self.world.now + duration_s, self.trained)

    def trained(self, _: object, __: object) -> None:
        """Publish the result of the training."""
        core, now = self.core, self.world.now
        self._seq += 1
        sha256 = self._author[:24] + self._seq.to_bytes(8)
        core.publish(Manifest(SWARM, SPACE, self._author, self._seq, core.round, 10, 80, 4, 9640, sha256), now)
        self.flush(now)

    def receive(self, sender: PeerId, message: Message) -> None:
        """Take in a message."""
        world = self.world
        world.num_events += 1
        self.core.receive_message(message, sender, world.now)
        self.flush(world.now)

    def wake(self, _: object, __: object) -> None:
        """Let the core do what is due. Most of the time that has been seen to: who was asked has answered."""
        self._planned.pop()
        now = self.world.now
        due = self.core.get_timer()
        if due is not None and due <= now:
            self.world.num_events += 1
            self.core.handle_timer(now)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Act on events, send messages, plan the next timer."""
        core, world = self.core, self.world
        while core.events:
            event = core.next_event()
            if type(event) is CheckModel:
                core.checked(event.peer, event.manifest, "", now)
            elif type(event) is RoundReady:
                core.mixed()
                assert core.phase is _TRAINING
                self.begin_round()
        for to, message in core.messages_to_send(now):
            world.at(now + LATENCY_S, world.receivers[to], self.name, message)
        due = core.get_timer()
        if due is not None and (not self._planned or due < self._planned[-1]):
            self._planned.append(due)  # the earliest is the last; what was planned before stays, and may do for later
            world.at(due, self.wake)


def _always(manifest: Manifest, sender: PeerId) -> bool:  # noqa: ARG001  the core calls it so
    return True


@dataclass(frozen=True)
class Figures:
    """What was measured with so many peers."""

    num_peers: int
    events_per_s: float
    node_rounds_per_s: float
    events_per_node_round: float


def measure(num_peers: int, degree: int, seed: int, profile: cProfile.Profile | None) -> Figures:
    """Run one world."""
    world = World(num_peers, degree, seed)
    world.run(WARM_UP_S)
    gc.collect()
    num_events, num_rounds, until = world.num_events, world.num_rounds(), WARM_UP_S
    cpu_s = 0.0
    while world.num_rounds() - num_rounds < NODE_ROUNDS:
        until += 1.0
        if profile is not None:
            profile.enable()
        began = time.process_time()
        world.run(until)
        cpu_s += time.process_time() - began
        if profile is not None:
            profile.disable()
    num_events, num_rounds = world.num_events - num_events, world.num_rounds() - num_rounds
    return Figures(num_peers, num_events / cpu_s, num_rounds / cpu_s, num_events / num_rounds)


def core_bytes(num_peers: int, degree: int, seed: int) -> float:
    """Return the bytes that `peer/core/` allocated and still holds after some rounds, per core.

    Messages in flight count, snapshots' headers do not: the shell makes those, one for all who hold it.
    """
    tracemalloc.start()
    world = World(num_peers, degree, seed)
    world.run(WARM_UP_S)
    gc.collect()
    found = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/peer/core/*")])
    tracemalloc.stop()
    total = sum(statistic.size for statistic in found.statistics("filename"))
    return total / len(world.peers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--degree", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest run of so many counts")
    parser.add_argument("--profile", action="store_true", help="print the 15 functions that cost most")
    parser.add_argument("--memory", action="store_true", help="measure the bytes per core, too (slow)")
    arguments = parser.parse_args()
    console = Console()
    table = Table(
        title=f"Exchange cores under a heap, degree {arguments.degree}; target {TARGET_EVENTS_PER_S:,} events/s"
    )
    for heading in ("peers", "events/s", "node-rounds/s", "events/node-round", "bytes/core"):
        table.add_column(heading, justify="right")
    rows = []
    for num_peers in arguments.peers:
        runs = [measure(num_peers, arguments.degree, arguments.seed, None) for _ in range(arguments.repeats)]
        best = max(runs, key=lambda run: run.events_per_s)
        size_bytes = core_bytes(num_peers, arguments.degree, arguments.seed) if arguments.memory else None
        table.add_row(
            f"{num_peers:,}",
            f"{best.events_per_s:,.0f}",
            f"{best.node_rounds_per_s:,.0f}",
            f"{best.events_per_node_round:.2f}",
            "-" if size_bytes is None else f"{size_bytes:,.0f}",
        )
        rows.append(
            {
                "peers": num_peers,
                "events_per_s": round(best.events_per_s),
                "node_rounds_per_s": round(best.node_rounds_per_s),
                "events_per_node_round": round(best.events_per_node_round, 2),
                "core_bytes": None if size_bytes is None else round(size_bytes),
            }
        )
    console.print(table)
    if arguments.profile:
        profile = cProfile.Profile()
        measure(arguments.peers[-1], arguments.degree, arguments.seed, profile)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
    print(json.dumps({"benchmark": "core_events", "degree": arguments.degree, "rows": rows}))


if __name__ == "__main__":
    main()
