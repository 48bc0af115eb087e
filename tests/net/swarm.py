"""Peers with links in a memory network, for tests under a virtual clock."""

import random
from collections.abc import Callable
from contextlib import asynccontextmanager

import trio

from peer.core.messages import Hello, PeerId
from peer.identity import Identity
from peer.net.link import LinkSettings
from peer.net.links import LinkDown, Links, LinkUp, Received
from peer.net.memory import MemoryNetwork, MemoryTransport
from tests.waiting import until

SWARM = bytes(32)
OTHER_SWARM = bytes([1]) * 32


def peer_ids(count: int) -> list[tuple[bytes, PeerId]]:
    """Seeds and ids of peers, smallest id first."""
    seeds = [i.to_bytes(32, "big") for i in range(1, count + 1)]
    return sorted(((seed, Identity(seed).peer_id) for seed in seeds), key=lambda pair: pair[1])


class Member:
    """A transport, its links, and everything that the links have told."""

    def __init__(self, network: MemoryNetwork, name: str, peer_id: PeerId, hello: Hello, settings: LinkSettings):
        self.name = name
        self.transport: MemoryTransport = network.transport(name, peer_id)
        self.links = Links(self.transport, hello, random.Random(name), settings)
        self.peer_id = peer_id
        self.address = f"/memory/{name}/p2p/{peer_id}"
        self.story: list[str] = []
        self.received: list[object] = []
        self.is_reading = True
        self.scope = trio.CancelScope()
        self._known: dict[PeerId, str] = {}

    def knows(self, other: "Member") -> None:
        self._known[other.peer_id] = other.name

    @asynccontextmanager
    async def running(self):
        """Run transport, links and a reader of events; leave gracefully at the end."""
        async with trio.open_nursery() as outer:
            await outer.start(self.transport.run)
            async with trio.open_nursery() as inner:
                await inner.start(self.links.run)
                inner.start_soon(self._read)
                yield self
                inner.cancel_scope.cancel()
            outer.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            await self.until(lambda: self.is_reading)
            event = await self.links.events.receive()
            name = self._known.get(event.peer, event.peer)
            match event:
                case LinkUp():
                    self.story.append(f"up {name}")
                case LinkDown():
                    self.story.append(f"down {name} ({event.reason})")
                case Received():
                    self.received.append(event.message)

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, within_s=1e6, every_s=0.01)  # virtual seconds


def members(network: MemoryNetwork, count: int, settings: LinkSettings | None = None, **hellos: bytes) -> list[Member]:
    """Members a, b, c, .. in the order of their ids; `b=OTHER_SWARM` puts one into another swarm."""
    found = []
    for i, (_, peer_id) in enumerate(peer_ids(count)):
        name = chr(ord("a") + i)
        hello = Hello(swarm=hellos.get(name, SWARM), agent=name)
        found.append(Member(network, name, peer_id, hello, settings or LinkSettings()))
    for member in found:
        for other in found:
            member.knows(other)
    return found
