"""What every transport must do; run over the real one and the one in memory."""

import pytest
import trio

from peer.errors import ConfigError, NetError
from peer.net.limits import Limits
from tests.waiting import until

ECHO = "/test/echo/1"
LARGE = 3 * 1024 * 1024
PIECE = 1 << 16


async def echo(stream):
    while data := await stream.receive_some(PIECE):
        await stream.send_all(data)
    await stream.send_eof()


async def receive_all(stream) -> bytes:
    data = b""
    while more := await stream.receive_some(PIECE):
        data += more
    return data


async def receive_exactly(stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        assert more, "ended too early"
        data += more
    return data


# Addresses and dialing


async def test_addresses_name_the_peer_and_can_be_dialed(start):
    one, other = await start(), await start()
    (address,) = other.addresses()
    assert address.endswith(f"/p2p/{other.peer_id}")
    assert await one.dial(address) == other.peer_id
    assert one.connected_peers() == [other.peer_id]


async def test_a_transport_that_does_not_run_has_no_address(build):
    assert list(build().addresses()) == []


async def test_dial_without_a_peer_id_learns_it(start):
    one, other = await start(), await start()
    address = other.addresses()[0].rpartition("/p2p/")[0]
    assert await one.dial(address) == other.peer_id


async def test_dial_refuses_another_peer_than_the_one_named(start):
    one, other, third = await start(), await start(), await start()
    address = other.addresses()[0].replace(other.peer_id, third.peer_id)
    with pytest.raises(NetError, match="another peer"):
        await one.dial(address)
    assert list(one.connected_peers()) == []


async def test_dial_twice_uses_the_connection(pair):
    one, other = pair
    assert await one.dial(other.addresses()[0]) == other.peer_id
    assert one.connected_peers() == [other.peer_id]


async def test_dial_of_a_dead_address_is_an_error(build, start, nursery):
    one, gone = await start(), build()
    scope = trio.CancelScope()
    with scope:
        async with trio.open_nursery() as own:
            await own.start(gone.run)
            address = gone.addresses()[0]
            scope.cancel()
    with pytest.raises(NetError):
        await one.dial(address)


async def test_dial_of_itself_is_an_error(start):
    one = await start()
    with pytest.raises(NetError):
        await one.dial(one.addresses()[0])


@pytest.mark.parametrize("address", ["", "/", "nonsense", "/ip4/1.2.3.4/udp/1", "/ip4/300.1.1.1/tcp/1", "/memory/"])
async def test_dial_of_nonsense_is_an_error(start, address):
    one = await start()
    with pytest.raises(NetError):
        await one.dial(address)


async def test_both_dial_at_once_and_both_can_use_it(start):
    one, other = await start(), await start()
    one.set_handler(ECHO, echo)
    other.set_handler(ECHO, echo)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.dial, other.addresses()[0])
        nursery.start_soon(other.dial, one.addresses()[0])
    for here, there in ((one, other), (other, one)):
        assert list(here.connected_peers()) == [there.peer_id]
        stream = await here.open_stream(there.peer_id, ECHO)
        await stream.send_all(b"both")
        assert await receive_exactly(stream, 4) == b"both"


async def test_an_address_in_use_is_a_config_error(build, start, kind):
    taken = await start()
    again = build()
    if kind == "memory":
        again.name = taken.name
    else:
        again._listen = [taken.addresses()[0].rpartition("/p2p/")[0]]
    with pytest.raises(ConfigError, match="in use"):
        await again.run()


# Streams


async def test_echo(pair):
    one, other = pair
    other.set_handler(ECHO, echo)
    stream = await one.open_stream(other.peer_id, ECHO)
    assert stream.peer == other.peer_id
    await stream.send_all(b"hello")
    assert await receive_exactly(stream, 5) == b"hello"
    await stream.send_eof()
    assert await stream.receive_some(1) == b""
    await stream.aclose()


async def test_the_dialed_side_opens_streams_too(pair):
    one, other = pair
    one.set_handler(ECHO, echo)
    stream = await other.open_stream(one.peer_id, ECHO)
    await stream.send_all(b"back")
    assert await receive_exactly(stream, 4) == b"back"


async def test_the_handler_knows_its_peer(pair):
    one, other = pair
    send, receive = trio.open_memory_channel(1)

    async def tell(stream):
        await send.send(stream.peer)

    other.set_handler(ECHO, tell)
    await one.open_stream(other.peer_id, ECHO)
    assert await receive.receive() == one.peer_id


