"""One run of a scenario in virtual time, from the file to the folder of results."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import torch

from aggregation.attacks import registry as attacks
from aggregation.composition import Composition
from aggregation.errors import AggregationError
from aggregation.method import Method
from netsim.experiments.run_folder import Outcome, PeerRecord, RunRecord, RunWriter, Timing, TotalsRow, Versions
from netsim.scenario.reading import scenario_hash
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.cohort import Cohort
from netsim.virtual.learning import Learning
from netsim.virtual.measures import Measures, live_graph
from netsim.virtual.plan import PlannedLearning
from netsim.virtual.plan_events import PlannedEvents
from netsim.virtual.plan_pairs import PlannedPairs
from netsim.virtual.plan_pushes import PlannedPushes
from netsim.virtual.world import World
from peer.core.messages import PeerId
from peer.errors import ConfigError, MurmurationError
from peer.version import VERSION
from topology.errors import TopologyError
from topology.graph import Graph

BY_EVENTS: dict[str, type[PlannedEvents]] = {"pairs": PlannedPairs, "pushes": PlannedPushes}
"""Whose models are not those of rounds, by protocol."""

OnRow = Callable[[TotalsRow, float], None]
"""(row, share): a row was measured; how much of the run is done, 0..1 as far as that is known."""


class SimulationError(MurmurationError):
    """A run broke down; the message has the seed and the command that repeats it."""


def run_scenario(
    scenario: Scenario,
    seed: int,
    folder: Path,
    *,
    threads: int = 1,
    replay: str = "",
    on_row: OnRow | None = None,
) -> RunRecord:
    """Run `scenario` under `seed` and leave the results in `folder`, which must not exist. Returns the record.

    `replay` is the command that repeats this run, for the record and for errors. Raises `ConfigError` for a scenario
    that cannot be run, `SimulationError` when the code under simulation breaks a promise or raises.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    world = _made(scenario, seed, threads, replay)
    with RunWriter(folder) as writer:
        before = world.directory.whole
        measures = Measures(world, writer)
        if on_row is not None:
            measures.on_row = lambda row: on_row(row, _share_done(scenario, row))
        played = time.perf_counter()
        try:
            world.play()
            measures.measure()
        except MurmurationError as error:
            raise SimulationError(f"{error}{_again(replay)}") from error
        except Exception as error:
            raise _broke(error, f"{scenario.name}, seed {seed}, at {world.queue.now:.6f} s", replay) from error
        record = _record(world, before, replay)
        wall_s = time.perf_counter() - played
        writer.finish(
            record,
            Timing(
                wall_s=time.perf_counter() - began,
                events_per_s=world.queue.num_played / max(wall_s, 1e-9),
                peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                machine=platform.platform(),
            ),
        )
    return record


def _made(scenario: Scenario, seed: int, threads: int, replay: str) -> World:
    try:
        return World(scenario, seed, lambda world: learning_of(world, threads))
    except MurmurationError:
        raise
    except (TopologyError, AggregationError) as error:
        raise ConfigError(f"seed {seed}: {error}") from error
    except Exception as error:
        raise _broke(error, f"{scenario.name}, seed {seed}, before it began", replay) from error


def _broke(error: Exception, where: str, replay: str) -> SimulationError:
    what = " ".join(str(error).split())
    return SimulationError(f"{where}: {type(error).__name__}: {what}{_again(replay)}")


def _again(replay: str) -> str:
    return f"; to repeat it: {replay}" if replay else ""


def _share_done(scenario: Scenario, row: TotalsRow) -> float:
    shares = []
    if scenario.rounds.total:
        shares.append(row.round_median / scenario.rounds.total)
    if scenario.stop.time_s:
        shares.append(row.at_s / scenario.stop.time_s)
    return min(1.0, max(shares, default=0.0))


def learning_of(world: World, threads: int) -> Learning:
    """Return the models of a world: what its scenario says, in batches."""
    scenario = world.scenario
    attack = None
    if scenario.attack.attack is not None:
        attack = attacks.build(scenario.attack.attack.name, scenario.attack.attack.params)
    cohort = Cohort.of(scenario, world.cast, seed=world.seed, swarm=world.swarm, threads=threads, attack=attack)
    method = scenario.method
    composition = Composition(
        algorithm=method.algorithm,
        step=method.step,
        mixer=method.mixer,
        weights=method.weights,
        outer=method.outer,
        gossip_steps=method.gossip_steps,
    ).build()
    if scenario.protocol.name in BY_EVENTS:
        return _by_events(world, cohort, composition)
    return PlannedLearning(
        cohort,
        composition,
        swarm=world.swarm,
        seed=world.seed,
        names=world.names,
        total_rounds=scenario.rounds.total,
        norm_cap_factor=scenario.limits.norm_cap_factor,
        attack=attack,
        attackers=world.cast.attackers,
    )


def _by_events(world: World, cohort: Cohort, method: Method) -> Learning:
    scenario = world.scenario
    planned = BY_EVENTS[scenario.protocol.name](
        cohort, method, swarm=world.swarm, seed=world.seed, names=world.names, total_rounds=scenario.rounds.total
    )
    return cast(Learning, planned)  # it has what the protocol of that name asks for


def _record(world: World, before: Graph[PeerId], replay: str) -> RunRecord:
    scenario, people, index = world.scenario, world.cast, world.index_of
    after = live_graph(world)
    bad = set(people.attackers)
    return RunRecord(
        name=scenario.name,
        scenario=msgspec.to_builtins(scenario),
        scenario_hash=scenario_hash(scenario),
        seed=world.seed,
        versions=Versions(
            murmuration=VERSION, python=platform.python_version(), torch=str(torch.__version__), numpy=np.__version__
        ),
        peers=[
            PeerRecord(
                id=name,
                group=people.groups[i],
                samples=world.learning.samples(i),
                is_byzantine=i in bad,
                position=list(people.positions[name]) if name in people.positions else None,
            )
            for i, name in enumerate(world.names)
        ],
        edges_before=[[index[a], index[b]] for a, b in before.edges],
        edges_after=[[index[a], index[b]] for a, b in after.edges],
        alive_after=world.there(),
        events=list(world.events),
        counters=dict(sorted(world.all_counters().items())),
        outcome=Outcome(
            reason=world.stop_reason,
            at_s=world.queue.now,
            num_node_rounds=world.counters["node_rounds"],
            num_events=world.queue.num_played,
        ),
        command=replay,
    )
