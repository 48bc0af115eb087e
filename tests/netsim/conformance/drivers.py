"""One scenario under two drivers: the heap of virtual time, and trio with a virtual clock and the memory transport.

Under trio everything is the daemon's own: node, links, learning loop, membership, fetching and serving of snapshots,
and a real trainer per peer. Under the heap the shells are the simulator's. The exchange core and the trainers are the
same in both, and so must be what is mixed with what, when, and every bit of every model.

A peer's transcript has a line per mixing event:
    round -> next round at time: author@round(age) ..., met quorum or deadline
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import trio

from netsim.distributions import draw
from netsim.distributions import registry as distributions
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.learning import Heard, Version
from netsim.virtual.world import World
from peer.config.peer_file import DataSettings
from peer.core.backoff import Backoff
from peer.core.exchange import ExchangeCore
from peer.core.exchange_events import ExchangeConfig, RoundReady
from peer.core.membership import MembershipConfig, MembershipCore
from peer.core.messages import Hello, Manifest, PeerId, PeerRecord
from peer.identity import Identity, is_authentic, peer_id_of, signed
from peer.learning import Learning
from peer.net.fetch import inline
from peer.net.link import LinkSettings
from peer.net.links import Links
from peer.net.memory import MemoryNetwork
from peer.net.pace import Pace
from peer.node import Node
from peer.train.executor import Mixed, Opened, Slot, Trained, Verdict
from peer.train.inline import InlineExecutor
from peer.train.settings import TrainConfig
from peer.train.trainer import Trainer
from topology.families import registry as families

START_S = 5.0
"""When learning begins under both drivers: links stand by then."""


@dataclass
class Outcome:
    """What one driver gave."""

    transcripts: dict[str, list[str]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Return a hash over everything."""
        return hashlib.sha256(
            repr((sorted(self.transcripts.items()), sorted(self.models.items()))).encode()
        ).hexdigest()


def line_of(ready: RoundReady, at_s: float, nick: Mapping[PeerId, str]) -> str:
    slots = sorted(f"{nick[s.peer]}@{s.manifest.round}({s.age_rounds})" for s in ready.slots)
    why = "quorum" if ready.met_quorum else "deadline"
    return f"{ready.round} -> {ready.next_round} at {at_s:.6f}: {' '.join(slots)}, {why}"


class Setting:
    """A scenario with its peers: identities, their speeds, and the configuration of each one's trainer."""

    def __init__(self, scenario: Scenario, swarm: bytes, speeds: Sequence[float], folder: Path) -> None:
        self.scenario = scenario
        self.swarm = swarm
        self.folder = folder
        identities = [Identity(f"peer {i}".encode().ljust(32, b".")) for i in range(scenario.peers.count)]
        self.identities = sorted(identities, key=lambda identity: identity.peer_id)
        self.nick = {identity.peer_id: f"p{i}" for i, identity in enumerate(self.identities)}
        self.train_s = [scenario.world.step_s.params["value"] * speed for speed in speeds]

    def latency_s(self, one: int, other: int) -> float:
        """Return the latency of a pair, as the heap draws it: no two are alike, so nothing depends on ties."""
        piece = self.scenario.links.latency_s
        latency = distributions.build(piece.name, piece.params)
        return draw(latency, self.scenario.seeds[0], "latency", min(one, other), max(one, other))

    def config(self, index: int, name: str) -> TrainConfig:
        method = self.scenario.method
        folder = self.folder / name / str(index)
        folder.mkdir(parents=True)
        return TrainConfig(
            swarm=self.swarm,
            seed=self.scenario.seeds[0],
            node=self.identities[index].peer_id,
            task=self.scenario.task,
            step=method.step,
            mixer=method.mixer,
            weights=method.weights,
            algorithm=method.algorithm,
            outer=method.outer,
            total_rounds=self.scenario.rounds.total,
            data=DataSettings(how="iid", of=len(self.identities), index=index, seed=1),
            local_steps=method.local_steps,
            batch_size=method.batch_size,
            folder=folder,
        )

    def exchange_config(self, opened: Opened) -> ExchangeConfig:
        rounds = self.scenario.rounds
        return ExchangeConfig(
            self.swarm,
            opened.space,
            max_model_bytes=10**9,
            total_rounds=rounds.total,
            quorum=rounds.quorum,
            deadline_s=rounds.deadline_s,
            max_age_rounds=rounds.max_age_rounds,
        )


# Trio ---------------------------------------------------------------------------------------------------------------


