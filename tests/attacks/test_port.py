"""Attacks on the listening port: before anybody has proved a key."""

import os

import psutil
import pytest
import trio

from tests.waiting import until

from .conftest import LIMITS

NOISE = b"\x13/multistream/1.0.0\n\x07/noise\n"
CLIENT_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)


@pytest.fixture
async def connect(stage):
    """Open raw connections to the victim; they are closed at the end."""
    sockets = []

    async def connect() -> trio.SocketStream:
        sockets.append(await trio.open_tcp_stream(*stage.victim.endpoint))
        return sockets[-1]

    yield connect
    for socket in sockets:
        await socket.aclose()


async def until_closed(socket: trio.SocketStream) -> None:
    """Read until the other end is gone."""
    try:
        while await socket.receive_some(65536):
            pass
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"\n" * 100,
        b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: somebody\r\nAccept: */*\r\n\r\n",
        CLIENT_HELLO,
        b"\x80\x80\x80\x80\x20",
        b"\xff" * 4096,
        b"\x13/multistream/1.0.0\n\x03\xff\xfe\n",
        b"\x13/multistream/1.0.0\n" + b"\x11/plaintext/2.0.0\n" * 20,
        NOISE + b"\xff\xff" + bytes(65535),
        NOISE + b"\x00\x00",
        NOISE + b"\x00\x20" + bytes(32) + b"\x00\x05abcde",
        b"",
        NOISE[:10],
        NOISE,
        NOISE + b"\xff\xff",
    ],
    ids=range(15),
)
async def test_garbage_or_silence_costs_the_connection(stage, connect, garbage):
    with stage.one_fault("handshake"):
        socket = await connect()
        await socket.send_all(garbage)
        await stage.honest_peer_goes_on()
        await until_closed(socket)
        await stage.counted("handshake")
    await stage.honest_peer_goes_on()


async def test_a_length_of_eight_gigabytes_allocates_nothing(stage, connect):
    memory = psutil.Process().memory_info
    before = memory().rss
    socket = await connect()
    await socket.send_all(b"\x80\x80\x80\x80\x20" + os.urandom(1000))
    await until_closed(socket)
    assert memory().rss - before < 50e6
    assert stage.victim.faults == {"handshake": 1}


async def test_a_connection_that_says_goodbye_at_once_is_counted_as_a_handshake_that_failed(stage, connect):
    with stage.one_fault("handshake"):
        socket = await connect()
        await socket.aclose()
        await stage.counted("handshake")


async def test_a_flood_of_silent_connections_does_not_keep_others_out(stage, connect):
    """More than may be at their handshake at once: the oldest go, and a newcomer gets in all the while."""
    flood = [await connect() for _ in range(10 * LIMITS.max_handshakes)]
    await stage.attacker.dial(stage.victim.address)
    await stage.honest_peer_goes_on()
    async with trio.open_nursery() as closing:
        for socket in flood:
            closing.start_soon(until_closed, socket)
    faults = stage.victim.faults
    assert faults["too_many_handshakes"] >= 8 * LIMITS.max_handshakes
    assert faults["handshake"] + faults["too_many_handshakes"] == len(flood)
    assert stage.victim.transport._swarm._handshakes == {}


async def test_many_identities_cannot_fill_the_table(stage, nursery):
    """A stranger may make keys at will; idle connections go when their place is needed."""
    from .conftest import new_transport

    crowd = [new_transport() for _ in range(2 * LIMITS.max_inbound)]
    for stranger in crowd:
        await nursery.start(stranger.run)
        await stranger.dial(stage.victim.address)
        await until(lambda: len(stage.victim.transport._swarm.all_connections()) <= LIMITS.max_inbound)
    newcomer = new_transport()
    await nursery.start(newcomer.run)
    await newcomer.dial(stage.victim.address)
    stream = await newcomer.open_stream(stage.victim.peer_id, "/test/echo/1")
    await stream.send_all(b"x")
    assert await stream.receive_some(1) == b"x"
    await stage.honest_peer_goes_on()
    assert set(stage.victim.faults) == {"too_many_connections"}
