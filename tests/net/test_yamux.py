"""The muxer: against itself, against the library's, and against remotes that break its rules."""

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import Yamux as LibraryYamux

from peer.net.libp2p_fixes.yamux import ACK, DATA, FIN, GO_AWAY, HEADER, PING, RST, SYN, WINDOW_UPDATE, Yamux
from peer.net.libp2p_fixes.yamux_stream import INITIAL_WINDOW, MAX_WINDOW
from peer.net.limits import Limits

from .wire import wire_pair

PEER = ID(b"peer")
LARGE = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
async def pair(nursery):
    """Two of our muxers."""
    one, other = (Yamux(wire, PEER, Limits()) for wire in wire_pair())
    nursery.start_soon(one.start)
    nursery.start_soon(other.start)
    await one.event_started.wait()
    await other.event_started.wait()
    return one, other


@pytest.fixture(params=["ours dials", "theirs dials"])
async def mixed(request, nursery):
    """One of ours and one of the library's; whoever dialed."""
    dialer, answerer = wire_pair()
    our_wire, their_wire = (dialer, answerer) if request.param == "ours dials" else (answerer, dialer)
    ours, theirs = Yamux(our_wire, PEER, Limits()), LibraryYamux(their_wire, PEER)

    async def closed():
        pass

    theirs.on_close = closed
    nursery.start_soon(ours.start)
    nursery.start_soon(theirs.start)
    await ours.event_started.wait()
    await theirs.event_started.wait()
    return ours, theirs


@pytest.fixture
async def raw(nursery):
    """One of ours, dialed by a remote that writes frames by hand; also the list of rules it broke."""
    wire, remote = wire_pair(second_dials=True)
    muxer = Yamux(wire, PEER, Limits(max_streams_per_peer=4, keepalive_s=10, linger_s=5, write_stall_s=7))
    violations = []
    muxer.on_violation = violations.append
    nursery.start_soon(muxer.start)
    await muxer.event_started.wait()
    return muxer, remote, violations


def frame(kind, flags, stream_id, length=0, body=b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, length or len(body)) + body


