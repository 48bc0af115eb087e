"""Negotiation of protocols with remotes that follow the rules, and with others."""

import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError

from peer.net.libp2p_fixes import multistream
from peer.net.libp2p_fixes.multistream import NegotiationError, propose, respond

from .wire import wire_pair

HEADER = b"\x13/multistream/1.0.0\n"


async def negotiate(proposals, protocols):
    one, other = wire_pair()
    results = {}

    async def run(name, function, *args):
        try:
            results[name] = await function(*args)
        except (NegotiationError, ConnectionClosedError) as error:
            results[name] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "responder", respond, other, protocols)
        await run("dialer", propose, one, proposals)
        await one.close() if isinstance(results["dialer"], NegotiationError) else None
        with trio.move_on_after(1):
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return results


async def test_the_first_common_protocol_is_agreed_on(autojump_clock):
    results = await negotiate(["/a/1", "/b/1", "/c/1"], {"/c/1", "/b/1"})
    assert results == {"responder": "/b/1", "dialer": "/b/1"}


async def test_nothing_in_common(autojump_clock):
    results = await negotiate(["/a/1"], {"/b/1"})
    assert isinstance(results["dialer"], NegotiationError)


async def test_the_list_of_protocols_can_be_asked_for(autojump_clock):
    one, other = wire_pair()
    await one.write(HEADER + b"\x03ls\n" + b"\x05/b/1\n")
    assert await respond(other, ["/b/1", "/a/1"]) == "/b/1"
    assert await one.read() == HEADER + b"\x0d\x05/a/1\n\x05/b/1\n\n" + b"\x05/b/1\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80\x80\x80\x80\x00",
        b"\x81\x08" + bytes(1025),
        b"\x00",
        b"\x04abcd",
        b"\x03\xff\xfe\n",
        b"\x05/a/1\n",
        HEADER + b"\x03\xff\xfe\n",
        HEADER + b"\x03na\n" * (multistream.MAX_PROPOSALS + 1),
    ],
)
async def test_garbage_ends_the_negotiation(autojump_clock, data):
    one, other = wire_pair()
    await one.write(data)
    with pytest.raises(NegotiationError):
        await respond(other, ["/a/1"])
    one, other = wire_pair()
    await one.write(data)
    if not data.startswith(HEADER + b"\x03na"):
        with pytest.raises(NegotiationError):
            await propose(other, ["/a/1"])


async def test_refused_names_are_told(autojump_clock):
    one, other = wire_pair()
    await one.write(HEADER + b"\x05/z/1\n" + b"\x05/a/1\n")
    refused = []
    assert await respond(other, ["/a/1"], refused) == "/a/1"
    assert refused == ["/z/1"]
