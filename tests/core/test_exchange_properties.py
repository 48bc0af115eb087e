"""The exchange core under loss, duplication, reordering, broken links, crashes and graphs that change and have
directions, in every order hypothesis finds.

Whatever the core keeps count of is counted anew after every step, from nothing but feeds, inbox and links.
"""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peer.core.exchange import Phase
from peer.core.feed import FeedState
from peer.core.messages import PeerId
from peer.core.timers import ROOM
from tests.core.harness import Net, Peer, core

MAX_REQUESTS = 2
DEADLINE_S = 8.0


class HostileNetwork(RuleBasedStateMachine):
    """Two to five cores; the network may do to messages and links whatever a network can do."""

    @initialize(num_peers=st.integers(2, 5), quorum=st.sampled_from([0.0, 0.5, 1.0]))
    def start(self, num_peers: int, quorum: float) -> None:
        self.knobs = {
            "quorum": quorum,
            "deadline_s": DEADLINE_S,
            "max_requests": MAX_REQUESTS,
            "max_age_rounds": 2,
            "request_timeout_s": 5.0,
            "max_attempts": 3,
        }
        self.net = Net("abcde"[:num_peers], **self.knobs)
        self.cuts: set[tuple[str, str]] = set()
        self.highest_round = dict.fromkeys(self.net.peers, 0)
        self.gathering_since = dict.fromkeys(self.net.peers, 0.0)

    @rule(who=st.integers(0, 4))
    def train(self, who: int) -> None:
        peer = self._peer(who)
        if peer.core.phase is Phase.TRAINING:
            self.gathering_since[peer.name] = self.net.now
        peer.train(self.net.now)
        self.net.collect()

    @precondition(lambda self: self.net.flying)
    @rule(count=st.integers(1, 20))
    def deliver_in_order(self, count: int) -> None:
        """Have some exchanges come to their end: what goes wrong later needs something that went well before."""
        for _ in range(count):
            if self.net.flying:
                self.net.deliver()

    @precondition(lambda self: self.net.flying)
    @rule(place=st.integers(0, 10**6))
    def deliver_any(self, place: int) -> None:
        self.net.deliver(place % len(self.net.flying))

    @precondition(lambda self: self.net.flying)
    @rule(place=st.integers(0, 10**6))
    def duplicate(self, place: int) -> None:
        if len(self.net.flying) < 200:
            self.net.deliver(place % len(self.net.flying), keep=True)

    @precondition(lambda self: self.net.flying)
    @rule(place=st.integers(0, 10**6))
    def drop(self, place: int) -> None:
        self.net.flying.pop(place % len(self.net.flying))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.net.advance(seconds)

    @rule(one=st.integers(0, 4), other=st.integers(0, 4))
    def cut_or_mend(self, one: int, other: int) -> None:
        a, b = sorted((self._peer(one).name, self._peer(other).name))
        if a == b:
            return
        if (a, b) in self.cuts:
            self.cuts.discard((a, b))
            self.net.mend(a, b)
        else:
            self.cuts.add((a, b))
            self.net.cut(a, b)
        self.net.collect()

    @rule(who=st.integers(0, 4), without=st.integers(0, 4))
    def change_neighbours(self, who: int, without: int) -> None:
        peer = self._peer(who)
        near = {name for name in self.net.peers if name not in (peer.name, self._peer(without).name)}
        peer.core.set_neighbours(near, self.net.now)
        self.net.collect()

    @rule(who=st.integers(0, 4), senders=st.sets(st.integers(0, 4)), receivers=st.sets(st.integers(0, 4)))
    def direct(self, who: int, senders: set[int], receivers: set[int]) -> None:
        """Have one graph for what comes and another one for what goes."""
        peer = self._peer(who)
        taken, told = ({self._peer(i).name for i in chosen} - {peer.name} for chosen in (senders, receivers))
        peer.core.set_neighbours(taken, self.net.now, receivers=told)
        assert peer.core.neighbours == tuple(sorted(taken))
        assert peer.core.receivers == tuple(sorted(told))
        self.net.collect()

    @rule(who=st.integers(0, 4))
    def crash_and_return(self, who: int) -> None:
        """Lose everything but the incarnation: the seq goes on above all that were used. Connections die with it."""
        old = self._peer(who)
        self.net.flying = [flight for flight in self.net.flying if old.name not in flight[:2]]
        others = [name for name in self.net.peers if name != old.name]
        for other in others:
            self.net.cut(old.name, other)
        new = Peer(old.name, core(seed=old.seq + 77, **self.knobs), seq=(old.seq // 1000 + 1) * 1000)
        self.net.peers[old.name] = new
        self.highest_round[old.name] = 0
        for other in others:
            if tuple(sorted((old.name, other))) not in self.cuts:
                self.net.mend(old.name, other)
        new.core.set_neighbours(others, self.net.now)
        self.net.collect()

    @invariant()
    def no_honest_peer_is_called_a_liar(self) -> None:
        for peer in self.net.peers.values():
            assert not peer.misbehaved

    @invariant()
    def each_seq_is_admitted_in_growing_order_while_its_author_stays_a_neighbour(self) -> None:
        for peer in self.net.peers.values():
            for feed in peer.core._feeds.values():
                assert feed.current is None or feed.current.seq > feed.taken_seq
            newest: dict[PeerId, int] = {}
            for author, seq in peer.admitted:
                assert seq >= newest.get(author, -1)
                newest[author] = seq

    @invariant()
    def requests_under_way_and_files_are_bounded(self) -> None:
        for peer in self.net.peers.values():
            feeds = peer.core._feeds.values()
            assert sum(feed.state is FeedState.WANTED for feed in feeds) <= MAX_REQUESTS
            assert len(peer.files) <= len(peer.core.neighbours)

    @invariant()
    def rounds_only_grow_and_end_by_their_deadline(self) -> None:
        for name, peer in self.net.peers.items():
            assert peer.core.round >= self.highest_round[name]
            self.highest_round[name] = peer.core.round
            if peer.core.phase is Phase.GATHERING:
                timer = peer.core.get_timer()
                assert timer is not None
                assert timer <= self.gathering_since[name] + DEADLINE_S

    @invariant()
    def what_is_mixed_comes_from_the_senders_of_the_moment(self) -> None:
        for peer in self.net.peers.values():
            core = peer.core
            assert set(core._inbox.entries) <= set(core.neighbours) == set(core._feeds)

    @invariant()
    def counts_are_what_counting_anew_gives(self) -> None:
        for peer in self.net.peers.values():
            core = peer.core
            feeds = core._feeds
            linked = [name for name in core.neighbours if name in core._linked]
            fresh = [name for name in linked if (e := core.newest_of(name)) and e.manifest.round >= core.round]
            assert (core._num_linked, core._num_fresh) == (len(linked), len(fresh))
            met = bool(linked) and len(fresh) >= math.ceil(self.knobs["quorum"] * len(linked))
            assert met == (core._num_fresh >= core._num_needed)
            assert core._num_wanted == sum(feed.state is FeedState.WANTED for feed in feeds.values())
            queued = [name for name, feed in feeds.items() if feed.state is FeedState.QUEUED]
            assert sorted(core._queued or ()) == sorted(queued)
            assert not queued or core._num_wanted == MAX_REQUESTS, "nobody queues while a request may be made"

    @invariant()
    def timer_is_the_earliest_of_all(self) -> None:
        for peer in self.net.peers.values():
            core = peer.core
            timed = [*core._feeds.values(), *core._offers._receivers.values()]
            timers = [one.timer for one in timed if one.timer is not None]
            if core.phase is Phase.GATHERING:
                assert core._deadline is not None
                timers.append(core._deadline)
            assert core.get_timer() == min(timers, default=None)
            assert len(core._timers.heap) <= max(ROOM, 2 * len(timed) + 1), "stale timers are bounded"

    @invariant()
    def timers_lie_in_the_future_or_are_due_once(self) -> None:
        for peer in self.net.peers.values():
            peer.core.handle_timer(self.net.now)
        self.net.collect()
        for peer in self.net.peers.values():
            timer = peer.core.get_timer()
            assert timer is None or timer > self.net.now, "a timer that stays due would spin the shell"

    def teardown(self) -> None:
        """Once the network is sound again, everybody hears everybody within a round."""
        if not hasattr(self, "net"):
            return
        for a, b in sorted(self.cuts):
            self.net.mend(a, b)
        for name, peer in self.net.peers.items():
            peer.core.set_neighbours([other for other in self.net.peers if other != name], self.net.now)
        for _ in range(50):
            self.net.advance(1.0)
            self.net.train_all()
            self.net.run()
        for peer in self.net.peers.values():
            assert peer.mixes[-1].met_quorum
            if self.knobs["quorum"] == 1.0:
                assert len(peer.mixes[-1].slots) == len(self.net.peers) - 1

    def _peer(self, who: int) -> Peer:
        names = sorted(self.net.peers)
        return self.net.peers[names[who % len(names)]]


HostileNetwork.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, derandomize=True)
TestHostileNetwork = HostileNetwork.TestCase