class TimedExecutor:
    """The daemon's trainer in the calling task, with local steps that take a modelled time."""

    def __init__(self, config: TrainConfig, train_s: float) -> None:
        self._inner = InlineExecutor(config)
        self._train_s = train_s
        self._round = -1

    async def open(self) -> Opened:
        return await self._inner.open()

    async def train(self, round: int) -> Trained:
        if round == 0:
            await trio.sleep_until(START_S)
        await trio.sleep(self._train_s)
        return await self._inner.train(round)

    async def snapshot(self) -> Trained:
        return await self._inner.snapshot()

    async def admit(self, path: Path, manifest: Manifest) -> Verdict:
        return await self._inner.admit(path, manifest)

    async def mix(self, round: int, next_round: int, degree: int, slots: Sequence[Slot]) -> Mixed:
        return await self._inner.mix(round, next_round, degree, slots)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def play_under_trio(setting: Setting, slower: float = 1.0) -> Outcome:
    """Run the daemon's parts, latencies times `slower`; call it under a virtual clock that starts at 0."""
    outcome = Outcome()
    network = MemoryNetwork(lambda one, other: slower * setting.latency_s(int(one[1:]), int(other[1:])))
    learnings: list[Learning] = []
    async with trio.open_nursery() as nursery:
        first_address = ""
        for index in range(len(setting.identities)):
            learning, address = await _start_peer(setting, index, network, nursery, outcome, first_address)
            learnings.append(learning)
            first_address = first_address or address
        while not all(learning.progress.state == "done" for learning in learnings):
            await trio.sleep(0.5)
        for learning, identity in zip(learnings, setting.identities, strict=True):
            final = await learning._executor.snapshot()
            outcome.models[setting.nick[identity.peer_id]] = hashlib.sha256(final.path.read_bytes()).hexdigest()
        nursery.cancel_scope.cancel()
    return outcome


async def _start_peer(
    setting: Setting, index: int, network: MemoryNetwork, nursery: trio.Nursery, outcome: Outcome, bootstrap: str
) -> tuple[Learning, str]:
    identity = setting.identities[index]
    nick = setting.nick[identity.peer_id]
    transport = network.transport(nick, identity.peer_id)
    rng = random.Random(nick)
    links = Links(transport, Hello(setting.swarm), rng, LinkSettings(keepalive_s=5.0))
    membership = MembershipCore(
        MembershipConfig(setting.swarm, heartbeat_s=1.0, timeout_s=1000.0),
        PeerRecord(identity.public_key, setting.swarm, 1, 0),
        own_id=identity.peer_id,
        sign=lambda record: signed(identity, record),
        author_of=lambda record: peer_id_of(record.author) if is_authentic(record) else None,
        peer_id_of=peer_id_of,
        now=trio.current_time(),
    )
    family = setting.scenario.topology.family
    node = Node(
        transport=transport,
        links=links,
        pace=Pace(stall_s=5.0),
        membership=membership,
        family=families.build(family.name, family.params),
        seed=setting.scenario.seeds[0],
        inbox_folder=setting.folder / "inbox" / nick,
        on_incarnation_behind=lambda seen: None,
        offload=inline,
    )
    node.rounds_ready = _Overheard(node.rounds_ready, outcome.transcripts.setdefault(nick, []), setting.nick)  # type: ignore[assignment]
    count = 0

    def sign_snapshot(trained: Trained, round: int, degree: int) -> Manifest:
        nonlocal count
        count += 1
        unsigned = Manifest(
            setting.swarm,
            space.space,
            identity.public_key,
            count,
            round,
            trained.steps,
            space.samples,
            degree,
            trained.size_bytes,
            trained.sha256,
        )
        return signed(identity, unsigned)

    space: Opened

    def make_exchange(opened: Opened) -> ExchangeCore:
        nonlocal space
        space = opened
        return ExchangeCore(
            setting.exchange_config(opened),
            first_round=opened.round,
            is_authentic=lambda manifest, sender: peer_id_of(manifest.author) == sender and is_authentic(manifest),
            rng=rng,
        )

    learning = Learning(
        node,
        TimedExecutor(setting.config(index, "trio"), setting.train_s[index]),
        make_exchange=make_exchange,
        sign_snapshot=sign_snapshot,
        start_members=len(setting.identities),
        interval_s=0.0,
        restart=Backoff(1.0, 8.0),
        rng=rng,
        on_round=lambda: None,
    )
    await nursery.start(transport.run)
    membership.update_own(addresses=tuple(transport.addresses()))
    await nursery.start(links.run)
    await nursery.start(node.run)
    nursery.start_soon(learning.run)
    if bootstrap:
        links.add_bootstrap([bootstrap])
    return learning, transport.addresses()[0]


