"""What is measured in a virtual world, and when: the rows of a run's results."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from netsim.distributions import uniform_of
from netsim.experiments.run_folder import RunWriter, TotalsRow
from netsim.virtual.world import World
from peer.core.messages import PeerId
from topology.connectivity import Connectivity, connectivity
from topology.graph import Graph

PURPOSE = "measured"


class Measures:
    """Writes a row at the beginning, at the instants that the scenario asks for, and at the end."""

    def __init__(self, world: World, writer: RunWriter) -> None:
        settings = world.scenario.measure
        self._world = world
        self._writer = writer
        self._settings = settings
        self._last_at = -1.0
        self.on_row: Callable[[TotalsRow], None] | None = None
        bad = set(world.cast.attackers)
        honest = [peer for peer in world.everybody() if peer not in bad]
        self.measured = sorted(_drawn(honest, settings.peers, world.seed)) if settings.peers else honest
        world.queue.at(0.0, self.measure)
        if settings.every_s:
            world.queue.at(settings.every_s, self._again)
        else:
            world.on_round(self._at_round)

    def _again(self) -> None:
        self.measure()
        if len(self._world.queue) > 1:  # more than the world's own look at progress, which waits for us in turn
            self._world.queue.after(self._settings.every_s, self._again)

    def _at_round(self, round: int) -> None:
        if round % self._settings.every_rounds == 0:
            self.measure()

    def measure(self) -> None:
        """Measure now, unless that was done at this instant."""
        world, now = self._world, self._world.queue.now
        if now == self._last_at:
            return
        self._last_at = now
        world.watch.balance()
        here = world.protocol.measured([peer for peer in self.measured if world.is_there(peer)])
        accuracy = world.learning.accuracy(here) if here else np.empty(0)
        graph = live_graph(world)
        row = self._totals(here, accuracy, connectivity(graph))
        self._writer.row(row, self._columns(accuracy, here, graph))
        if self.on_row is not None:
            self.on_row(row)
        target = world.scenario.stop.accuracy
        if target and row.accuracy_mean is not None and row.accuracy_mean >= target:
            world.stop("accuracy")

    def _totals(self, here: list[int], accuracy: npt.NDArray[np.float64], graph: Connectivity) -> TotalsRow:
        world = self._world
        rounds = sorted(world.rounds_there) or [0]
        known = accuracy[np.isfinite(accuracy)]
        merged = world.learning.merged_accuracy(here) if here and self._settings.merged else math.nan
        return TotalsRow(
            at_s=world.queue.now,
            round_min=rounds[0],
            round_median=rounds[len(rounds) // 2],
            round_max=rounds[-1],
            num_alive=len(world.there()),
            num_components=graph.num_components,
            largest_component=graph.largest_component,
            num_isolated=graph.num_isolated,
            accuracy_mean=float(known.mean()) if len(known) else None,
            accuracy_min=float(known.min()) if len(known) else None,
            accuracy_max=float(known.max()) if len(known) else None,
            accuracy_std=float(known.std()) if len(known) else None,
            accuracy_merged=_known(merged),
            consensus=_known(world.learning.consensus(here) if here else math.nan),
            loss_mean=_known(world.learning.mean_loss(here) if here else math.nan),
            bytes_sent=sum(world.wire.bytes_out),
            messages_sent=world.wire.num_messages,
            transfers_broken=world.wire.num_broken,
            node_rounds=world.counters["node_rounds"],
        )

    def _columns(
        self, accuracy: npt.NDArray[np.float64], here: list[int], graph: Graph[PeerId]
    ) -> dict[str, npt.NDArray[np.generic]]:
        world, peers = self._world, self.measured
        known = dict(zip(here, accuracy.tolist(), strict=True))
        return {
            "peer": np.array(peers, dtype=np.int32),
            "round": np.array([world.round_of(peer) for peer in peers], dtype=np.int32),
            "accuracy": np.array([known.get(peer, math.nan) for peer in peers]),
            "alive": np.array([world.is_there(peer) for peer in peers]),
            "degree": np.array(
                [graph.degree(world.names[peer]) if world.is_there(peer) else 0 for peer in peers], dtype=np.int32
            ),
            "bytes_in": np.array([world.wire.bytes_in[peer] for peer in peers], dtype=np.int64),
            "bytes_out": np.array([world.wire.bytes_out[peer] for peer in peers], dtype=np.int64),
        }


def live_graph(world: World) -> Graph[PeerId]:
    """Return who can exchange with whom: the neighbours among those who are there and can reach each other."""
    adjacency: dict[PeerId, list[PeerId]] = {}
    index = world.index_of
    for peer in world.there():
        name = world.names[peer]
        around = world.directory.neighbours(peer)
        adjacency[name] = [
            other for other in around if world.is_there(index[other]) and world.wire.can_reach(peer, index[other])
        ]
    mutual = {name: [other for other in around if name in adjacency[other]] for name, around in adjacency.items()}
    return Graph(mutual)


def _drawn(peers: list[int], count: int, seed: int) -> list[int]:
    return sorted(peers, key=lambda peer: uniform_of(seed, PURPOSE, peer))[:count]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
