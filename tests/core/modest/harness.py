"""A swarm of MoDeST cores over a heap of virtual time: latencies, transfers, trainings, crashes. Nothing sleeps."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from peer.core.messages import Message, PeerId
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
from peer.core.modest_messages import ModelHeader, ModelRef, ModestMessage, ViewEntry

WIRE = msgspec.msgpack.Decoder(ModestMessage | ModelHeader)
INITIAL = ModelRef(0, "aggregated", PeerId("founder"), b"initial")


def config(**knobs: object) -> ModestConfig:
    """Return the paper's protocol and nothing else, unless `knobs` say so."""
    plain = {"success_fraction": 1.0, "aggregation_timeout_s": 0.0, "watchdog_s": 0.0, "suspicion_s": 0.0, "hedge": 0}
    return ModestConfig(**{**plain, **knobs})  # type: ignore[arg-type]


def core(name: str = "me", *, now: float = 0.0, seed: int = 0, **knobs: object) -> ModestCore:
    return ModestCore(config(**knobs), PeerId(name), rng=random.Random(f"{name}/{seed}"), now=now)


def names(number: int) -> list[PeerId]:
    return [PeerId(f"peer-{place:02d}") for place in range(number)]


def events(core: ModestCore) -> list[object]:
    return list(iter(core.next_event, None))


def of_type(kind: type, things: Iterable[object]) -> list:
    return [thing for thing in things if isinstance(thing, kind)]


@dataclass
class Weather:
    """What the network does; latencies and lengths of training in seconds, drawn uniformly."""

    latency_s: tuple[float, float] = (0.02, 0.2)
    transfer_s: float = 0.3
    training_s: tuple[float, float] = (1.0, 3.0)
    loss: float = 0.0
    duplication: float = 0.0
    reports_failures: bool = False  # whether a sender learns that its transfer came to nothing


@dataclass
class Peer:
    core: ModestCore
    is_alive: bool = True
    wakes_at: float | None = None
    training: int | None = None
    trained: list[int] = field(default_factory=list)
    averaged: list[int] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)


