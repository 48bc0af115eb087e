"""Attacks by a peer that has proved its key: on the record layer, the muxer, and protocol negotiation."""

import pytest
import trio
from libp2p.stream_muxer.exceptions import MuxedStreamError

from peer.errors import NetError
from peer.net.libp2p_fixes.yamux import DATA, HEADER, PING, SYN, WINDOW_UPDATE

from .conftest import ECHO, LIMITS

MULTISTREAM = b"\x13/multistream/1.0.0\n"


def frame(kind, flags, stream_id, length=0) -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, length)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xff" * 100, "bad_muxer_frame"),
        (frame(WINDOW_UPDATE, SYN, 2), "bad_muxer_frame"),
        (frame(WINDOW_UPDATE, SYN, 1001) + frame(DATA, 0, 1001, 2**32 - 1), "window_exceeded"),
        (frame(PING, SYN, 0) * 100_000, "control_flood"),
    ],
)
async def test_a_broken_muxer_rule_costs_the_connection(stage, data, fault):
    with stage.one_fault(fault):
        muxer = await stage.muxer()
        if fault == "control_flood":
            stop_reading(muxer)
        muxer._outgoing.put(data)
        await stage.honest_peer_goes_on()
        await stage.attacker_is_out()
        await stage.counted(fault)
    await stage.honest_peer_goes_on()


def stop_reading(muxer):
    """Make the attacker deaf: its own socket is never read again."""

    async def deaf(n=None):
        await trio.sleep_forever()

    muxer.secured_conn._conn.read = deaf


async def test_an_altered_record_costs_the_connection(stage):
    with stage.one_fault("bad_record"):
        muxer = await stage.muxer()
        muxer.secured_conn._sealing._count += 1  # what is sealed with another nonce cannot be opened
        muxer._outgoing.put(frame(PING, SYN, 0))
        await stage.attacker_is_out()
        await stage.counted("bad_record")
    await stage.honest_peer_goes_on()


async def test_an_unknown_protocol_costs_the_stream(stage):
    with stage.one_fault("unknown_protocol"):
        await stage.attacker.dial(stage.victim.address)
        with pytest.raises(NetError):
            await stage.attacker.open_stream(stage.victim.peer_id, "/somebody/else/1")
        await stage.counted("unknown_protocol")
        await stage.honest_peer_goes_on()
    stream = await stage.attacker.open_stream(stage.victim.peer_id, ECHO)
    await stream.send_all(b"the connection stays")
    assert await stream.receive_some(20) == b"the connection stays"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x13/multi",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        MULTISTREAM + b"\x80\x80\x80\x80\x20",
        MULTISTREAM + b"\x04\xff\xfe\xfd\n",
        b"garbage that is long enough to be a message of a hundred and three bytes, as its first letter says\n" * 2,
    ],
    ids=range(6),
)
async def test_garbage_or_silence_instead_of_a_protocol_costs_the_stream(stage, data):
    with stage.one_fault("negotiation"):
        stream = await (await stage.muxer()).open_stream()
        if data:
            await stream.write(data)
        await stage.honest_peer_goes_on()
        await until_reset(stream)
        await stage.counted("negotiation")
    await stage.honest_peer_goes_on()


async def until_reset(stream):
    with pytest.raises(MuxedStreamError):  # noqa: PT012  # the victim's side of the negotiation may come before
        while await stream.read():
            pass


async def test_a_flood_of_streams_is_refused(stage):
    muxer = await stage.muxer()
    streams = [await muxer.open_stream() for _ in range(LIMITS.max_streams_per_peer * 10)]
    await stage.honest_peer_goes_on()
    for stream in streams:
        await until_reset(stream)
    faults = stage.victim.faults
    assert faults["too_many_streams"] == 1
    assert faults["too_many_negotiating"] >= 1
    assert faults["negotiation"] == LIMITS.max_negotiating_per_peer
    assert stage.attacker.peer_id in stage.victim.transport.connected_peers()


async def test_a_flood_without_end_costs_the_connection(stage):
    muxer = await stage.muxer()
    for i in range(10_000):
        muxer._outgoing.put(frame(WINDOW_UPDATE, SYN, 1001 + 2 * i))
    await stage.attacker_is_out()
    assert stage.victim.faults["too_many_streams"] == 1
    await stage.honest_peer_goes_on()


async def test_a_crash_in_a_handler_harms_nothing_else(stage):
    async def crash(stream):
        raise KeyError("bug")

    stage.victim.transport.set_handler("/test/crash/1", crash)
    with stage.one_fault("handler_crash"):
        await stage.attacker.dial(stage.victim.address)
        stream = await stage.attacker.open_stream(stage.victim.peer_id, "/test/crash/1")
        with pytest.raises(NetError):
            await stream.receive_some(1)
        await stage.counted("handler_crash")
    await stage.honest_peer_goes_on()
