"""Cores back to back over a network that a test controls message by message."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from peer.core.exchange import ExchangeCore, Phase
from peer.core.exchange_events import CheckModel, ExchangeConfig, ExchangeEvent, Misbehaved, ModelDropped, RoundReady
from peer.core.messages import Manifest, Message, Model, PeerId, Refuse, Want

SWARM = b"s" * 32
SPACE = b"p" * 32


def author(peer: str) -> bytes:
    """Return the fake public key of a peer with a short name."""
    return peer.encode().ljust(32, b".")


def manifest(
    peer: str, *, seq: int = 1, round: int = 0, sha256: bytes | None = None, size_bytes: int = 100
) -> Manifest:
    """Return an 'authentic' manifest: in these tests an author is authentic when the key is made from its name."""
    return Manifest(
        swarm=SWARM,
        space=SPACE,
        author=author(peer),
        seq=seq,
        round=round,
        steps=0,
        samples=1,
        degree=1,
        size_bytes=size_bytes,
        sha256=sha256 or f"{peer}/{seq}".encode().ljust(32, b"#"),
    )


def config(**knobs: object) -> ExchangeConfig:
    return ExchangeConfig(**{"swarm": SWARM, "space": SPACE, "max_model_bytes": 1000, **knobs})  # type: ignore[arg-type]


def core(*, first_round: int = 0, seed: int = 0, **knobs: object) -> ExchangeCore:
    return ExchangeCore(
        config(**knobs),
        first_round=first_round,
        is_authentic=lambda m, sender: m.author == author(sender),
        rng=random.Random(seed),
    )


def events(core: ExchangeCore) -> list[ExchangeEvent]:
    found = []
    while (event := core.next_event()) is not None:
        found.append(event)
    return found


def kinds_of_misbehaviour(core: ExchangeCore) -> list[str]:
    return [event.kind for event in events(core) if isinstance(event, Misbehaved)]


@dataclass
class Peer:
    """A core with the least shell around it: admission says yes, mixing takes no time, files are a set of names."""

    name: PeerId
    core: ExchangeCore
    seq: int = 0
    files: set[Manifest] = field(default_factory=set)
    mixes: list[RoundReady] = field(default_factory=list)
    admitted: list[tuple[PeerId, int]] = field(default_factory=list)
    misbehaved: list[Misbehaved] = field(default_factory=list)

    def train(self, now: float) -> None:
        """Publish the result of the current round, if the core is ready for one."""
        if self.core.phase is Phase.TRAINING:
            self.seq += 1
            self.core.publish(manifest(self.name, seq=self.seq, round=self.core.round), now)

    def act(self, now: float) -> None:
        """Do what the events ask for."""
        while (event := self.core.next_event()) is not None:
            match event:
                case CheckModel(peer=peer, manifest=found):
                    self.files.add(found)
                    self.admitted.append((peer, found.seq))
                    self.core.checked(peer, found, "", now)
                case RoundReady():
                    assert {slot.manifest for slot in event.slots} <= self.files, "a file vanished before the mix"
                    self.mixes.append(event)
                    self.core.mixed()
                case ModelDropped(manifest=dropped):
                    self.files.discard(dropped)
                case Misbehaved():
                    self.misbehaved.append(event)


class Net:
    """Messages in flight between peers, in order of sending until a test decides otherwise."""

    def __init__(
        self, names: Iterable[str], *, edges: Iterable[tuple[str, str]] | None = None, **knobs: object
    ) -> None:
        ordered = sorted(names)
        self.now = 0.0
        self.flying: list[tuple[PeerId, PeerId, Message]] = []
        self.peers = {PeerId(name): Peer(PeerId(name), core(seed=place, **knobs)) for place, name in enumerate(ordered)}
        pairs = list(edges) if edges is not None else [(a, b) for a in ordered for b in ordered if a < b]
        for name, peer in self.peers.items():
            near = {PeerId(b) for a, b in pairs if a == name} | {PeerId(a) for a, b in pairs if b == name}
            for other in near:
                peer.core.link_up(other, self.now)
            peer.core.set_neighbours(near, self.now)

    def __getitem__(self, name: str) -> Peer:
        return self.peers[PeerId(name)]

    def collect(self) -> None:
        """Let every peer act, and put what it sends into flight."""
        for name, peer in self.peers.items():
            peer.act(self.now)
            self.flying += [(name, to, message) for to, message in peer.core.messages_to_send(self.now)]

    def deliver(self, place: int = 0, *, keep: bool = False) -> None:
        """Deliver the message at `place`; `keep` leaves a copy in flight."""
        sender, to, message = self.flying[place] if keep else self.flying.pop(place)
        self.peers[to].core.receive_message(message, sender, self.now)
        self.collect()

    def run(self) -> None:
        """Deliver in order until nothing flies."""
        self.collect()
        while self.flying:
            self.deliver()

    def train_all(self) -> None:
        for peer in self.peers.values():
            peer.train(self.now)
        self.collect()

    def advance(self, seconds: float) -> None:
        """Move the clock and let the timers of every peer fire."""
        self.now += seconds
        for peer in self.peers.values():
            timer = peer.core.get_timer()
            if timer is not None and timer <= self.now:
                peer.core.handle_timer(self.now)
        self.collect()

    def cut(self, a: str, b: str) -> None:
        """Break the link between two peers; what flew on it is lost, answers to requests have streams of their own."""
        self.flying = [f for f in self.flying if {f[0], f[1]} != {a, b} or isinstance(f[2], Want | Model | Refuse)]
        self[a].core.link_down(PeerId(b), self.now)
        self[b].core.link_down(PeerId(a), self.now)

    def mend(self, a: str, b: str) -> None:
        self[a].core.link_up(PeerId(b), self.now)
        self[b].core.link_up(PeerId(a), self.now)

    def kinds(self) -> list[str]:
        """Names of the messages in flight, for transcripts: `a>b Offer`."""
        return [f"{sender}>{to} {type(message).__name__}" for sender, to, message in self.flying]


def answer_to(want: Want, found: Manifest) -> Model:
    return Model(want.request_id, found.sha256, found.size_bytes)
