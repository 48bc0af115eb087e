"""Whole peers without libp2p, torch and processes: real cores, node, links and files over a memory network.

The 'model' of a peer is one number in a file of four bytes; training adds one to it, mixing takes the mean. Time is
virtual (`autojump_clock`), so files are read in the calling task.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from peer.core.backoff import Backoff
from peer.core.exchange import ExchangeCore
from peer.core.exchange_events import ExchangeConfig
from peer.core.membership import MembershipConfig, MembershipCore
from peer.core.messages import Hello, Manifest, PeerRecord
from peer.errors import StoreError, TrainerError
from peer.identity import Identity, is_authentic, peer_id_of, signed
from peer.learning import Learning
from peer.net.fetch import inline
from peer.net.link import LinkSettings
from peer.net.links import Links
from peer.net.memory import MemoryNetwork, MemoryTransport
from peer.net.pace import Pace
from peer.node import Node
from peer.train.executor import Mixed, Opened, Slot, Trained, Verdict
from tests.waiting import until
from topology.families import registry as families

SWARM = b"s" * 32
SPACE = b"p" * 32


@dataclass
class ScriptedExecutor:
    """An executor whose failures a test writes down: `fail["train"] = [error, None, error]`, one entry a call."""

    folder: Path
    value: float = 0.0
    first_round: int = 0
    train_s: float = 1.0
    fail: dict[str, list[Exception | None]] = field(default_factory=dict)
    refuse: dict[bytes, str] = field(default_factory=dict)  # author -> reason
    calls: list[str] = field(default_factory=list)
    mixed_values: list[float] = field(default_factory=list)
    is_busy: bool = False

    async def open(self) -> Opened:
        self._enter("open")
        return Opened(SPACE, 1, 4, 10, self.first_round, 0, "none", self.first_round > 0, 0.0)

    async def train(self, round: int) -> Trained:
        self._enter("train")
        self.is_busy = True
        await trio.sleep(self.train_s)
        self.is_busy = False
        self.value += 1.0
        return self._written()

    async def snapshot(self) -> Trained:
        self._enter("snapshot")
        return self._written()

    def _written(self) -> Trained:
        data = struct.pack("<f", self.value)
        path = self.folder / f"own-{len(self.calls)}"
        path.write_bytes(data)
        return Trained(path, hashlib.sha256(data).digest(), 4, 1, loss=0.0, accuracy=0.5)

    async def admit(self, path: Path, manifest: Manifest) -> Verdict:
        assert not self.is_busy, "executor calls come one at a time"
        self._enter("admit")
        assert hashlib.sha256(path.read_bytes()).digest() == manifest.sha256
        return Verdict(self.refuse.get(manifest.author, ""))

    async def mix(self, round: int, next_round: int, degree: int, slots: Sequence[Slot]) -> Mixed:
        self._enter("mix")
        values = [struct.unpack("<f", slot.path.read_bytes())[0] for slot in slots]
        self.value = (self.value + sum(values)) / (1 + len(values))
        self.mixed_values.append(self.value)
        return Mixed(next_round, len(slots), 0.5, 0.0, saved=True)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append("aclose")

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        planned = self.fail.get(call, [])
        if planned and (error := planned.pop(0)) is not None:
            raise error


@dataclass
class InProcessPeer:
    """One peer of the memory swarm."""

    name: str
    identity: Identity
    transport: MemoryTransport
    links: Links
    node: Node
    learning: Learning
    executor: ScriptedExecutor
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def exchange(self) -> ExchangeCore:
        assert self.node.exchange is not None
        return self.node.exchange

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.transport.run)
                self.node.membership.update_own(addresses=tuple(self.transport.addresses()))
                await nursery.start(self.links.run)
                await nursery.start(self.node.run)
                task_status.started()
                await self.learning.run()


class MemorySwarm:
    """Makes peers; the first one's address is what all others are told."""

    def __init__(self, folder: Path, nursery: trio.Nursery, **exchange: object) -> None:
        self.network = MemoryNetwork()
        self.peers: dict[str, InProcessPeer] = {}
        self._folder, self._nursery = folder, nursery
        self._exchange = {"deadline_s": 20.0, "max_model_bytes": 1000, **exchange}

    def make(
        self,
        name: str,
        *,
        start_members: int = 1,
        incarnation: int = 1,
        interval_s: float = 0.0,
        executor: ScriptedExecutor | None = None,
    ) -> InProcessPeer:
        identity = Identity(name.encode().ljust(32, b"."))
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        executor = executor or ScriptedExecutor(folder, value=float(len(self.peers)))
        transport = self.network.transport(name, identity.peer_id)
        rng = random.Random(name)
        links = Links(transport, Hello(SWARM), rng, LinkSettings(keepalive_s=5.0))
        membership = MembershipCore(
            MembershipConfig(SWARM, heartbeat_s=1.0, timeout_s=10.0),
            PeerRecord(identity.public_key, SWARM, incarnation, 0),
            own_id=identity.peer_id,
            sign=lambda record: signed(identity, record),
            author_of=lambda record: peer_id_of(record.author) if is_authentic(record) else None,
            peer_id_of=peer_id_of,
            now=trio.current_time(),
        )
        node = Node(
            transport=transport,
            links=links,
            pace=Pace(stall_s=5.0),
            membership=membership,
            family=families.build("complete", {}),
            seed=1,
            inbox_folder=folder / "inbox",
            on_incarnation_behind=lambda seen: membership.update_own(incarnation=seen + 1),
            offload=inline,
        )
        learning = Learning(
            node,
            executor,
            make_exchange=lambda opened: ExchangeCore(
                ExchangeConfig(SWARM, opened.space, **self._exchange),  # type: ignore[arg-type]
                first_round=opened.round,
                is_authentic=lambda manifest, sender: peer_id_of(manifest.author) == sender and is_authentic(manifest),
                rng=rng,
            ),
            sign_snapshot=_signer(identity, incarnation),
            start_members=start_members,
            interval_s=interval_s,
            restart=Backoff(1.0, 8.0),
            rng=rng,
            on_round=lambda: None,
        )
        peer = InProcessPeer(name, identity, transport, links, node, learning, executor)
        self.peers[name] = peer
        return peer

    async def start(self, peer: InProcessPeer) -> InProcessPeer:
        await self._nursery.start(peer.run)
        others = [other for other in self.peers.values() if other is not peer]
        if others:
            peer.links.add_bootstrap(others[0].transport.addresses()[:1])
        return peer

    async def start_all(self, names: str, **options: int) -> list[InProcessPeer]:
        return [await self.start(self.make(name, start_members=len(names), **options)) for name in names]

    async def until(self, condition: Callable[[], bool], *, within_s: float = 300.0) -> None:
        """Let virtual time pass until the condition holds."""
        await until(condition, within_s=within_s, every_s=0.05)

    async def until_round(self, round: int, *peers: InProcessPeer) -> None:
        waited_for = peers or tuple(self.peers.values())
        await self.until(lambda: all(p.node.exchange is not None and p.exchange.round >= round for p in waited_for))


def _signer(identity: Identity, incarnation: int) -> Callable[[Trained, int, int], Manifest]:
    count = 0

    def sign(trained: Trained, round: int, degree: int) -> Manifest:
        nonlocal count
        count += 1
        return signed(
            identity,
            Manifest(
                SWARM,
                SPACE,
                identity.public_key,
                seq=incarnation * 1000 + count,
                round=round,
                steps=trained.steps,
                samples=10,
                degree=degree,
                size_bytes=trained.size_bytes,
                sha256=trained.sha256,
            ),
        )

    return sign


@asynccontextmanager
async def memory_swarm(folder: Path, **exchange: object) -> AsyncIterator[MemorySwarm]:
    """Yield a swarm whose peers all end with the block."""
    async with trio.open_nursery() as nursery:
        yield MemorySwarm(folder, nursery, **exchange)
        nursery.cancel_scope.cancel()


__all__ = ["InProcessPeer", "MemorySwarm", "ScriptedExecutor", "StoreError", "TrainerError", "memory_swarm"]