async def test_large_transfers_both_ways_at_once(pair):
    """Neither end reads before it has written: only windows and back-pressure keep this from filling memory."""
    one, other = pair
    data = bytes(range(256)) * (LARGE // 256)
    other.set_handler(ECHO, echo)
    stream = await one.open_stream(other.peer_id, ECHO)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send():
            await stream.send_all(data)
            await stream.send_eof()

        assert await receive_all(stream) == data


async def test_a_sender_waits_for_a_reader_that_does_not_read(pair):
    one, other = pair
    release = trio.Event()

    async def read_late(stream):
        await release.wait()
        await stream.send_all(str(len(await receive_all(stream))).encode())
        await stream.aclose()

    other.set_handler(ECHO, read_late)
    stream = await one.open_stream(other.peer_id, ECHO)
    with trio.move_on_after(0.2) as scope:
        await stream.send_all(bytes(LARGE))
    assert scope.cancelled_caught, "3 MB were swallowed by somebody's buffers"
    release.set()
    other.set_handler(ECHO, echo)
    second = await one.open_stream(other.peer_id, ECHO)  # the connection has survived the cancelled sender
    await second.send_all(b"alive")
    assert await receive_exactly(second, 5) == b"alive"


async def test_one_stalled_stream_does_not_hold_up_another(pair):
    one, other = pair

    async def never_read(stream):
        await trio.sleep_forever()

    other.set_handler("/test/stall/1", never_read)
    other.set_handler(ECHO, echo)
    stalled = await one.open_stream(other.peer_id, "/test/stall/1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stalled.send_all, bytes(LARGE))
        stream = await one.open_stream(other.peer_id, ECHO)
        for _ in range(20):
            await stream.send_all(bytes(10_000))
            await receive_exactly(stream, 10_000)
        nursery.cancel_scope.cancel()


async def test_receive_takes_at_most_what_was_asked_for(pair):
    one, other = pair
    other.set_handler(ECHO, echo)
    stream = await one.open_stream(other.peer_id, ECHO)
    await stream.send_all(b"abcdef")
    assert await stream.receive_some(1) == b"a"
    assert await receive_exactly(stream, 5) == b"bcdef"
    with pytest.raises(ValueError, match="at least 1"):
        await stream.receive_some(0)


async def test_end_in_one_direction_leaves_the_other_open(pair):
    one, other = pair

    async def answer_after_the_end(stream):
        question = await receive_all(stream)
        await stream.send_all(question.upper())
        await stream.aclose()

    other.set_handler(ECHO, answer_after_the_end)
    stream = await one.open_stream(other.peer_id, ECHO)
    await stream.send_all(b"question")
    await stream.send_eof()
    with pytest.raises(NetError):
        await stream.send_all(b"more")
    assert await receive_all(stream) == b"QUESTION"


async def test_close_delivers_what_was_sent(pair):
    one, other = pair
    data = bytes(200_000)

    async def send_and_close(stream):
        await stream.send_all(data)
        await stream.aclose()

    other.set_handler(ECHO, send_and_close)
    stream = await one.open_stream(other.peer_id, ECHO)
    assert await receive_all(stream) == data
    await stream.aclose()
    await stream.aclose()


async def test_reset_breaks_the_other_end(pair):
    one, other = pair
    failed = trio.Event()

    async def wait_for_reset(stream):
        with pytest.raises(NetError):
            await stream.receive_some(1)
        with pytest.raises(NetError):
            await stream.send_all(b"x")
        failed.set()

    other.set_handler(ECHO, wait_for_reset)
    stream = await one.open_stream(other.peer_id, ECHO)
    await stream.reset()
    await stream.reset()
    await failed.wait()
    with pytest.raises(NetError):
        await stream.receive_some(1)
    with pytest.raises(NetError):
        await stream.send_all(b"x")
    await stream.aclose()
    assert not other.faults


async def test_many_streams_at_once(pair):
    one, other = pair
    other.set_handler(ECHO, echo)

    async def talk(i):
        stream = await one.open_stream(other.peer_id, ECHO)
        text = str(i).encode() * 1000
        await stream.send_all(text)
        await stream.send_eof()
        assert await receive_all(stream) == text
        await stream.aclose()

    for _ in range(10):  # more than the bound over time, within it at any time
        async with trio.open_nursery() as nursery:
            for i in range(8):
                nursery.start_soon(talk, i)


async def test_streams_are_bounded_per_peer(start):
    one, other = await start(), await start(Limits(max_streams_per_peer=4))
    other.set_handler(ECHO, echo)
    await one.dial(other.addresses()[0])
    streams = [await one.open_stream(other.peer_id, ECHO) for _ in range(4)]
    with pytest.raises(NetError):
        await one.open_stream(other.peer_id, ECHO)
    assert other.faults["too_many_streams"] == 1
    for stream in streams:
        await stream.reset()
    await until_streams_are_gone(one, other)


async def until_streams_are_gone(one, other):
    while True:
        try:
            stream = await one.open_stream(other.peer_id, ECHO)
        except NetError:
            await trio.sleep(0.002)
            continue
        await stream.send_all(b"x")
        assert await receive_exactly(stream, 1) == b"x"
        return


async def test_unknown_protocol(pair):
    one, other = pair
    with pytest.raises(NetError):
        await one.open_stream(other.peer_id, "/test/nobody/1")
    await until(lambda: other.faults == {"unknown_protocol": 1})
    other.set_handler(ECHO, echo)
    stream = await one.open_stream(other.peer_id, ECHO)
    await stream.send_all(b"x")
    assert await receive_exactly(stream, 1) == b"x"


async def test_open_stream_to_a_stranger_is_an_error(start):
    one, other = await start(), await start()
    with pytest.raises(NetError):
        await one.open_stream(other.peer_id, ECHO)


# Handlers


async def test_a_crashing_handler_loses_its_stream_and_nothing_else(pair):
    one, other = pair

    async def crash(stream):
        await stream.receive_some(1)
        raise RuntimeError("bug")

    other.set_handler("/test/crash/1", crash)
    other.set_handler(ECHO, echo)
    good = await one.open_stream(other.peer_id, ECHO)
    bad = await one.open_stream(other.peer_id, "/test/crash/1")
    await bad.send_all(b"x")
    with pytest.raises(NetError):
        await bad.receive_some(1)
    assert other.faults["handler_crash"] == 1
    await good.send_all(b"fine")
    assert await receive_exactly(good, 4) == b"fine"


async def test_a_handler_that_returns_early_resets_its_stream(pair):
    one, other = pair

    async def leave(stream):
        await stream.receive_some(1)

    other.set_handler(ECHO, leave)
    stream = await one.open_stream(other.peer_id, ECHO)
    await stream.send_all(b"x")
    with pytest.raises(NetError):
        await stream.receive_some(1)
    assert not other.faults


async def test_a_handler_may_be_cancelled_from_outside(pair):
    one, other = pair
    scopes = []

    async def cancelled(stream):
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await stream.receive_some(1)

    other.set_handler(ECHO, cancelled)
    stream = await one.open_stream(other.peer_id, ECHO)
    await until(lambda: scopes)
    scopes[0].cancel()
    with pytest.raises(NetError):
        await stream.receive_some(1)


# Connections that end


async def test_disconnect_is_seen_on_the_streams_of_both_ends(pair):
    one, other = pair
    failed = trio.Event()

    async def wait_for_failure(stream):
        with pytest.raises(NetError):
            await stream.receive_some(1)
        failed.set()

    other.set_handler(ECHO, wait_for_failure)
    stream = await one.open_stream(other.peer_id, ECHO)
    await one.disconnect(other.peer_id)
    with pytest.raises(NetError):
        await stream.receive_some(1)
    await failed.wait()
    assert list(one.connected_peers()) == []
    await until(lambda: not other.connected_peers())
    await one.disconnect(other.peer_id)


async def test_a_stopped_transport_is_seen_by_its_peers(build, start):
    one, other = await start(), build()
    other.set_handler(ECHO, echo)
    async with trio.open_nursery() as nursery:
        await nursery.start(other.run)
        await one.dial(other.addresses()[0])
        stream = await one.open_stream(other.peer_id, ECHO)
        nursery.cancel_scope.cancel()
    with pytest.raises(NetError):
        await stream.receive_some(1)
    await until(lambda: not one.connected_peers())


async def test_a_transport_runs_again_after_its_peer_came_back(build, start):
    one, other = await start(), await start()
    other.set_handler(ECHO, echo)
    for _ in range(50):
        await one.dial(other.addresses()[0])
        stream = await one.open_stream(other.peer_id, ECHO)
        await stream.send_all(b"x")
        assert await receive_exactly(stream, 1) == b"x"
        await one.disconnect(other.peer_id)
    await until(lambda: not other.connected_peers())
    assert not other.faults


async def test_nothing_is_kept_for_connections_that_are_gone(start, nursery):
    """Tasks of fifty connections, inbound and outbound, end with them."""
    one, other = await start(), await start()
    before = len(tasks_below(nursery))
    for _ in range(50):
        await one.dial(other.addresses()[0])
        await one.disconnect(other.peer_id)
    await until(lambda: len(tasks_below(nursery)) <= before)


def tasks_below(nursery) -> list:
    tasks = list(nursery.child_tasks)
    return tasks + [t for task in tasks for child in task.child_nurseries for t in tasks_below(child)]


# Counters


async def test_traffic_is_payload_in_and_out(pair):
    one, other = pair
    other.set_handler(ECHO, echo)
    stream = await one.open_stream(other.peer_id, ECHO)
    await stream.send_all(bytes(1000))
    await stream.send_eof()
    assert len(await receive_all(stream)) == 1000
    for end in (one, other):
        assert (end.traffic.bytes_in, end.traffic.bytes_out) == (1000, 1000)
