"""Transports of either kind, started on demand."""

import functools
import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio

from peer.identity import Identity
from peer.net.libp2p_host import Libp2pTransport
from peer.net.limits import Limits
from peer.net.memory import MemoryNetwork
from peer.net.transport import Transport
from tests.waiting import until

GUARD_S = 20  # only reached when something hangs

Start = Callable[..., Awaitable[Transport]]


@pytest.fixture(params=["memory", "libp2p"])
def kind(request):
    return request.param


@pytest.fixture
def build(kind) -> Callable[..., Transport]:
    """Make a transport that is not running yet."""
    network = MemoryNetwork()
    seeds = itertools.count(1)

    def build(limits: Limits | None = None) -> Transport:
        seed = next(seeds).to_bytes(32, "big")
        if kind == "memory":
            return network.transport(f"peer{seed[-1]}", Identity(seed).peer_id, limits)
        return Libp2pTransport(seed, ["/ip4/127.0.0.1/tcp/0"], limits)

    return build


@pytest.fixture
async def start(build, nursery) -> Start:
    """Make a transport and run it until the end of the test."""

    async def start(limits: Limits | None = None) -> Transport:
        transport = build(limits)
        await nursery.start(transport.run)
        return transport

    return start


@pytest.fixture
async def pair(start) -> tuple[Transport, Transport]:
    """Two running transports, the first one connected to the second."""
    one, other = await start(), await start()
    await one.dial(other.addresses()[0])
    await until(lambda: one.peer_id in other.connected_peers())
    return one, other


@pytest.fixture(autouse=True)
def guard(request):
    """Fail instead of hanging."""
    request.node.obj = _guarded(request.node.obj)


def _guarded(test):
    @functools.wraps(test)
    async def run(*args, **kwargs):
        with trio.fail_after(GUARD_S):
            return await test(*args, **kwargs)

    return run
