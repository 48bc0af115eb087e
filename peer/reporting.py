"""What the daemon tells about itself: the status document, made from the parts when somebody asks."""

from __future__ import annotations

import os
from collections import Counter

import trio

from peer.config.peer_file import PeerFile
from peer.config.swarm_file import SwarmFile, swarm_id
from peer.control.metrics import Metrics
from peer.control.status import NeighbourRow, SavedStatus, Status, TrainerStatus
from peer.core.exchange_events import MixSlot
from peer.core.messages import PeerId
from peer.learning import Learning, Progress
from peer.net.transport import Transport
from peer.node import Node
from peer.train.executor import Executor
from peer.train.process import ProcessExecutor
from peer.version import AGENT


class Reporting:
    """Reads the parts; changes none of them. `learning` and `executor` are None in a daemon without trainer."""

    def __init__(
        self,
        *,
        peer: PeerFile,
        swarm: SwarmFile,
        peer_id: PeerId,
        node: Node,
        transport: Transport,
        learning: Learning | None,
        executor: Executor | None,
        metrics: Metrics,
    ) -> None:
        self.http = ""
        self._peer, self._swarm, self._peer_id = peer, swarm, peer_id
        self._swarm_id = swarm_id(swarm).hex()
        self._node, self._transport = node, transport
        self._learning, self._executor = learning, executor
        self._metrics = metrics
        self._started = trio.current_time()
        self._num_mixed = 0
        self._num_by_deadline = 0
        metrics.watch(self.status)

    def note_round(self) -> None:
        """Count the round that just ended."""
        assert self._learning is not None
        progress = self._learning.progress
        assert progress.ready is not None
        self._num_mixed += len(progress.ready.slots)
        self._num_by_deadline += not progress.ready.met_quorum
        self._metrics.round_seconds.observe(progress.round_s)
        for slot in progress.ready.slots:
            self._metrics.mixed_age_seconds.observe(slot.age_s)

    def status(self) -> Status:
        """Return the whole document as of now."""
        now = trio.current_time()
        node, exchange = self._node, self._node.exchange
        progress = self._learning.progress if self._learning is not None else Progress(state="relay")
        mixed_ages = [slot.age_s for slot in progress.ready.slots] if progress.ready is not None else []
        return Status(
            peer=self._peer_id,
            swarm=self._swarm.name,
            swarm_id=self._swarm_id,
            agent=AGENT,
            pid=os.getpid(),
            uptime_s=now - self._started,
            state=progress.state,
            waiting_for=progress.waiting_for,
            round=exchange.round if exchange is not None else 0,
            total_rounds=self._swarm.rounds.total,
            accuracy_local=progress.trained.accuracy if progress.trained is not None else None,
            accuracy_mixed=progress.mixed.accuracy if progress.mixed is not None else progress.accuracy,
            loss=progress.trained.loss if progress.trained is not None else None,
            disagreement=progress.mixed.disagreement if progress.mixed is not None else None,
            num_neighbours_linked=len(exchange.linked_neighbours()) if exchange is not None else 0,
            num_neighbours=len(exchange.neighbours) if exchange is not None else 0,
            num_links=len(node.links.peers()),
            num_members=len(node.membership.members()),
            neighbours=self._neighbours(now, progress),
            bytes_in=self._transport.traffic.bytes_in,
            bytes_out=self._transport.traffic.bytes_out,
            mixed_age_mean_s=sum(mixed_ages) / len(mixed_ages) if mixed_ages else None,
            mixed_age_max_s=max(mixed_ages, default=None),
            trainer=self._trainer(progress),
            saved=SavedStatus(
                round=progress.saved_round,
                age_s=now - progress.saved_at if progress.saved_at is not None else None,
                error=progress.save_error,
            ),
            events=self._events(),
            faults=dict(node.faults.counts + node.server.faults + node.links.faults + self._transport.faults),
            addresses=tuple(self._transport.addresses()),
            http=self.http,
        )

    def _neighbours(self, now: float, progress: Progress) -> tuple[NeighbourRow, ...]:
        exchange = self._node.exchange
        if exchange is None:
            return ()
        linked = set(exchange.linked_neighbours())
        slots: dict[PeerId, MixSlot] = {s.peer: s for s in progress.ready.slots} if progress.ready is not None else {}
        rows = []
        for peer in exchange.neighbours:
            entry = exchange.newest_of(peer)
            rows.append(
                NeighbourRow(
                    peer=peer,
                    linked=peer in linked,
                    round=entry.manifest.round if entry is not None else None,
                    lag_rounds=exchange.round - entry.manifest.round if entry is not None else None,
                    age_s=now - entry.offered_at if entry is not None else None,
                    mixed_last=peer in slots,
                )
            )
        return tuple(rows)

    def _trainer(self, progress: Progress) -> TrainerStatus:
        executor = self._executor
        if executor is None:
            return TrainerStatus()
        device = progress.opened.device if progress.opened is not None else ""
        if not isinstance(executor, ProcessExecutor):
            return TrainerStatus(state="ready", device=device, last_error=progress.last_error)
        waits = progress.waiting_for.startswith("trainer")
        return TrainerStatus(
            state="backoff" if waits else executor.state,
            pid=executor.pid,
            device=device,
            restarts=max(0, executor.num_starts - 1),
            last_error=progress.last_error,
            resident_bytes=executor.resident_bytes(),
        )

    def _events(self) -> dict[str, int]:
        counters: Counter[str] = Counter(self._node.membership.counters)
        if self._node.exchange is not None:
            counters += self._node.exchange.counters
        counters["models_mixed"] += self._num_mixed
        counters["rounds_deadline"] += self._num_by_deadline
        return dict(counters)