class _Overheard:
    """The channel of rounds, with somebody who writes down what goes through it."""

    def __init__(
        self, inner: trio.MemoryReceiveChannel[RoundReady], transcript: list[str], nick: Mapping[PeerId, str]
    ) -> None:
        self._inner, self._transcript, self._nick = inner, transcript, nick

    async def receive(self) -> RoundReady:
        ready = await self._inner.receive()
        self._transcript.append(line_of(ready, trio.current_time() - START_S, self._nick))
        return ready


# Heap ---------------------------------------------------------------------------------------------------------------


class Trainers:
    """`netsim.virtual.learning.Learning` by the daemon's trainers, one for each peer, at once and not in batches."""

    def __init__(self, setting: Setting) -> None:
        self._trainers = [Trainer(setting.config(i, "heap")) for i in range(len(setting.identities))]
        self._opened = [trainer.open() for trainer in self._trainers]
        self._keys = [identity.public_key for identity in setting.identities]
        self._folder = setting.folder / "versions"
        self._folder.mkdir()
        self._steps = setting.scenario.method.local_steps
        self._trained: list[Trained | None] = [None] * len(self._trainers)
        self._manifests: dict[Version, Manifest] = {}
        self.model_bytes = self._opened[0].model_bytes
        self.space_hash = self._opened[0].space

    def num_steps(self, peer: int) -> int:
        return self._steps

    def samples(self, peer: int) -> int:
        return self._opened[peer].samples

    def train(self, peer: int, round: int) -> None:
        self._trained[peer] = self._trainers[peer].train(round)

    def publish(self, peer: int, round: int) -> Version:
        trained = self._trained[peer] or self._trainers[peer].snapshot()
        self._trained[peer] = None
        version = len(self._manifests) + 1
        self._path(version).write_bytes(trained.path.read_bytes())
        self._manifests[version] = Manifest(
            b"s" * 32, self.space_hash, self._keys[peer], version, round, trained.steps, self.samples(peer), 0,
            trained.size_bytes, trained.sha256,
        )  # fmt: skip
        return version

    def _path(self, version: Version) -> Path:
        return self._folder / f"{version}.safetensors"

    def hold(self, version: Version) -> None:
        pass

    def release(self, version: Version) -> None:
        pass

    def verdict(self, peer: int, version: Version) -> str:
        return self._trainers[peer].admit(self._path(version), self._manifests[version]).reason

    def mix(self, peer: int, round: int, degree: int, heard: Sequence[Heard], *, last: bool, catching_up: bool) -> None:
        slots = []
        for slot in heard:
            known = self._manifests[slot.version]
            manifest = Manifest(
                known.swarm, known.space, known.author, slot.seq, known.round, slot.steps, slot.samples, slot.degree,
                known.size_bytes, known.sha256,
            )  # fmt: skip
            slots.append(Slot(self._path(slot.version), manifest, slot.age_rounds))
        self._trainers[peer].mix(round, round + (2 if catching_up else 1), degree, slots)

    def forget_data(self, peer: int) -> None:
        raise NotImplementedError

    def accuracy(self, peers: Sequence[int]) -> np.ndarray:
        return np.full(len(peers), np.nan)

    def merged_accuracy(self, peers: Sequence[int]) -> float:
        return float("nan")

    def consensus(self, peers: Sequence[int]) -> float:
        return float("nan")

    def mean_loss(self, peers: Sequence[int]) -> float:
        return float("nan")

    def digest(self, peers: Sequence[int]) -> str:
        return hashlib.sha256(self._trainers[peers[0]].snapshot().path.read_bytes()).hexdigest()


def play_under_the_heap(setting: Setting) -> Outcome:
    """Run the simulator on the same setting; learning begins at 0."""
    outcome = Outcome()
    identities = {identity.peer_id: identity.public_key for identity in setting.identities}
    world = World(setting.scenario, setting.scenario.seeds[0], lambda world: Trainers(setting), identities=identities)
    world.training_time = lambda peer, round: setting.train_s[peer]  # type: ignore[method-assign]
    world.watch.mixed = _written(world, setting, outcome)  # type: ignore[method-assign]
    world.play()
    for index, name in enumerate(world.names):
        outcome.models[setting.nick[name]] = world.learning.digest([index])
    return outcome


def _written(world: World, setting: Setting, outcome: Outcome) -> Callable[[int, RoundReady, Sequence[Heard]], None]:
    look = world.watch.mixed

    def mixed(peer: int, ready: RoundReady, heard: Sequence[Heard]) -> None:
        look(peer, ready, heard)
        lines = outcome.transcripts.setdefault(setting.nick[world.names[peer]], [])
        lines.append(line_of(ready, world.queue.now, setting.nick))

    return mixed