class Swarm:
    """Cores and the least shell around them. Invariants are asserted while it runs."""

    def __init__(
        self, number: int, config: ModestConfig, *, seed: int = 0, weather: Weather | None = None, starts: bool = True
    ) -> None:
        self.now = 0.0
        self.config = config
        self.weather = weather or Weather()
        self.rng = random.Random(seed)
        self.counters: Counter[str] = Counter()
        self.first_seen: dict[int, float] = {}  # round -> when somebody held its aggregated model for the first time
        self.served: list[SampleServed] = []
        self.cut: Callable[[PeerId, PeerId], bool] = lambda one, other: False
        self.lineage: dict[bytes, frozenset[PeerId]] = defaultdict(frozenset)  # whose training is in which bytes
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()
        self.peers = {name: self._new_peer(name, seed) for name in names(number)}
        for peer in self.peers.values() if starts else ():
            peer.core.start(self.peers, INITIAL, 0.0)
            self.act(peer)

    def __getitem__(self, name: str) -> Peer:
        return self.peers[PeerId(name)]

    def _new_peer(self, name: PeerId, seed: int) -> Peer:
        return Peer(ModestCore(self.config, name, rng=random.Random(f"{name}/{seed}"), now=self.now))

    def add(self, name: str) -> Peer:
        peer = self.peers[PeerId(name)] = self._new_peer(PeerId(name), 0)
        return peer

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when, next(self._ticket), what))

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, what = heapq.heappop(self._heap)
            what()
        self.now = until

    def crash(self, name: PeerId) -> None:
        self.peers[name].is_alive = False

    def alive(self) -> list[PeerId]:
        return [name for name, peer in self.peers.items() if peer.is_alive]

    def highest_round(self) -> int:
        return max(self.first_seen, default=0)

    def act(self, peer: Peer) -> None:
        """Do what the core asks for, and come back when its timer is due."""
        for event in iter(peer.core.next_event, None):
            self._do(peer, event)
        for to, message in peer.core.messages_to_send(self.now):
            self._send(peer.core.own_id, to, message)
        due = peer.core.get_timer()
        if due is not None and (peer.wakes_at is None or due < peer.wakes_at):
            peer.wakes_at = due
            self.at(due, lambda: self._wake(peer, due))

    def _wake(self, peer: Peer, due: float) -> None:
        if peer.is_alive and peer.wakes_at == due:
            peer.wakes_at = None
            peer.core.handle_timer(self.now)
            after = peer.core.get_timer()
            assert after is None or after > self.now, "a timer that does not go away"
            self.act(peer)

    def _do(self, peer: Peer, event: object) -> None:
        match event:
            case TrainModel(round=round, start_from=start_from):
                assert peer.training is None, "two trainings at once"
                assert round > max(peer.trained, default=0), "a round trained twice"
                assert start_from in peer.core.models_in_use()
                peer.training = round
                peer.trained.append(round)
                took_s = self.rng.uniform(*self.weather.training_s)
                self.at(self.now + took_s, lambda: self._trained(peer, round, start_from))
            case CancelTraining(round=round):
                assert peer.training == round
                peer.training = None
            case AggregateModels(round=round, refs=refs):
                assert round > max(peer.averaged, default=0), "a round averaged twice"
                assert len(refs) == len({ref.author for ref in refs}) <= self.config.sample_size
                assert set(refs) <= peer.core.models_in_use()
                peer.averaged.append(round)
                mean = ModelRef(round, "aggregated", peer.core.own_id, b"mean %d" % next(self._ticket))
                self.lineage[mean.digest] = frozenset().union(*(self.lineage[ref.digest] for ref in refs))
                self.at(self.now, lambda: self._tell(peer, lambda: peer.core.aggregated(round, mean, self.now)))
            case SendModel(to=to, ref=ref, view_delta=delta):
                self.counters["models"] += 1
                self.counters["entries"] += len(delta)
                self._transfer(peer, to, ref, delta)
            case RoundProgress(round=round):
                assert round > max(peer.progress, default=0)
                peer.progress.append(round)
                self.first_seen.setdefault(round, self.now)
            case SampleServed():
                self.served.append(event)

    def _tell(self, peer: Peer, what: Callable[[], None]) -> None:
        if peer.is_alive:
            what()
            self.act(peer)

    def _trained(self, peer: Peer, round: int, start_from: ModelRef) -> None:
        if peer.training == round:
            peer.training = None
            ref = ModelRef(round, "trained", peer.core.own_id, b"work %d" % next(self._ticket))
            self.lineage[ref.digest] = self.lineage[start_from.digest] | {peer.core.own_id}
            self._tell(peer, lambda: peer.core.trained(round, ref, self.now))

    def _copies(self, sender: PeerId, to: PeerId) -> list[float]:
        """When the copies of what is sent now arrive: none if it is lost."""
        if self.rng.random() < self.weather.loss or self.cut(sender, to):
            return []
        number = 2 if self.rng.random() < self.weather.duplication else 1
        return [self.now + self.rng.uniform(*self.weather.latency_s) for _ in range(number)]

    def _send(self, sender: PeerId, to: PeerId, message: Message) -> None:
        self.counters[type(message).__name__] += 1
        assert to != sender
        decoded = WIRE.decode(msgspec.msgpack.encode(message)) if self.weather.loss else message
        assert decoded == message
        for when in self._copies(sender, to):
            self.at(when, lambda: self._deliver(sender, to, decoded))

    def _deliver(self, sender: PeerId, to: PeerId, message: Message) -> None:
        peer = self.peers[to]
        self._tell(peer, lambda: peer.core.receive_message(message, sender, self.now))

    def _transfer(self, peer: Peer, to: PeerId, ref: ModelRef, delta: tuple[ViewEntry, ...]) -> None:
        sender = peer.core.own_id
        copies = self._copies(sender, to)
        for when in copies:
            self.at(when + self.weather.transfer_s, lambda: self._arrive(sender, to, ref, delta))
        if self.weather.reports_failures and (not copies or not self.peers[to].is_alive):
            after_s = self.weather.transfer_s
            self.at(self.now + after_s, lambda: self._tell(peer, lambda: peer.core.send_failed(to, ref, self.now)))

    def _arrive(self, sender: PeerId, to: PeerId, ref: ModelRef, delta: tuple[ViewEntry, ...]) -> None:
        peer = self.peers[to]
        if self.peers[sender].is_alive:  # the sender's death breaks the transfer
            self._tell(peer, lambda: peer.core.receive_model(ref, delta, sender, self.now))
