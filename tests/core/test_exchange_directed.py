"""Exchange along directed edges: who is told, whose is taken, and graphs that are another one in every round."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.exchange import ExchangeCore, Phase
from peer.core.exchange_events import ModelDropped, RoundReady
from peer.core.messages import Manifest, Model, Offer, PeerId, Refuse, Seen, Want
from tests.core.harness import Net, Peer, answer_to, core, events, manifest

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")
Graph = Callable[[int], tuple[list[int], list[int]]]  # round -> senders, receivers, as distances on a ring


def linked(*peers: PeerId, **knobs: object) -> ExchangeCore:
    """Return a core that has links and nobody to exchange with yet."""
    one = core(**knobs)
    for peer in peers:
        one.link_up(peer, 0.0)
    return one


def admit(one: ExchangeCore, author: PeerId, found: Manifest, reason: str = "") -> None:
    """Let a snapshot be offered, asked for, answered and admitted (or refused)."""
    one.receive_message(Offer(found), author, 0.0)
    (want,) = [message for _, message in one.messages_to_send(0.0) if isinstance(message, Want)]
    one.receive_message(answer_to(want, found), author, 0.0)
    one.checked(author, found, reason, 0.0)


def sent(one: ExchangeCore, now: float = 0.0) -> list[tuple[PeerId, type]]:
    return [(to, type(message)) for to, message in one.messages_to_send(now)]


def test_receivers_are_told_and_senders_are_waited_for() -> None:
    one = linked(A, B)
    one.set_neighbours([A], 0.0, receivers=[B])
    one.publish(manifest("me"), 0.0)
    assert sent(one) == [(B, Offer)]
    admit(one, A, manifest("a"))
    assert [event.num_expected for event in events(one) if isinstance(event, RoundReady)] == [1]


def test_peer_that_is_only_a_receiver_is_not_taken_from() -> None:
    one = linked(A, B)
    one.set_neighbours([A], 0.0, receivers=[B])
    one.receive_message(Offer(manifest("b")), B, 0.0)
    assert sent(one) == [(B, Seen)]
    assert one.linked_neighbours() == (A,)


def test_without_receivers_the_edges_have_no_direction() -> None:
    one = linked(A, B)
    one.set_neighbours([A, B], 0.0)
    assert one.neighbours == one.receivers == (A, B)
    one.set_neighbours([A], 0.0, receivers=[])
    assert (one.neighbours, one.receivers) == ((A,), ())
    one.set_neighbours([B], 0.0)
    assert one.neighbours == one.receivers == (B,)


def test_peer_without_senders_waits_for_the_deadline() -> None:
    one = linked(A, deadline_s=3.0)
    one.set_neighbours([], 0.0, receivers=[A])
    one.publish(manifest("me"), 0.0)
    assert sent(one) == [(A, Offer)]
    assert one.next_event() is None
    one.handle_timer(3.0)
    assert events(one) == [RoundReady(0, 1, (), 0, False)]


def test_snapshot_of_a_sender_that_is_none_any_more_is_not_mixed() -> None:
    one = linked(A, B, deadline_s=1.0)
    one.set_neighbours([A, B], 0.0, receivers=[])
    one.publish(manifest("me"), 0.0)
    admit(one, A, manifest("a"))
    events(one)
    one.set_neighbours([B], 0.0, receivers=[])
    assert events(one) == [ModelDropped(manifest("a"))]
    one.handle_timer(1.0)
    (ready,) = events(one)
    assert isinstance(ready, RoundReady)
    assert ready.slots == ()


def test_offer_that_is_early_is_taken_when_its_author_becomes_a_sender() -> None:
    one = linked(A, B)
    one.set_neighbours([A], 0.0, receivers=[])
    one.receive_message(Offer(manifest("b", round=1)), B, 0.0)
    assert sent(one) == [(B, Seen)]
    one.set_neighbours([B], 0.0, receivers=[])
    assert sent(one) == [(B, Want)]


def test_sender_that_returns_is_asked_for_the_snapshot_of_a_round_that_is_still_to_come() -> None:
    one = linked(A, B)
    one.set_neighbours([A], 0.0, receivers=[])
    admit(one, A, manifest("a", seq=3, round=2))
    one.set_neighbours([B], 0.0, receivers=[])
    assert events(one)[-1] == ModelDropped(manifest("a", seq=3, round=2))
    one.set_neighbours([A], 0.0, receivers=[])
    assert sent(one) == [(A, Want)]


@pytest.mark.parametrize("reason", ["not_finite", ""])
def test_sender_that_returns_is_not_asked_for_what_was_refused_or_is_of_a_round_that_is_over(reason: str) -> None:
    one = core(first_round=5)
    one.link_up(A, 0.0)
    one.set_neighbours([A], 0.0, receivers=[])
    admit(one, A, manifest("a", round=5 if reason else 4), reason)
    one.set_neighbours([], 0.0, receivers=[])
    one.set_neighbours([A], 0.0, receivers=[])
    assert sent(one) == []


def test_replay_and_equivocation_are_known_of_senders_that_come_and_go() -> None:
    one = linked(A)
    one.set_neighbours([A], 0.0, receivers=[])
    admit(one, A, manifest("a", seq=2))
    one.set_neighbours([], 0.0, receivers=[])
    for senders in ([], [A]):
        one.set_neighbours(senders, 0.0, receivers=[])
        one.messages_to_send(0.0)
        before = one.counters["offers_replayed"]
        one.receive_message(Offer(manifest("a", seq=1)), A, 0.0)
        assert one.counters["offers_replayed"] == before + 1
        assert sent(one) == [(A, Seen)]
        events(one)
        one.receive_message(Offer(manifest("a", seq=2, sha256=b"!" * 32)), A, 0.0)
        assert [getattr(event, "kind", "") for event in events(one)] == ["equivocation"]
        one.messages_to_send(0.0)


def test_late_answer_of_a_sender_that_went_and_came_back_is_no_misbehaviour() -> None:
    one = linked(A)
    one.set_neighbours([A], 0.0, receivers=[])
    one.receive_message(Offer(manifest("a")), A, 0.0)
    (want,) = [message for _, message in one.messages_to_send(0.0) if isinstance(message, Want)]
    one.set_neighbours([], 0.0, receivers=[])
    one.set_neighbours([A], 0.0, receivers=[])
    (again,) = [message for _, message in one.messages_to_send(0.0) if isinstance(message, Want)]
    assert again.request_id == want.request_id + 1
    one.receive_message(answer_to(want, manifest("a")), A, 0.0)
    assert events(one) == []
    assert one.counters["models_late"] == 1


def test_receiver_of_the_next_round_is_not_told_of_the_last_one() -> None:
    one = linked(A, B, deadline_s=1.0)
    one.set_neighbours([], 0.0, receivers=[A])
    one.publish(manifest("me", seq=1), 0.0)
    assert sent(one) == [(A, Offer)]
    one.handle_timer(1.0)
    one.mixed()
    assert sent(one, 1.0) == [(A, Offer)], "not seen yet, so told again"
    one.set_neighbours([], 1.0, receivers=[B])
    one.link_up(B, 1.0)
    assert sent(one, 1.0) == []
    assert one.get_timer() is None, "nor is the one of the last round told again"
    one.receive_message(Want(1, manifest("me", seq=1).sha256), A, 1.0)
    assert [to for to, _ in sent(one, 1.0)] == [A], "who was told may still ask"
    one.publish(manifest("me", seq=2, round=1), 1.0)
    assert sent(one, 1.0) == [(B, Offer)]


def test_receiver_that_joins_within_a_round_is_told_of_the_snapshot_of_this_round() -> None:
    one = linked(A)
    one.set_neighbours([A], 0.0, receivers=[])
    one.publish(manifest("me"), 0.0)
    one.set_neighbours([A], 0.0, receivers=[A])
    assert sent(one) == [(A, Offer)]


def test_new_neighbour_of_an_undirected_graph_is_told_of_what_is_on_offer() -> None:
    one = linked(A, deadline_s=1.0)
    one.publish(manifest("me"), 0.0)
    one.handle_timer(1.0)
    one.mixed()
    assert one.phase is Phase.TRAINING
    one.set_neighbours([A], 1.0)
    assert sent(one, 1.0) == [(A, Offer)]


def test_receiver_that_is_rounds_behind_gets_what_is_kept() -> None:
    for kept, answer in [(3, Model), (2, Refuse)]:
        one = core(kept_snapshots=kept, deadline_s=1.0)
        for seq in (1, 2, 3):
            one.publish(manifest("me", seq=seq, round=one.round), float(seq))
            one.handle_timer(seq + 1.0)
            one.mixed()
        one.receive_message(Want(1, manifest("me", seq=1).sha256), A, 9.0)
        assert sent(one, 9.0) == [(A, answer)]


# Graphs that are another one in every round ----------------------------------------------------------------------


def one_peer_exponential(num_peers: int) -> Graph:
    """Return the graph in which everybody sends to the peer 2^(round mod log2 n) places on [Ying et al. 2021]."""
    steps = (num_peers - 1).bit_length()
    return lambda round: ([-(2 ** (round % steps))], [2 ** (round % steps)])


class Ring:
    """Peers that go by the graph of their own round, over a network of which a generator chooses what comes next."""

    def __init__(self, num_peers: int, graph: Graph, seed: int, **knobs: object) -> None:
        self.net = Net([f"{place:02}" for place in range(num_peers)], **knobs)
        self.names = sorted(self.net.peers)
        self.graph = graph
        self.rng = random.Random(seed)
        self.expected: dict[tuple[PeerId, int], list[PeerId]] = {}
        for peer in self.net.peers.values():
            peer.core.set_neighbours([], 0.0, receivers=[])

    def step(self) -> None:
        """Let one peer train, or one message arrive."""
        idle = [peer for peer in self.net.peers.values() if peer.core.phase is Phase.TRAINING]
        choice = self.rng.randrange(len(idle) + len(self.net.flying))
        if choice < len(idle):
            self.begin(idle[choice])
        else:
            self.net.deliver(choice - len(idle))

    def begin(self, peer: Peer) -> None:
        """Begin the round of a peer, and end its training."""
        place, round = self.names.index(peer.name), peer.core.round
        senders, receivers = (
            [self.names[(place + distance) % len(self.names)] for distance in distances]
            for distances in self.graph(round)
        )
        self.expected[peer.name, round] = sorted(set(senders))
        peer.core.set_neighbours(senders, self.net.now, receivers=receivers)
        peer.train(self.net.now)
        self.net.collect()


@given(num_peers=st.sampled_from([2, 4, 7, 8]), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_whatever_the_order_every_round_waits_for_the_snapshot_of_its_sender_and_gets_it(
    num_peers: int, seed: int
) -> None:
    ring = Ring(num_peers, one_peer_exponential(num_peers), seed, total_rounds=6, deadline_s=1e9, kept_snapshots=6)
    for _ in range(num_peers * 6 * 8):
        if not ring.net.flying and all(peer.core.phase is Phase.DONE for peer in ring.net.peers.values()):
            break
        ring.step()
    for peer in ring.net.peers.values():
        assert [mix.round for mix in peer.mixes] == list(range(6))
        for mix in peer.mixes:
            assert mix.met_quorum
            assert [slot.peer for slot in mix.slots] == ring.expected[peer.name, mix.round]
            assert all(slot.manifest.round >= mix.round for slot in mix.slots), "or of a later one where that was out"
        assert not peer.misbehaved


@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.1, 0.5]), quorum=st.sampled_from([0.5, 1.0]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_with_loss_every_round_ends_and_mixes_senders_of_that_round_only(seed: int, loss: float, quorum: float) -> None:
    def graph(round: int) -> tuple[list[int], list[int]]:
        chosen = random.Random(round).sample(range(1, 6), 2)
        return [-distance for distance in chosen], chosen

    ring = Ring(6, graph, seed, deadline_s=4.0, quorum=quorum, request_timeout_s=2.0)
    for _ in range(600):
        if ring.net.flying and ring.rng.random() < loss:
            ring.net.flying.pop(ring.rng.randrange(len(ring.net.flying)))
        if ring.net.flying or any(peer.core.phase is Phase.TRAINING for peer in ring.net.peers.values()):
            ring.step()
        if ring.rng.random() < 0.1:
            ring.net.advance(0.5)
    for peer in ring.net.peers.values():
        assert len(peer.mixes) >= 2
        for mix in peer.mixes:
            assert {slot.peer for slot in mix.slots} <= set(ring.expected[peer.name, mix.round])
        assert not peer.misbehaved
