"""Links over the real transport: a small mesh in which everybody dials everybody at once."""

import random

import trio

from peer.core.messages import Hello, Seen
from peer.net.libp2p_host import Libp2pTransport
from peer.net.link import LinkSettings
from peer.net.links import Links, LinkUp, Received
from tests.waiting import until

NUM_PEERS = 4
GUARD_S = 20
AT_ONCE = LinkSettings(dial_backoff_s=1e-6)  # so that both ends of each pair dial at the same moment


class Member:
    def __init__(self, i: int):
        self.transport = Libp2pTransport(bytes([i + 1]) * 32, ["/ip4/127.0.0.1/tcp/0"])
        self.links = Links(self.transport, Hello(bytes(32)), random.Random(i), AT_ONCE)
        self.story: list[str] = []
        self.heard: list[object] = []

    async def listen(self):
        async for event in self.links.events:
            if isinstance(event, Received):
                self.heard.append(event.message)
            else:
                self.story.append("up" if isinstance(event, LinkUp) else f"down {event.reason}")


async def test_everybody_dials_everybody_and_each_pair_has_one_link(nursery):
    members = [Member(i) for i in range(NUM_PEERS)]
    for member in members:
        await nursery.start(member.transport.run)
        await nursery.start(member.links.run)
        nursery.start_soon(member.listen)
    everybody = {member.transport.peer_id: member.transport.addresses() for member in members}
    for member in members:
        member.links.set_wanted(everybody)
    with trio.fail_after(GUARD_S):
        await until(lambda: all(len(member.links.peers()) == NUM_PEERS - 1 for member in members))
        for member in members:
            for peer in member.links.peers():
                assert member.links.send(peer, Seen(1))
        await until(lambda: all(len(member.heard) >= NUM_PEERS - 1 for member in members))
    for member in members:
        assert member.story == ["up"] * (NUM_PEERS - 1)
        assert member.heard == [Seen(1)] * (NUM_PEERS - 1)
        assert not member.links.faults
        assert not member.transport.faults
