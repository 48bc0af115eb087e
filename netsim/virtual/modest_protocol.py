"""MoDeST in a virtual world: shells around the daemon's own core for it, for all peers.

A model is named on the wire by the number of its snapshot. What the core asks for is done in virtual time: training
takes its modelled time, averaging takes none, models travel as transfers and their headers with them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from netsim.virtual.learning import Version
from netsim.virtual.stream import Stream
from peer.core.messages import Message, PeerId, Records
from peer.core.modest import ModestCore
from peer.core.modest_events import (
    AggregateModels,
    CancelTraining,
    ModestConfig,
    RoundProgress,
    SampleServed,
    SendModel,
    TrainModel,
)
from peer.core.modest_messages import ModelHeader, ModelRef, ViewEntry
from topology.errors import BadParameterError

if TYPE_CHECKING:
    from netsim.virtual.world import World

FOUNDER = PeerId("founder")


class Modest:
    """Each round a small sample trains, and an aggregator averages and hands out: all others rest.

        S_k = first s live peers by hash(id, k) train from x_k;   x_{k+1} = mean of their models, at A_{k+1}

    Source: [de Vos et al. 2023, MoDeST: Bridging the Gap between Federated and Decentralized Learning with
    Decentralized Sampling]; watchdog, suspicion and hedging are ours, see `peer/core/modest.py`.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Knobs as of the core: `peer.core.modest_events.ModestConfig`."""

        sample: int = 10
        aggregators: int = 1
        success_fraction: float = 0.8
        ping_timeout_s: float = 5.0
        activity_window: int = 50
        aggregation_timeout_s: float = 20.0
        watchdog_s: float = 30.0
        suspicion_s: float = 300.0
        hedge: int = 2

    def __init__(self, config: Config) -> None:
        self.config = config
        try:
            self._core = ModestConfig(
                sample_size=config.sample,
                aggregators=config.aggregators,
                success_fraction=config.success_fraction,
                ping_timeout_s=config.ping_timeout_s,
                activity_window=config.activity_window,
                aggregation_timeout_s=config.aggregation_timeout_s,
                watchdog_s=config.watchdog_s,
                suspicion_s=config.suspicion_s,
                hedge=config.hedge,
                max_members=1_000_000,
            )
        except ValueError as error:
            raise BadParameterError(f"protocol {error}") from None

    def play_in(self, world: World) -> ModestProtocol:
        """Return it at work."""
        return ModestProtocol(world, self._core)


class ModestProtocol:
    """All shells of a world."""

    def __init__(self, world: World, config: ModestConfig) -> None:
        self.world = world
        self.queue = world.queue
        self.learning = world.learning
        self.names = world.names
        self.index_of = world.index_of
        self.config = dataclasses.replace(config, total_rounds=world.scenario.rounds.total)
        self.first_model = ModelRef(0, "aggregated", FOUNDER, _digest(self.learning.publish(0, 0)))
        self.peers: Sequence[ModestPeer] = [ModestPeer(self, i, name) for i, name in enumerate(self.names)]
        self._counted: Counter[str] = Counter()
        self.newest_round = 0

    def come(self, peer: int) -> None:
        """A peer is there."""
        self.peers[peer].start(self.queue.now)

    def begin(self, peer: int) -> None:
        """A peer that was there from the beginning starts; a later one joins."""
        self.peers[peer].begin(self.queue.now)

    def go(self, peer: int, *, says_goodbye: bool) -> None:
        """A peer is gone."""
        shell = self.peers[peer]
        if shell.core is not None:
            if says_goodbye:
                shell.core.leave(self.queue.now)
                shell.act(self.queue.now)
            self._counted.update(shell.core.counters)
        shell.stop()

    def neighbours_changed(self, peer: int) -> None:
        """MoDeST has no neighbours: it samples among the members."""

    def dial(self, peer: int) -> None:
        """Nothing is dialed before it is needed."""

    def measured(self, peers: Sequence[int]) -> list[int]:
        """Return who holds the newest model: there is one model, and others have no newer one."""
        best = max(
            peers, key=lambda peer: (self.peers[peer].round, not self.peers[peer].has_trained, -peer), default=None
        )
        return [] if best is None else [best]

    def rounds_of(self, peer: int) -> int:
        """Return the newest round that any peer has a model of: all are in it, though few train."""
        del peer
        return self.newest_round

    def is_done(self, peer: int) -> bool:
        """Say whether the last round is done."""
        del peer
        return bool(self.config.total_rounds) and self.newest_round >= self.config.total_rounds

    def counters(self) -> Counter[str]:
        """Return what the cores counted."""
        counted = Counter(self._counted)
        for shell in self.peers:
            if shell.core is not None:
                counted.update(shell.core.counters)
        return counted

    def late_by(self, peer: int, now: float) -> float:
        """MoDeST promises progress only with a watchdog; what the scenario shows is whether it holds."""
        del peer, now
        return 0.0

    def progress(self, round: int) -> None:
        """Somebody holds a newer model."""
        if round > self.newest_round:
            self.newest_round = round
            self.world.all_in_round(round)

    def bring(self, sender: int, event: SendModel) -> None:
        """Transfer a model and its header."""
        to = self.index_of[event.to]
        version = _version(event.ref)
        self.learning.hold(version)

        def ended() -> None:
            pass

        def arrived() -> None:
            self.peers[to].receive_model(event.ref, event.view_delta, sender)
            self.learning.release(version)

        def broke() -> None:
            self.learning.release(version)
            self.peers[sender].send_failed(event.to, event.ref)

        size_bytes = self.learning.model_bytes + len(msgspec.msgpack.encode(ModelHeader(event.ref, event.view_delta)))
        self.world.wire.transfer(sender, to, size_bytes, ended, arrived, broke)


class ModestPeer:
    """The shell of one peer."""

    __slots__ = (
        "_armed_at",
        "_held",
        "_training",
        "core",
        "has_trained",
        "index",
        "is_there",
        "name",
        "protocol",
        "rng",
        "round",
    )

    def __init__(self, protocol: ModestProtocol, index: int, name: PeerId) -> None:
        self.protocol = protocol
        self.index = index
        self.name = name
        self.core: ModestCore | None = None
        self.is_there = False
        self.round = 0  # of the newest aggregated model that it holds
        self.has_trained = False  # its model is no mean any more
        self.rng = Stream(protocol.world.seed, name, "core")
        self._armed_at = float("inf")
        self._training: int | None = None
        self._held: set[Version] = set()

    def start(self, now: float) -> None:
        """Be there."""
        self.is_there = True
        self.core = ModestCore(self.protocol.config, self.name, rng=self.rng, now=now, first_idx=self.round)

    def begin(self, now: float) -> None:
        """Take part."""
        core, protocol = self.core, self.protocol
        assert core is not None
        members = [protocol.names[i] for i in sorted(protocol.world.directory.members)]
        self._hold(protocol.first_model)
        if now == 0.0:
            core.start(members, protocol.first_model, now)
        else:
            core.join(members, protocol.first_model, now)
        self.act(now)

    def stop(self) -> None:
        """Be gone."""
        self.is_there = False
        self.core = None
        self._training = None
        self._armed_at = float("inf")
        for version in sorted(self._held):
            self.protocol.learning.release(version)
        self._held.clear()

    def receive(self, sender: int, message: Message) -> None:
        """Take in a message."""
        if type(message) is Records:
            self.protocol.world.directory.receive(self.index, sender, message)
        elif self.core is not None:
            now = self.protocol.queue.now
            self.core.receive_message(message, self.protocol.names[sender], now)
            self.act(now)

    def link_up(self, other: int) -> None:
        """A link stands: of use to the membership only."""
        self.protocol.world.directory.link_up(self.index, other)

    def link_down(self, other: int) -> None:
        """A link is gone: of use to the membership only."""
        self.protocol.world.directory.link_down(self.index, other)

    def receive_model(self, ref: ModelRef, delta: tuple[ViewEntry, ...], sender: int) -> None:
        """Take in a model, unless admission refuses it."""
        core, protocol = self.core, self.protocol
        if core is None:
            return
        now = protocol.queue.now
        if reason := protocol.learning.verdict(self.index, _version(ref)):
            protocol.world.punish(self.index, sender, reason)
            return
        self._hold(ref)
        core.receive_model(ref, delta, protocol.names[sender], now)
        self.act(now)

    def send_failed(self, to: PeerId, ref: ModelRef) -> None:
        """A transfer broke."""
        if self.core is not None:
            now = self.protocol.queue.now
            self.core.send_failed(to, ref, now)
            self.act(now)

    def wake(self, planned: float) -> None:
        """A timer of the core is due."""
        if planned == self._armed_at and self.core is not None:
            self._armed_at = float("inf")
            self.core.handle_timer(planned)
            self.act(planned)

    def act(self, now: float) -> None:
        """Do what the core asks for."""
        core, protocol = self.core, self.protocol
        if core is None:
            return
        while (event := core.next_event()) is not None:
            self._do(core, event, now)
        for to, message in core.messages_to_send(now):
            protocol.world.wire.send(self.index, protocol.index_of[to], message)
        self._let_go(core)
        due = core.get_timer()
        if due is not None and due < self._armed_at:
            self._armed_at = due
            protocol.queue.at(due, self.wake, due)

    def _do(self, core: ModestCore, event: object, now: float) -> None:
        protocol = self.protocol
        match event:
            case TrainModel(round=round, start_from=ref):
                self._training = round
                protocol.learning.adopt(self.index, _version(ref))
                duration_s = protocol.world.training_time(self.index, round)
                protocol.queue.at(now + duration_s, self._trained, core, round)
            case CancelTraining():
                self._training = None
            case AggregateModels(round=round, refs=refs):
                version = protocol.learning.average(self.index, [_version(ref) for ref in refs])
                self._held.add(version)
                core.aggregated(round, ModelRef(round, "aggregated", self.name, _digest(version)), now)
            case SendModel():
                protocol.bring(self.index, event)
            case RoundProgress(round=round, model=ref):
                self.round = max(self.round, round)
                if self._training is None:
                    protocol.learning.adopt(self.index, _version(ref))
                    self.has_trained = False
                protocol.progress(round)
            case SampleServed(is_restart=True):
                protocol.world.counters["rounds_restarted"] += 1
            case _:
                pass

    def _trained(self, core: ModestCore, round: int) -> None:
        if core is not self.core or self._training != round:
            return
        protocol, now = self.protocol, self.protocol.queue.now
        self._training = None
        protocol.learning.train(self.index, round)
        self.has_trained = True
        protocol.world.counters["node_rounds"] += 1
        version = protocol.learning.publish(self.index, round)
        self._held.add(version)
        core.trained(round, ModelRef(round, "trained", self.name, _digest(version)), now)
        self.act(now)

    def _hold(self, ref: ModelRef) -> None:
        version = _version(ref)
        if version not in self._held:
            self._held.add(version)
            self.protocol.learning.hold(version)

    def _let_go(self, core: ModestCore) -> None:
        """Release what the core will not ask for again."""
        if len(self._held) > 2:
            wanted = {_version(ref) for ref in core.models_in_use()}
            for version in sorted(self._held - wanted):
                self._held.discard(version)
                self.protocol.learning.release(version)


def _digest(version: Version) -> bytes:
    return version.to_bytes(32)


def _version(ref: ModelRef) -> Version:
    return int.from_bytes(ref.digest)
