"""Our transport and an unmodified py-libp2p host: the repairs change no byte that others see."""

import logging

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import PingService
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from peer.net.libp2p_host import Libp2pTransport
from tests.waiting import until

ECHO = "/test/echo/1"
DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
async def ours(nursery):
    transport = Libp2pTransport(bytes(31) + b"\x01", ["/ip4/127.0.0.1/tcp/0"])
    await nursery.start(transport.run)
    return transport


@pytest.fixture
async def theirs():
    logging.getLogger().setLevel(logging.CRITICAL)
    host = new_host(create_new_key_pair(bytes(31) + b"\x02"))
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        yield host
        await host.close()
    logging.getLogger().setLevel(logging.WARNING)


async def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


async def test_we_dial_the_library(ours, theirs):
    async def echo(stream):
        try:
            while True:
                await stream.write(await stream.read(65536))
        except StreamEOF:
            await stream.close()

    theirs.set_stream_handler(ECHO, echo)
    with trio.fail_after(20):
        peer = await ours.dial(str(theirs.get_addrs()[0]))
        assert peer == theirs.get_id().to_base58()
        stream = await ours.open_stream(peer, ECHO)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_end, stream)
            received = b""
            while data := await stream.receive_some(65536):
                received += data
        assert received == DATA
        await ours.disconnect(peer)


async def send_and_end(stream):
    await stream.send_all(DATA)
    await stream.send_eof()


async def test_the_library_dials_us_pings_and_identifies(ours, theirs):
    async def echo(stream):
        while data := await stream.receive_some(65536):
            await stream.send_all(data)
        await stream.aclose()

    ours.set_handler(ECHO, echo)
    with trio.fail_after(20):
        info = info_from_p2p_addr(Multiaddr(ours.addresses()[0]))
        await theirs.connect(info)
        (rtt,) = await PingService(theirs).ping(info.peer_id)
        assert rtt >= 0
        stream = await theirs.new_stream(info.peer_id, [ECHO])
        await stream.write(DATA[:100_000])
        assert await read_exactly(stream, 100_000) == DATA[:100_000]
        await stream.close()
        await until(lambda: theirs.get_peerstore().get_protocols(info.peer_id))
        assert ECHO in theirs.get_peerstore().get_protocols(info.peer_id)
        await until(lambda: theirs.get_id() in ours._host.agents)
        assert ours._host.agents[theirs.get_id()].startswith("py-libp2p")
    assert not ours.faults