async def read_all(stream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.read(100_000)
    except MuxedStreamEOF:
        return data


async def echo(muxer):
    stream = await muxer.accept_stream()
    try:
        while True:
            await stream.write(await stream.read(100_000))
    except MuxedStreamEOF:
        await stream.close()


# With itself


async def test_echo_of_more_than_the_window_both_ways(autojump_clock, pair, nursery):
    one, other = pair
    nursery.start_soon(echo, other)
    stream = await one.open_stream()

    async def send():
        await stream.write(LARGE)
        await stream.close_write()

    nursery.start_soon(send)
    assert await read_all(stream) == LARGE
    await trio.sleep(1)
    assert one.num_streams == other.num_streams == 0


async def test_both_ends_write_with_full_buffers_and_neither_deadlocks(autojump_clock, nursery):
    """Ten streams each way over a wire that holds 4 kB, with pings between: the reader never waits for the writer."""
    one, other = (Yamux(wire, PEER, Limits()) for wire in wire_pair(capacity=4096))
    for muxer in (one, other):
        nursery.start_soon(muxer.start)
        await muxer.event_started.wait()
    with trio.fail_after(100):
        async with trio.open_nursery() as inner:
            for here, there in ((one, other), (other, one)):
                for _ in range(10):
                    inner.start_soon(write_and_close, await here.open_stream(), LARGE[:400_000])
                    inner.start_soon(expect, there, LARGE[:400_000])


async def write_and_close(stream, data):
    await stream.write(data)
    await stream.close_write()
    await read_all(stream)


async def expect(muxer, data):
    stream = await muxer.accept_stream()
    assert await read_all(stream) == data
    await stream.close()


async def test_a_cancelled_writer_leaves_the_connection_whole(autojump_clock, nursery):
    one, other = (Yamux(wire, PEER, Limits()) for wire in wire_pair(capacity=1000))
    for muxer in (one, other):
        nursery.start_soon(muxer.start)
        await muxer.event_started.wait()
    stream = await one.open_stream()
    with trio.move_on_after(1):
        await stream.write(LARGE)
    await stream.reset()
    nursery.start_soon(drop_first_then_echo, other)
    second = await one.open_stream()
    await second.write(b"whole")
    assert await second.read(5) == b"whole"


async def drop_first_then_echo(muxer):
    await muxer.accept_stream()
    await echo(muxer)


async def test_memory_of_an_unread_stream_is_one_window(autojump_clock, pair):
    one, other = pair
    stream = await one.open_stream()
    with trio.move_on_after(10) as scope:
        await stream.write(LARGE)
    assert scope.cancelled_caught
    unread = await other.accept_stream()
    assert len(unread._buffer) == INITIAL_WINDOW


async def test_windows_grow_for_a_fast_reader_and_the_budget_comes_back(autojump_clock, pair, nursery):
    one, other = pair
    await trio.sleep(1)  # the first pings are answered
    one._rtt = other._rtt = 0.1
    before = other._window_budget
    stream = await one.open_stream()
    nursery.start_soon(write_and_close, stream, LARGE * 2)
    received = await other.accept_stream()
    assert await read_all(received) == LARGE * 2
    assert INITIAL_WINDOW + received.growth == MAX_WINDOW
    await received.close()
    assert other._window_budget == before


async def test_a_closed_stream_drops_what_still_comes(autojump_clock, pair):
    one, other = pair
    stream = await one.open_stream()
    await stream.write(b"x")
    accepted = await other.accept_stream()
    await accepted.close()
    with pytest.raises(MuxedStreamEOF):
        await stream.read(1)
    await stream.write(bytes(100_000))
    await stream.close()
    await trio.sleep(1)
    assert len(accepted._buffer) == 0
    assert one.num_streams == other.num_streams == 0


async def test_close_flushes_and_ends_the_other_side(autojump_clock, pair):
    one, other = pair
    stream = await one.open_stream()
    await stream.write(b"last words")
    await stream.close_write()
    await one.close()
    accepted = await other.accept_stream()
    assert await read_all(accepted) == b"last words"
    with pytest.raises(MuxedConnUnavailable):
        await other.accept_stream()
    for muxer in pair:
        with pytest.raises(MuxedConnUnavailable):
            await muxer.open_stream()


# With the library's


async def test_the_library_understands_us(autojump_clock, mixed, nursery):
    ours, theirs = mixed
    nursery.start_soon(echo, theirs)
    stream = await ours.open_stream()

    async def send():
        await stream.write(LARGE)
        await stream.close_write()

    nursery.start_soon(send)
    assert await read_all(stream) == LARGE


async def test_we_understand_the_library(autojump_clock, mixed, nursery):
    ours, theirs = mixed
    nursery.start_soon(echo, ours)
    stream = await theirs.open_stream()

    async def send():
        await stream.write(LARGE)
        await stream.close()

    nursery.start_soon(send)
    assert await read_all(stream) == LARGE


async def test_resets_and_farewells_are_understood(autojump_clock, mixed):
    ours, theirs = mixed
    stream = await ours.open_stream()
    await stream.write(b"x")
    accepted = await theirs.accept_stream()
    await accepted.reset()
    with pytest.raises(MuxedStreamReset):
        await stream.read(1)
    await ours.close()
    await theirs.event_closed.wait()


# With remotes that break rules


async def test_data_beyond_the_window_ends_the_connection(autojump_clock, raw):
    muxer, remote, violations = raw
    await remote.write(frame(WINDOW_UPDATE, SYN, 1) + frame(DATA, 0, 1, INITIAL_WINDOW + 1))
    await muxer.event_closed.wait()
    assert violations == ["window_exceeded"]


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(1, DATA, 0, 1, 0),
        HEADER.pack(0, 9, 0, 1, 0),
        frame(WINDOW_UPDATE, SYN, 2),
        frame(WINDOW_UPDATE, SYN, 0),
        frame(WINDOW_UPDATE, SYN, 1) * 2,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_frames_that_cannot_be_end_the_connection(autojump_clock, raw, data):
    muxer, remote, violations = raw
    await remote.write(data)
    await muxer.event_closed.wait()
    assert violations == ["bad_muxer_frame"]


async def test_streams_beyond_the_limit_are_refused_then_the_connection_goes(autojump_clock, raw):
    muxer, remote, violations = raw
    await remote.write(b"".join(frame(WINDOW_UPDATE, SYN, 2 * i + 1) for i in range(6)))
    await trio.sleep(1)
    assert muxer.num_streams == 4
    assert violations == ["too_many_streams"]
    assert not muxer.is_closed
    await remote.write(b"".join(frame(WINDOW_UPDATE, SYN, 2 * i + 1) for i in range(6, 600)))
    await muxer.event_closed.wait()
    assert violations == ["too_many_streams"]


async def test_a_flood_of_pings_that_are_not_answered_for_ends_the_connection(autojump_clock, raw):
    """The remote reads nothing: answers pile up to their bound, the reader never waits."""
    muxer, remote, violations = raw
    remote.stop_reading()
    await remote.write(frame(PING, SYN, 0, 1) * 10_000)
    await muxer.event_closed.wait()
    assert violations == ["control_flood"]


async def test_a_remote_that_takes_nothing_is_dropped(autojump_clock, raw):
    muxer, remote, violations = raw
    remote.stop_reading()
    await remote.write(frame(WINDOW_UPDATE, SYN, 1))
    stream = await muxer.accept_stream()
    with pytest.raises(MuxedStreamReset):
        await stream.write(LARGE)
    assert violations == ["stalled_write"]


async def test_silence_is_asked_and_then_believed(autojump_clock, raw):
    muxer, remote, violations = raw
    asked = trio.current_time()
    await trio.sleep(10)
    muxer._ping_sent = None
    muxer.tick(trio.current_time())
    await trio.sleep(1)
    assert frame(PING, SYN, 0)[:8] in await remote.read_available()
    assert not muxer.is_closed
    await trio.sleep(9)
    muxer.tick(trio.current_time())
    assert muxer.is_closed
    assert trio.current_time() - asked == 20
    assert violations == []


async def test_a_stream_that_the_remote_never_finishes_is_reset(autojump_clock, raw):
    muxer, remote, _ = raw
    await remote.write(frame(WINDOW_UPDATE, SYN, 1))
    stream = await muxer.accept_stream()
    await stream.close()
    await trio.sleep(5)
    muxer.tick(trio.current_time())
    await trio.sleep(0.1)
    assert muxer.num_streams == 0
    assert frame(WINDOW_UPDATE, RST, 1) in await remote.read_available()


async def test_small_pieces_do_not_cost_more_than_their_bytes(autojump_clock, raw):
    muxer, remote, _ = raw
    await remote.write(frame(WINDOW_UPDATE, SYN, 1))
    stream = await muxer.accept_stream()
    for _ in range(1000):
        await remote.write(frame(DATA, 0, 1, body=b"x"))
    await trio.sleep(1)
    assert stream._buffer == b"x" * 1000


async def test_unknown_streams_and_late_frames_are_ignored(autojump_clock, raw):
    muxer, remote, violations = raw
    await remote.write(
        frame(DATA, 0, 77, body=b"late") + frame(WINDOW_UPDATE, ACK, 78) + frame(DATA, FIN, 79) + frame(PING, ACK, 0, 9)
    )
    await remote.write(frame(DATA, SYN | FIN, 1, body=b"all at once"))
    assert await read_all(await muxer.accept_stream()) == b"all at once"
    assert violations == []


async def test_go_away_ends_the_connection_after_what_came_before(autojump_clock, raw):
    muxer, remote, violations = raw
    await remote.write(frame(DATA, SYN, 1, body=b"before") + frame(GO_AWAY, 0, 0))
    stream = await muxer.accept_stream()
    assert await stream.read(100) == b"before"
    with pytest.raises(MuxedStreamReset):
        await stream.read(1)
    assert violations == []
