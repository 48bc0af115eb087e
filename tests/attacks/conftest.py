"""A stage for attacks on the real network: a victim, its friend, and an attacker, all on loopback.

Deadlines are short, so that a stall is over in a fraction of a second; no test waits for a time, only for events.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from peer.core.messages import Hello, Model, Refuse, Seen, Want
from peer.net.fetch import fetch
from peer.net.libp2p_host import Libp2pTransport
from peer.net.limits import Limits
from peer.net.link import LinkSettings
from peer.net.links import Links, Received
from peer.net.pace import Pace
from peer.net.serve import serve_models
from tests.waiting import until

SWARM = bytes(32)
ECHO = "/test/echo/1"
DATA = bytes(range(256)) * 8000
SHA256 = hashlib.sha256(DATA).digest()
GUARD_S = 30  # only reached when something hangs
LIMITS = Limits(
    max_connections=16,
    max_inbound=8,
    max_handshakes=8,
    handshake_s=0.5,
    max_streams_per_peer=8,
    max_negotiating_per_peer=4,
    negotiate_s=0.5,
)
PACE = Pace(stall_s=0.8, min_bytes_per_s=1e6)
LINKS = LinkSettings(handshake_s=0.5, keepalive_s=0.5, dial_backoff_s=0.01)

_seeds = itertools.count(1)


def new_transport(limits: Limits | None = None) -> Libp2pTransport:
    """A transport with a key of its own."""
    return Libp2pTransport(next(_seeds).to_bytes(32, "big"), ["/ip4/127.0.0.1/tcp/0"], limits)


async def echo(stream) -> None:
    while data := await stream.receive_some(65536):
        await stream.send_all(data)
    await stream.aclose()


class Peer:
    """A transport with links, models and an echo: a small daemon."""

    def __init__(self, folder: Path, limits: Limits):
        self.transport = new_transport(limits)
        self.transport.set_handler(ECHO, echo)
        self.links = Links(self.transport, Hello(SWARM), random.Random(1), LINKS)
        self.file = folder / f"model-{self.transport.peer_id[-6:]}"
        self.file.write_bytes(DATA)
        self.server = serve_models(self.transport, self.provide, pace=PACE)
        self.folder = folder
        self.heard: list[object] = []
        self._request_ids = itertools.count(1)

    def provide(self, peer, want):
        if want.sha256 != SHA256:
            return Refuse(want.request_id, "unknown")
        return Model(want.request_id, SHA256, len(DATA), want.offset), self.file

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            await nursery.start(self.links.run)
            nursery.start_soon(self._listen)
            task_status.started()

    async def _listen(self):
        async for event in self.links.events:
            if isinstance(event, Received):
                self.heard.append(event.message)

    @property
    def peer_id(self):
        return self.transport.peer_id

    @property
    def address(self):
        return self.transport.addresses()[0]

    @property
    def endpoint(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.address.split("/")[4])

    @property
    def faults(self) -> dict[str, int]:
        """Everything that this peer has counted."""
        return dict(self.transport.faults + self.links.faults + self.server.faults)

    async def get(self, other, *, pace=PACE):
        want = Want(next(self._request_ids), SHA256)
        destination = self.folder / f"got-{self.peer_id[-6:]}-{want.request_id}"
        await fetch(self.transport, other, want, len(DATA), destination, pace=pace)
        assert destination.read_bytes() == DATA


class Stage:
    """Who is in the play, and what must hold at its end."""

    def __init__(self, victim: Peer, friend: Peer, attacker: Libp2pTransport):
        self.victim = victim
        self.friend = friend
        self.attacker = attacker
        self._count = itertools.count(1)

    async def honest_peer_goes_on(self) -> None:
        """Echo, link and model transfer between friend and victim work."""
        stream = await self.friend.transport.open_stream(self.victim.peer_id, ECHO)
        await stream.send_all(b"honest")
        assert await stream.receive_some(100) == b"honest"
        await stream.aclose()
        message = Seen(next(self._count))
        assert self.friend.links.send(self.victim.peer_id, message)
        await self.friend.get(self.victim.peer_id)
        await until(lambda: message in self.victim.heard)

    @contextmanager
    def one_fault(self, kind: str):
        """Expect that the victim counts `kind` once, logs it once, and nothing else."""
        with capture_logs() as logs:
            yield
        assert self.victim.faults == {kind: 1}
        assert [entry["kind"] for entry in logs if "kind" in entry] == [kind]

    async def counted(self, kind: str) -> None:
        """Wait until the victim has noticed."""
        await until(lambda: self.victim.faults.get(kind, 0) >= 1)

    async def muxer(self):
        """The attacker's own end of a multiplexed connection to the victim, to be abused."""
        await self.attacker.dial(self.victim.address)
        return next(iter(self.attacker._swarm.connections.values()))[0].muxed_conn

    async def attacker_is_out(self) -> None:
        """Wait until the victim has no connection to the attacker."""
        await until(lambda: self.attacker.peer_id not in self.victim.transport.connected_peers())


@pytest.fixture
async def stage(nursery, tmp_path):
    victim, friend = Peer(tmp_path, LIMITS), Peer(tmp_path, Limits())
    attacker = new_transport()
    for part in (victim, friend, attacker):
        await nursery.start(part.run)
    friend.links.set_wanted({victim.peer_id: [victim.address]})
    await until(lambda: victim.links.is_linked(friend.peer_id) and friend.links.is_linked(victim.peer_id))
    return Stage(victim, friend, attacker)
