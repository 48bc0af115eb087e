"""Links in virtual time: who is linked to whom, what the owner hears, and what a remote cannot do."""

import itertools
from contextlib import AsyncExitStack

import pytest
import trio

from peer.core.messages import Goodbye, Hello, Records, Seen, Want
from peer.errors import NetError
from peer.net.framing import MessageReader, encode_frame, send_message
from peer.net.link import LINK_PROTOCOL, LinkSettings
from peer.net.links import LinkUp
from peer.net.memory import MemoryNetwork

from .swarm import OTHER_SWARM, SWARM, members


@pytest.fixture
def network():
    return MemoryNetwork()


async def run_all(stack: AsyncExitStack, *running):
    for member in running:
        await stack.enter_async_context(member.running())


async def test_a_wanted_peer_is_linked_and_messages_flow_both_ways(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await b.until(lambda: bool(b.story))
        assert a.links.peers() == [b.peer_id]
        assert a.links.send(b.peer_id, Seen(1))
        assert b.links.send(a.peer_id, Seen(2))
        await a.until(lambda: a.received == [Seen(2)])
        await b.until(lambda: b.received == [Seen(1)])
    assert a.story == ["up b", "down b (goodbye:leaving)"]
    assert b.story == ["up a"], "who leaves knows"


async def test_send_to_a_stranger_is_refused(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running():
        assert not a.links.send(b.peer_id, Seen(1))


async def test_both_want_each_other_and_get_one_link(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        b.links.set_wanted({a.peer_id: [a.address]})
        await trio.sleep(100)
        assert (a.story, b.story) == (["up b"], ["up a"])


@pytest.mark.parametrize("first", [0, 1])
async def test_links_opened_from_both_ends_at_once_become_one(autojump_clock, network, first):
    """Whoever is first: each owner hears of one link, and nothing that was said on either is lost."""
    a, b = members(network, 2)
    async with a.running(), b.running():
        await a.transport.dial(b.address)
        order = [(a, b), (b, a)] if first == 0 else [(b, a), (a, b)]
        async with trio.open_nursery() as nursery:
            for here, there in order:
                nursery.start_soon(here.links.open_link, there.peer_id)
        for i in range(3):
            assert a.links.send(b.peer_id, Seen(i))
            assert b.links.send(a.peer_id, Seen(i))
        await trio.sleep(100)
        assert (a.story, b.story) == (["up b"], ["up a"])
        assert a.received == b.received == [Seen(0), Seen(1), Seen(2)]
        assert len(a.transport.connections[b.peer_id].streams) == 1


async def test_a_broken_link_comes_back(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(100)
        network.drop("a", "b")
        await trio.sleep(100)
        assert a.story == ["up b", "down b (broken)", "up b"]
        assert b.story == ["up a", "down a (broken)", "up a"]


async def test_dials_back_off_while_a_peer_is_away_and_find_it_again(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(dial_backoff_s=1, dial_backoff_max_s=64))
    dials = []
    dial = a.transport.dial

    async def count(address):
        dials.append(trio.current_time())
        return await dial(address)

    a.transport.dial = count
    async with a.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(1000)
        assert 15 < len(dials) < 40, "1, 2, 4, .. 64 seconds, each with up to half of it taken off"
        gaps = [later - earlier for earlier, later in itertools.pairwise(dials)]
        assert all(gap <= 64 for gap in gaps)
        assert max(gaps) > 32
        async with b.running():
            await trio.sleep(64)
            assert a.story == ["up b"]


async def test_new_addresses_are_tried_at_once(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(dial_backoff_s=500, dial_backoff_max_s=1000))
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: ["/memory/nowhere"]})
        await trio.sleep(1)
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(1)
        assert a.story == ["up b"]


async def test_a_peer_no_longer_wanted_is_not_dialed_again(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(10)
        a.links.set_wanted({})
        network.drop("a", "b")
        await trio.sleep(1000)
        assert a.story == ["up b", "down b (broken)"]


async def test_bootstrap_without_a_peer_id_is_dialed_until_found_and_again_when_lonely(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running():
        a.links.add_bootstrap(["/memory/b", a.address])
        await trio.sleep(100)
        async with b.running():
            await trio.sleep(100)
            assert a.story == ["up b"]
            network.drop("a", "b")
            await trio.sleep(100)
            assert a.story == ["up b", "down b (broken)", "up b"]


async def test_a_vanished_peer_is_noticed_by_its_silence(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(keepalive_s=10))
    async with a.running(), trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)
        b.transport.set_handler(LINK_PROTOCOL, greet_and_freeze)
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(29)
        assert a.story == ["up b"]
        await trio.sleep(2)
        assert a.story[1] == "down b (silent)"
        nursery.cancel_scope.cancel()


async def greet_and_freeze(stream):
    await send_message(stream, Hello(SWARM))
    await trio.sleep_forever()


async def test_idle_links_live_by_pings(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(keepalive_s=10))
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(10_000)
        assert (a.story, b.story) == (["up b"], ["up a"])
        assert a.received == b.received == []


async def test_another_swarm_is_refused_counted_and_left_alone(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(avoid_s=3600), b=OTHER_SWARM)
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(3500)
        assert a.links.faults == b.links.faults == {"wrong_swarm": 1}
        await trio.sleep(200)
        assert a.links.faults == {"wrong_swarm": 2}
        assert a.story == b.story == []


async def test_another_version_is_refused(autojump_clock, network):
    a, b = members(network, 2)
    b.links._hello = Hello(SWARM, version=2)
    async with a.running(), b.running():
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(100)
        assert a.links.faults == {"wrong_version": 1}
        assert a.story == []


async def test_a_dropped_peer_is_refused_until_its_ban_ends(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(dial_backoff_max_s=5))
    async with a.running(), b.running():
        b.links.set_wanted({a.peer_id: [a.address]})
        await trio.sleep(10)
        await a.links.drop(b.peer_id, "wrong_hash", ban_s=100)
        assert a.links.is_banned(b.peer_id)
        await trio.sleep(50)
        assert a.story == ["up b", "down b (wrong_hash)"]
        await trio.sleep(100)
        assert a.story == ["up b", "down b (wrong_hash)", "up b"]
        assert not a.links.is_banned(b.peer_id)


async def test_links_are_bounded_and_wanted_peers_come_first(autojump_clock, network):
    a, b, c, d = members(network, 4, LinkSettings(max_links=2))
    async with AsyncExitStack() as stack:
        await run_all(stack, a, b, c, d)
        for other in (b, c, d):
            other.links.set_wanted({a.peer_id: [a.address]})
            await trio.sleep(5)
        assert a.links.peers() == sorted([b.peer_id, c.peer_id])
        assert d.story == []
        a.links.set_wanted({d.peer_id: [d.address]})
        await trio.sleep(0.4)
        assert d.peer_id in a.links.peers()
        assert len(a.links.peers()) == 2
        assert "down b (full)" in a.story


async def test_a_full_queue_refuses_and_recovers(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)
        b.transport.set_handler(LINK_PROTOCOL, greet_and_freeze)
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(1)
        sent = 0
        while a.links.send(b.peer_id, Seen(sent)):
            sent += 1
        assert sent == 64
        await trio.sleep(1)
        assert a.links.send(b.peer_id, Seen(0)), "the stream has taken what waited"
        nursery.cancel_scope.cancel()


async def test_a_flooding_peer_waits_and_others_do_not(autojump_clock, network):
    """The owner does not read events: nothing grows, and when it reads again both peers are heard."""
    a, b, c = members(network, 3, LinkSettings(max_events=4, keepalive_s=1000))
    async with AsyncExitStack() as stack:
        await run_all(stack, a, b, c)
        for other in (b, c):
            other.links.set_wanted({a.peer_id: [a.address]})
        await trio.sleep(5)
        a.is_reading = False
        sent = 0
        for _ in range(2000):
            for _ in range(60):
                sent += b.links.send(a.peer_id, Seen(2**52))
            await trio.sleep(0.01)
        assert sent < 30_000, "window and queues are bounded"
        assert c.links.send(a.peer_id, Seen(7))
        a.is_reading = True
        await trio.sleep(5)
        assert Seen(7) in a.received
        assert len(a.received) == sent + 1


async def test_leaving_says_goodbye(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running():
        async with b.running():
            a.links.set_wanted({b.peer_id: [b.address]})
            await trio.sleep(10)
            assert b.links.send(a.peer_id, Seen(1)), "queued, and sent before the farewell"
        await trio.sleep(0.01)
        assert a.story[1] == "down b (goodbye:leaving)"
        assert a.received == [Seen(1)]


async def test_leaving_is_bounded_when_nobody_listens(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(goodbye_s=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)
        b.transport.set_handler(LINK_PROTOCOL, greet_and_freeze)
        async with a.running():
            a.links.set_wanted({b.peer_id: [b.address]})
            await trio.sleep(5)
            before = trio.current_time()
        assert trio.current_time() - before <= 1
        nursery.cancel_scope.cancel()


async def test_a_peer_that_restarts_is_linked_anew(autojump_clock, network):
    """Its old end is gone without a word; the new link replaces the old one, in this order for the owner."""
    a, b = members(network, 2, LinkSettings(keepalive_s=1000))
    async with a.running(), trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)
        await b.transport.dial(a.address)
        for _ in range(2):
            stream = await b.transport.open_stream(a.peer_id, LINK_PROTOCOL)
            await send_message(stream, Hello(SWARM))
            await trio.sleep(1)
        assert a.story == ["up b", "down b (replaced)", "up b"]
        nursery.cancel_scope.cancel()


# Rules broken by a remote that speaks to the link protocol directly


async def attack(network, *data: bytes, settings: LinkSettings | None = None):
    """Send raw bytes on a link stream of a; returns a, and what came back."""
    a, b = members(network, 2, settings)
    async with a.running(), trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)
        await b.transport.dial(a.address)
        stream = await b.transport.open_stream(a.peer_id, LINK_PROTOCOL)
        with trio.move_on_after(200):
            try:
                for piece in data:
                    await stream.send_all(piece)
                while await stream.receive_some(1000):
                    pass
            except NetError:
                pass
            await trio.sleep(100)
        assert list(b.transport.connected_peers()) == []
        nursery.cancel_scope.cancel()
    return a


HELLO = encode_frame(Hello(SWARM))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ([(8 << 30).to_bytes(5, "big")[1:]], "bad_message"),
        ([b"\xff\xff\xff\xff"], "frame_too_long"),
        ([HELLO, b"\xff\xff\xff\xff"], "frame_too_long"),
        ([HELLO, b"\x00\x00\x00\x04abcd"], "bad_message"),
        ([HELLO, encode_frame(Want(1, bytes(32)))], "bad_message"),
        ([HELLO, HELLO], "bad_message"),
        ([encode_frame(Seen(1))], "no_hello"),
        ([encode_frame(Hello(OTHER_SWARM))], "wrong_swarm"),
    ],
)
async def test_a_broken_rule_costs_the_connection_and_is_counted_once(autojump_clock, network, data, fault):
    a = await attack(network, *data)
    assert a.links.faults == {fault: 1}


async def test_a_banned_peer_cannot_make_a_link(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), b.running():
        a.links.ban(b.peer_id, 1000)
        b.links.set_wanted({a.peer_id: [a.address]})
        await trio.sleep(500)
        assert a.story == []
        assert a.links.faults == {}


async def test_a_goodbye_instead_of_hello_is_no_fault(autojump_clock, network):
    a, b = members(network, 2)
    async with a.running(), trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)

        async def say_goodbye(stream):
            await send_message(stream, Goodbye("full"))
            await stream.aclose()

        b.transport.set_handler(LINK_PROTOCOL, say_goodbye)
        a.links.set_wanted({b.peer_id: [b.address]})
        await trio.sleep(100)
        assert a.links.faults == {}
        assert a.story == []
        nursery.cancel_scope.cancel()


async def test_silence_before_hello_costs_the_stream(autojump_clock, network):
    a, b = members(network, 2, LinkSettings(handshake_s=5))
    async with a.running(), trio.open_nursery() as nursery:
        await nursery.start(b.transport.run)
        await b.transport.dial(a.address)
        stream = await b.transport.open_stream(a.peer_id, LINK_PROTOCOL)
        reader = MessageReader(stream)
        with pytest.raises(NetError):
            await reader.receive()
        assert trio.current_time() == pytest.approx(5, abs=1)
        await trio.sleep(1)
        assert a.links.faults == {"stalled": 1}
        nursery.cancel_scope.cancel()


async def test_events_are_typed(autojump_clock, network):
    assert LinkUp("p", True) != LinkUp("p", False)
    assert Records(()) == Records(())
