"""What only the real transport has: sockets, interfaces, tables that strangers could fill."""

import gc
import socket

import pytest
import trio
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from peer.errors import ConfigError, NetError
from peer.identity import Identity
from peer.net.libp2p_fixes.identify import AGENT
from peer.net.libp2p_fixes.tcp import multiaddr_of, socket_address
from peer.net.libp2p_host import Libp2pTransport
from peer.net.limits import Limits
from tests.waiting import until

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
GUARD_S = 20


def new_transport(seed: int, *listen: str, limits: Limits | None = None) -> Libp2pTransport:
    return Libp2pTransport(seed.to_bytes(32, "big"), listen or [LOOPBACK], limits)


def test_the_peer_id_is_that_of_the_key():
    seed = bytes(range(32))
    assert Libp2pTransport(seed, []).peer_id == Identity(seed).peer_id


async def test_an_unspecified_address_is_published_as_those_of_the_interfaces(nursery):
    transport = new_transport(1, "/ip4/0.0.0.0/tcp/0")
    await nursery.start(transport.run)
    addresses = transport.addresses()
    assert not any("/0.0.0.0/" in address for address in addresses)
    assert addresses[-1].startswith("/ip4/127.0.0.1/tcp/")
    other = new_transport(2)
    await nursery.start(other.run)
    assert await other.dial(addresses[0]) == transport.peer_id


async def test_names_are_resolved_by_the_system(nursery):
    transport, other = new_transport(1), new_transport(2)
    await nursery.start(transport.run)
    await nursery.start(other.run)
    assert await other.dial(transport.addresses()[0].replace("/ip4/127.0.0.1", "/dns4/localhost")) == transport.peer_id


async def test_a_transport_that_does_not_listen_dials(nursery):
    listening, silent = new_transport(1), Libp2pTransport(bytes(31) + b"\x02", [])
    await nursery.start(listening.run)
    await nursery.start(silent.run)
    assert list(silent.addresses()) == []
    assert await silent.dial(listening.addresses()[0]) == listening.peer_id


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("/ip4/203.0.113.77/tcp/0", "203.0.113.77"),
        ("/ip4/127.0.0.1/udp/0", "only"),
        ("/ip4/127.0.0.1/tcp/0/ws", "only"),
        ("nonsense", "nonsense"),
    ],
)
async def test_an_address_that_cannot_be_had_is_named(listen, why):
    with pytest.raises(ConfigError, match=why):
        await new_transport(1, LOOPBACK, listen).run()


async def test_a_port_in_use_is_named_and_nothing_stays_bound():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"{address}.*in use"):
            await new_transport(1, LOOPBACK, address).run()
    gc.collect()  # an unclosed listener would warn here


async def test_a_port_is_free_again_after_a_stop(nursery):
    transport, other = new_transport(1), new_transport(2)
    await nursery.start(other.run)
    async with trio.open_nursery() as own:
        await own.start(transport.run)
        address = transport.addresses()[0]
        await other.dial(address)
        own.cancel_scope.cancel()
    again = new_transport(1, address.rpartition("/p2p/")[0])
    await nursery.start(again.run)
    await until(lambda: not other.connected_peers())
    assert await other.dial(address) == again.peer_id


async def test_identify_tells_who_we_are(nursery):
    transport, other = new_transport(1), new_transport(2)
    await nursery.start(transport.run)
    await nursery.start(other.run)
    await transport.dial(other.addresses()[0])
    await until(lambda: list(transport._host.agents.values()) == [AGENT])
    await until(lambda: list(other._host.agents.values()) == [AGENT])
    assert AGENT.startswith("murmuration/")


async def test_strangers_who_come_and_go_leave_nothing_behind(nursery):
    transport = new_transport(1)
    await nursery.start(transport.run)
    for seed in range(2, 22):
        async with trio.open_nursery() as own:
            stranger = new_transport(seed)
            await own.start(stranger.run)
            await stranger.dial(transport.addresses()[0])
            await until(lambda: len(transport._host.agents) == 1)
            own.cancel_scope.cancel()
        await until(lambda: not transport.connected_peers())
    host, swarm = transport._host, transport._swarm
    await until(lambda: not host._identify_inflight and not host.agents and not swarm.connections)
    assert host._identified_peers == {}
    assert [str(peer_id) for peer_id in swarm.peerstore.peer_data_map] == [transport.peer_id]
    assert swarm.peerstore.peer_record_map == {}
    assert swarm.tag_store.get_all_peers() == []
    assert swarm._handshakes == {}


async def test_connections_per_peer_are_bounded(nursery):
    """A peer that dials again and again, as after crashes that we have not noticed: the oldest go."""
    transport, other = new_transport(1, limits=Limits(max_connections_per_peer=2)), new_transport(2)
    await nursery.start(transport.run)
    await nursery.start(other.run)
    place = Multiaddr(transport.addresses()[0].rpartition("/p2p/")[0])
    for _ in range(5):
        raw = await other._swarm._tcp.dial(place)
        await other._swarm.upgrade_outbound_raw_conn(raw, None)
    await until(lambda: len(transport._swarm.all_connections()) == 2)
    transport.set_handler("/test/1", lambda stream: stream.send_all(b"alive"))
    await until(lambda: len(other._swarm.all_connections()) == 2)
    stream = await other.open_stream(transport.peer_id, "/test/1")
    assert await stream.receive_some(5) == b"alive"


async def test_a_full_table_refuses_our_own_dials(nursery):
    transport = new_transport(1, limits=Limits(max_connections=1))
    others = [new_transport(2), new_transport(3)]
    for part in (transport, *others):
        await nursery.start(part.run)
    await transport.dial(others[0].addresses()[0])
    with pytest.raises(NetError, match="full"):
        await transport.dial(others[1].addresses()[0])


async def test_dials_of_one_peer_at_once_make_one_connection(nursery):
    transport, other = new_transport(1), new_transport(2)
    await nursery.start(transport.run)
    await nursery.start(other.run)
    async with trio.open_nursery() as dialing:
        for _ in range(5):
            dialing.start_soon(transport.dial, other.addresses()[0])
    assert len(transport._swarm.all_connections()) == 1


async def test_a_dial_that_nobody_answers_ends(nursery):
    transport = new_transport(1, limits=Limits(dial_s=0.2))
    await nursery.start(transport.run)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    with trio.fail_after(GUARD_S), pytest.raises(NetError, match=r"no answer within 0\.2 s"):
        await transport.dial(f"/ip4/127.0.0.1/tcp/{port}")
    await listener.aclose()


def test_socket_addresses():
    assert socket_address(Multiaddr("/ip4/1.2.3.4/tcp/5")) == ("1.2.3.4", 5)
    assert socket_address(Multiaddr("/ip6/::1/tcp/5")) == ("::1", 5)
    assert socket_address(Multiaddr("/dns4/example.org/tcp/5")) == ("example.org", 5)
    for other in ("/ip4/1.2.3.4", "/ip4/1.2.3.4/udp/5", "/ip4/1.2.3.4/tcp/5/ws"):
        with pytest.raises(OpenConnectionError):
            socket_address(Multiaddr(other))


def test_mapped_addresses_are_written_as_ipv4():
    assert str(multiaddr_of("::ffff:1.2.3.4", 5)) == "/ip4/1.2.3.4/tcp/5"
    assert str(multiaddr_of("fe80::1%eth0", 5)) == "/ip6/fe80::1/tcp/5"
