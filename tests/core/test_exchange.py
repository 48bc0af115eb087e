"""The exchange core, cores back to back: one test per sentence of its theory of operation."""

from __future__ import annotations

import msgspec
import pytest

from peer.control.metrics import EVENTS
from peer.core.exchange import MAX_OUTSIDERS, ExchangeCore, Phase
from peer.core.exchange_counts import ExchangeCounts
from peer.core.exchange_events import CheckModel, ModelDropped, RoundReady
from peer.core.feed import TRANSITIONS, FeedInput, FeedState
from peer.core.messages import Goodbye, Hello, Manifest, Model, Offer, PeerId, Records, Refuse, Seen, Want
from tests.core.harness import Net, answer_to, core, events, kinds_of_misbehaviour, manifest

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")


def neighbour_of(*peers: PeerId, **knobs: object) -> ExchangeCore:
    """Return a core that is linked to its neighbours."""
    receiver = core(**knobs)
    for peer in peers:
        receiver.link_up(peer, 0.0)
    receiver.set_neighbours(peers, 0.0)
    return receiver


def request(receiver: ExchangeCore, offered: Manifest) -> Want:
    """Let `a` offer a snapshot; return the request for it."""
    receiver.receive_message(Offer(offered), A, 0.0)
    (want,) = [m for _, m in receiver.messages_to_send(0.0) if isinstance(m, Want)]
    return want


def test_one_round_of_two_peers_as_a_transcript() -> None:
    net = Net("ab")
    net["a"].train(net.now)
    net.collect()
    assert net.kinds() == ["a>b Offer"]
    net.deliver()
    assert net.kinds() == ["b>a Want"], "which says that the offer was seen, too"
    net.deliver()
    assert net.kinds() == ["a>b Model"]
    net.deliver()
    assert net["b"].admitted == [("a", 1)]
    assert net["a"].core.phase is Phase.GATHERING
    net["b"].train(net.now)
    net.run()
    for name in "ab":
        assert net[name].core.round == 1
        (mix,) = net[name].mixes
        assert mix.met_quorum
        assert [slot.age_rounds for slot in mix.slots] == [0]


def test_three_peers_mix_each_other_every_round_and_end() -> None:
    net = Net("abc", total_rounds=5)
    for _ in range(5):
        net.train_all()
        net.run()
    for peer in net.peers.values():
        assert peer.core.phase is Phase.DONE
        assert [mix.round for mix in peer.mixes] == [0, 1, 2, 3, 4]
        assert all(len(mix.slots) == 2 for mix in peer.mixes)
        assert len(peer.files) <= 2, "files of replaced snapshots are dropped"


def test_deadline_ends_a_round_without_quorum_and_the_late_model_is_mixed_in_the_next_round() -> None:
    net = Net("ab", deadline_s=5.0, max_age_rounds=1)
    net["a"].train(net.now)
    net.run()
    net.advance(5.0)
    assert [(mix.met_quorum, mix.slots) for mix in net["a"].mixes] == [(False, ())]
    net["b"].train(net.now)  # its round 0, while `a` is in round 1
    net.run()
    net["a"].train(net.now)
    net.run()
    net.advance(5.0)
    late = net["a"].mixes[1]
    assert not late.met_quorum
    assert [slot.age_rounds for slot in late.slots] == [1]


def test_model_older_than_max_age_is_left_out() -> None:
    net = Net("ab", deadline_s=1.0, max_age_rounds=1)
    net.train_all()
    net.run()
    for _ in range(3):
        net["a"].train(net.now)
        net.run()
        net.advance(1.0)
    assert [len(mix.slots) for mix in net["a"].mixes] == [1, 1, 0, 0]


def test_quorum_below_one_does_not_wait_for_all() -> None:
    net = Net("abcd", quorum=0.5)
    for name in "abc":
        net[name].train(net.now)
    net.run()
    assert [len(mix.slots) for mix in net["a"].mixes] == [2]


def test_peer_without_links_waits_for_the_deadline() -> None:
    alone = core(deadline_s=3.0)
    alone.set_neighbours([B], 0.0)
    alone.publish(manifest("a"), 0.0)
    assert alone.next_event() is None
    assert alone.get_timer() == 3.0
    alone.handle_timer(3.0)
    assert events(alone) == [RoundReady(0, 1, (), 0, False)]


def test_two_fresh_snapshots_of_one_neighbour_are_one_for_the_quorum() -> None:
    receiver = neighbour_of(A, B)
    receiver.publish(manifest("me"), 0.0)
    for seq in (1, 2):
        want = request(receiver, manifest("a", seq=seq))
        receiver.receive_message(answer_to(want, manifest("a", seq=seq)), A, 0.0)
        receiver.checked(A, manifest("a", seq=seq), "", 0.0)
    assert not [event for event in events(receiver) if isinstance(event, RoundReady)]


def test_unlinked_neighbour_is_not_waited_for() -> None:
    net = Net("abc")
    net["a"].train(net.now)
    net["b"].train(net.now)
    net.run()
    assert not net["a"].mixes
    net.cut("a", "c")
    net.collect()
    assert [len(mix.slots) for mix in net["a"].mixes] == [1]


def test_offer_is_repeated_until_seen() -> None:
    net = Net("ab", deadline_s=1000.0)
    net["a"].train(net.now)
    net.collect()
    for _ in range(3):
        net.flying.clear()
        net.advance(60.0)
        assert net.kinds() == ["a>b Offer"]
    net.run()
    net.advance(60.0)
    assert net.kinds() == []


def test_want_of_a_snapshot_says_that_its_offer_was_seen() -> None:
    net = Net("ab", deadline_s=1000.0)
    net["a"].train(net.now)
    net.run()
    assert net["b"].admitted == [("a", 1)]
    net.advance(60.0)
    assert net.kinds() == []
    assert net["b"].core.counters["offers_repeated"] == 0


def test_want_that_is_lost_leaves_the_offer_to_be_repeated_and_then_seen() -> None:
    net = Net("ab", deadline_s=1000.0, request_timeout_s=100.0)
    net["a"].train(net.now)
    net.collect()
    net.deliver()
    assert net.kinds() == ["b>a Want"]
    net.flying.clear()
    net.advance(1.0)
    assert net.kinds() == ["a>b Offer"]
    net.deliver()
    assert net.kinds() == ["b>a Seen"], "it is asked for already"
    net.deliver()
    net.advance(60.0)
    assert net.kinds() == []
    net.advance(40.0)
    net.advance(10.0)
    net.run()
    assert net["b"].admitted == [("a", 1)], "the lost request timed out and was repeated"


def test_offer_that_has_to_queue_is_answered_by_seen_and_asked_for_later() -> None:
    receiver = neighbour_of(A, B, max_requests=1)
    receiver.receive_message(Offer(manifest("a")), A, 0.0)
    receiver.receive_message(Offer(manifest("b")), B, 0.0)
    sent = receiver.messages_to_send(0.0)
    assert [(to, type(message)) for to, message in sent] == [(A, Want), (B, Seen)]
    (want,) = [message for _, message in sent if isinstance(message, Want)]
    receiver.receive_message(answer_to(want, manifest("a")), A, 0.0)
    assert [(to, type(message)) for to, message in receiver.messages_to_send(0.0)] == [(B, Want)]


def test_want_of_an_older_snapshot_does_not_silence_the_newer_offer() -> None:
    net = Net("ab", deadline_s=1.0)
    for _ in range(2):
        net["a"].train(net.now)
        net.collect()
        net.flying.clear()
        net.advance(1.0)
        net.flying.clear()
    net["a"].core.receive_message(Want(7, manifest("a", seq=1).sha256), B, net.now)
    net.advance(60.0)
    assert "a>b Offer" in net.kinds()


def test_want_does_not_count_for_what_was_published_while_the_link_was_down() -> None:
    net = Net("ab", deadline_s=1000.0)
    net.cut("a", "b")
    net["a"].train(net.now)
    net["a"].core.receive_message(Want(7, manifest("a").sha256), B, net.now)
    net.mend("a", "b")
    net["a"].core.receive_message(Want(8, manifest("a").sha256), B, net.now)
    net.collect()
    net.flying.clear()
    net.advance(60.0)
    assert "a>b Offer" in net.kinds()


def test_requests_keep_their_turn_when_a_slot_is_free_again() -> None:
    receiver = neighbour_of(A, B, max_requests=1)
    receiver.link_up(C, 0.0)
    for peer in (A, B, C):
        receiver.receive_message(Offer(manifest(peer)), peer, 0.0)
    receiver.messages_to_send(0.0)
    receiver.set_neighbours([B, C], 0.0)  # the slot of `a` is free; `c`, whose offer was kept outside, comes after `b`
    assert [to for to, message in receiver.messages_to_send(0.0) if isinstance(message, Want)] == [B]


def test_want_from_before_the_link_broke_does_not_silence_the_offer_over_the_next_link() -> None:
    net = Net("ab", deadline_s=1000.0)
    net["a"].train(net.now)
    net.collect()
    net.deliver()
    assert net.kinds() == ["b>a Want"]
    net.cut("a", "b")
    net.mend("a", "b")
    net.collect()
    assert net.kinds() == ["b>a Want", "a>b Offer"]
    net.flying.pop()  # the receiver never hears the offer over the new link
    net.deliver()
    net.flying.clear()
    net.advance(60.0)
    assert net.kinds() == ["a>b Offer"]
    net.run()
    net.advance(60.0)
    net.run()  # over the second link only `Seen` silences it
    net.advance(60.0)
    assert net.kinds() == []
    assert net["b"].admitted == [("a", 1)]


def test_request_slot_that_a_wrong_answer_frees_is_granted_at_once() -> None:
    receiver = neighbour_of(A, B, max_requests=1)
    want = request(receiver, manifest("a"))
    receiver.receive_message(Offer(manifest("b")), B, 0.0)
    receiver.messages_to_send(0.0)
    receiver.receive_message(Model(want.request_id, b"!" * 32, 100), A, 0.0)
    assert [(to, type(message)) for to, message in receiver.messages_to_send(0.0)] == [(B, Want)]


def test_seen_of_an_older_snapshot_does_not_silence_the_newer_offer() -> None:
    net = Net("ab", deadline_s=1.0)
    net["a"].train(net.now)
    net.collect()
    net.flying.clear()
    net.advance(1.0)
    net["a"].train(net.now)
    net.collect()
    net.flying.clear()
    net["a"].core.receive_message(Seen(1), B, net.now)
    net.advance(60.0)
    assert "a>b Offer" in net.kinds()


def test_offer_is_said_again_when_the_link_comes_back() -> None:
    net = Net("ab")
    net["a"].train(net.now)
    net.run()
    net.cut("a", "b")
    net.mend("a", "b")
    net.collect()
    assert net.kinds() == ["a>b Offer"]


def test_failed_request_is_tried_again_under_a_new_id_and_given_up_at_last() -> None:
    receiver = neighbour_of(A, max_attempts=3)
    receiver.receive_message(Offer(manifest("a")), A, 0.0)
    now, ids = 0.0, []
    for _ in range(3):
        wants = [m for _, m in receiver.messages_to_send(now) if isinstance(m, Want)]
        ids += [want.request_id for want in wants]
        receiver.fetch_failed(A, wants[0].request_id, now)
        now += 100.0
        receiver.handle_timer(now)
    assert receiver.messages_to_send(now) == []
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]
    assert receiver.get_timer() is None
    receiver.receive_message(Offer(manifest("a", seq=2)), A, now)
    assert [type(m) for _, m in receiver.messages_to_send(now)] == [Want], "a newer one has its own attempts"


def test_request_without_answer_times_out_after_a_time_that_grows_with_the_model() -> None:
    for size_bytes, expected in [(0, 30.0), (1000, 40.0)]:
        receiver = neighbour_of(A, request_timeout_s=30.0, min_rate_bytes_s=100.0)
        receiver.receive_message(Offer(manifest("a", size_bytes=size_bytes)), A, 0.0)
        receiver.messages_to_send(0.0)
        assert receiver.get_timer() == expected
        receiver.handle_timer(expected)
        assert receiver.counters["requests_timed_out"] == 1


def test_refusal_counts_as_a_failure_of_that_request_only() -> None:
    receiver = neighbour_of(A)
    want = request(receiver, manifest("a"))
    receiver.receive_message(Refuse(want.request_id + 7, "busy"), A, 0.0)
    assert receiver.counters["requests_failed"] == 0
    receiver.receive_message(Refuse(want.request_id, "busy"), A, 0.0)
    assert receiver.counters["requests_failed"] == 1


def test_requests_under_way_are_bounded_and_served_first_come_first_served() -> None:
    receiver = core(max_requests=2)
    names = [PeerId(n) for n in "edcab"]
    for name in names:
        receiver.link_up(name, 0.0)
    receiver.set_neighbours(names, 0.0)
    for name in names:
        receiver.receive_message(Offer(manifest(name)), name, 0.0)
    asked = []
    while wants := [(to, m) for to, m in receiver.messages_to_send(0.0) if isinstance(m, Want)]:
        assert len(wants) <= 2
        asked += [to for to, _ in wants]
        for to, want in wants[:1]:
            receiver.receive_message(answer_to(want, manifest(to)), to, 0.0)
        for to, want in wants[1:]:
            receiver.receive_message(answer_to(want, manifest(to)), to, 0.0)
    assert asked == names


def test_want_is_answered_for_the_two_newest_snapshots_and_refused_otherwise() -> None:
    giver = core(deadline_s=1.0)
    for seq in (1, 2, 3):
        giver.publish(manifest("a", seq=seq, round=giver.round), float(seq))
        giver.handle_timer(seq + 1.0)
        giver.mixed()
    answers = []
    for request_id, seq in enumerate((1, 2, 3)):
        giver.receive_message(Want(request_id, manifest("a", seq=seq).sha256), B, 9.0)
        answers += [type(message) for _, message in giver.messages_to_send(9.0)]
    assert answers == [Refuse, Model, Model]


def test_want_beyond_the_end_is_refused() -> None:
    giver = core()
    giver.publish(manifest("a", size_bytes=100), 0.0)
    giver.receive_message(Want(1, manifest("a").sha256, offset=101), B, 0.0)
    assert [message for _, message in giver.messages_to_send(0.0)] == [Refuse(1, "unknown")]


# What a hostile or broken peer may say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"swarm": b"x" * 32}, "wrong_swarm"),
        ({"space": b"x" * 32}, "wrong_space"),
        ({"size_bytes": 1001}, "model_too_large"),
        ({"channel": "y"}, "unknown_channel"),
        ({"codec": "int8"}, "unknown_channel"),
        ({"author": b"x" * 32}, "not_authentic"),
    ],
)
def test_offer_that_no_honest_peer_makes_is_misbehaviour(change: dict[str, object], kind: str) -> None:
    receiver = neighbour_of(A)
    receiver.receive_message(Offer(msgspec.structs.replace(manifest("a"), **change)), A, 0.0)
    assert kinds_of_misbehaviour(receiver) == [kind]
    assert receiver.messages_to_send(0.0) == []


def test_two_snapshots_under_one_seq_are_an_equivocation() -> None:
    receiver = neighbour_of(A)
    receiver.receive_message(Offer(manifest("a")), A, 0.0)
    receiver.receive_message(Offer(manifest("a")), A, 0.0)
    assert kinds_of_misbehaviour(receiver) == []
    receiver.receive_message(Offer(manifest("a", sha256=b"!" * 32)), A, 0.0)
    assert kinds_of_misbehaviour(receiver) == ["equivocation"]


def test_replayed_offer_is_answered_and_not_fetched() -> None:
    net = Net("ab", deadline_s=1.0)
    old = Offer(manifest("a", seq=1))
    for _ in range(2):
        net["a"].train(net.now)
        net.run()
        net.advance(1.0)
        net.run()
    assert net["b"].admitted == [("a", 1), ("a", 2)]
    net["b"].core.receive_message(old, A, net.now)
    assert [type(m) for _, m in net["b"].core.messages_to_send(net.now)] == [Seen]
    assert net["b"].core.counters["offers_replayed"] == 1


def test_answer_under_an_id_never_given_to_that_peer_is_misbehaviour() -> None:
    receiver = core()
    for peer in (A, B):
        receiver.link_up(peer, 0.0)
    receiver.set_neighbours([A, B], 0.0)
    for peer in (A, B):
        receiver.receive_message(Offer(manifest(peer)), peer, 0.0)
    wants = {to: m for to, m in receiver.messages_to_send(0.0) if isinstance(m, Want)}
    receiver.receive_message(answer_to(wants[A], manifest("b")), B, 0.0)
    assert kinds_of_misbehaviour(receiver) == ["wrong_request_id"]


def test_late_or_repeated_answer_is_ignored() -> None:
    receiver = neighbour_of(A)
    want = request(receiver, manifest("a"))
    for _ in range(3):
        receiver.receive_message(answer_to(want, manifest("a")), A, 0.0)
    assert [type(event) for event in events(receiver)] == [CheckModel]
    assert receiver.counters["models_late"] == 2


def test_answer_with_another_snapshot_is_misbehaviour_and_fails_the_request() -> None:
    receiver = neighbour_of(A)
    want = request(receiver, manifest("a"))
    receiver.receive_message(Model(want.request_id, b"!" * 32, 100), A, 0.0)
    assert kinds_of_misbehaviour(receiver) == ["wrong_model"]
    assert receiver.counters["requests_failed"] == 1


def test_snapshot_refused_by_admission_is_misbehaviour_and_never_asked_for_again() -> None:
    receiver = neighbour_of(A)
    want = request(receiver, manifest("a"))
    receiver.receive_message(answer_to(want, manifest("a")), A, 0.0)
    events(receiver)
    receiver.checked(A, manifest("a"), "not_finite", 0.0)
    found = events(receiver)
    assert [getattr(event, "kind", "") for event in found] == ["not_finite", ""]
    assert found[1] == ModelDropped(manifest("a"))
    receiver.receive_message(Offer(manifest("a")), A, 0.0)
    assert [type(m) for _, m in receiver.messages_to_send(0.0)] == [Seen]


def test_snapshot_that_admission_has_no_time_for_is_dropped_without_blame() -> None:
    receiver = neighbour_of(A)
    want = request(receiver, manifest("a"))
    receiver.receive_message(answer_to(want, manifest("a")), A, 0.0)
    events(receiver)
    receiver.abandon(A, manifest("a"), 0.0)
    assert events(receiver) == [ModelDropped(manifest("a"))]
    receiver.receive_message(Offer(manifest("a", seq=2)), A, 0.0)
    assert [type(m) for _, m in receiver.messages_to_send(0.0)] == [Want]


def test_request_that_was_overtaken_is_not_wanted_any_more() -> None:
    receiver = neighbour_of(A)
    want = request(receiver, manifest("a", size_bytes=77))
    assert receiver.wanted_size(A, want) == 77
    assert receiver.wanted_size(B, want) is None
    receiver.set_neighbours([], 0.0)
    assert receiver.wanted_size(A, want) is None


@pytest.mark.parametrize("message", [Hello(b"s" * 32), Records(()), Goodbye("x")])
def test_message_that_is_none_of_the_exchange_is_misbehaviour(message: Hello | Records | Goodbye) -> None:
    receiver = core()
    receiver.receive_message(message, A, 0.0)
    assert kinds_of_misbehaviour(receiver) == ["unexpected_message"]


def test_offers_of_peers_that_are_no_neighbours_are_remembered_within_a_bound() -> None:
    receiver = core()
    names = [PeerId(f"p{i}") for i in range(MAX_OUTSIDERS + 10)]
    for name in names:
        receiver.link_up(name, 0.0)
        receiver.receive_message(Offer(manifest(name)), name, 0.0)
    assert all(isinstance(m, Seen) for _, m in receiver.messages_to_send(0.0))
    receiver.set_neighbours([names[0], names[-1]], 0.0)
    assert [to for to, m in receiver.messages_to_send(0.0) if isinstance(m, Want)] == [names[-1]]


# Churn ---------------------------------------------------------------------------------------------------------


def test_peer_that_was_away_goes_on_from_the_median_round() -> None:
    net = Net("abc", max_age_rounds=2)
    for name in "bc":
        net[name].core.round = 50
    net.train_all()
    net.run()
    net.advance(10.0)
    net.run()
    assert net["a"].core.round == 51
    assert [len(mix.slots) for mix in net["a"].mixes] == [2], "it mixed what it heard"
    assert all(len(net[name].mixes[0].slots) == 1 for name in "bc"), "its own model was too old for them"


def test_one_liar_cannot_move_the_round() -> None:
    net = Net("abcd", max_age_rounds=2)
    net["d"].core.round = 10**9
    net.train_all()
    net.run()
    assert net["a"].core.round == 1


def test_returning_peer_of_a_finished_swarm_is_done_after_one_mix() -> None:
    net = Net("abc", total_rounds=10, max_age_rounds=2)
    for name in "bc":
        net[name].core.round = 9
    net.train_all()
    net.run()
    net.advance(100.0)
    net.run()
    assert all(peer.core.phase is Phase.DONE for peer in net.peers.values())


def test_final_model_is_offered_when_all_rounds_are_done_and_not_before() -> None:
    one = core(total_rounds=1, deadline_s=1.0)
    one.link_up(B, 0.0)
    one.set_neighbours([B], 0.0)
    one.publish(manifest("a", seq=1), 0.0)
    with pytest.raises(ValueError, match="publish_final in phase gathering"):
        one.publish_final(manifest("a", seq=2, round=1), 0.0)
    one.handle_timer(1.0)
    one.mixed()
    one.messages_to_send(1.0)
    one.publish_final(manifest("a", seq=2, round=1), 1.0)
    assert one.messages_to_send(1.0) == [(B, Offer(manifest("a", seq=2, round=1)))]


def test_peer_that_is_done_fetches_nothing_more() -> None:
    done = neighbour_of(A, first_round=3, total_rounds=3)
    done.receive_message(Offer(manifest("a")), A, 0.0)
    assert [type(m) for _, m in done.messages_to_send(0.0)] == [Seen]


def test_neighbour_that_leaves_takes_its_snapshot_with_it() -> None:
    net = Net("ab", deadline_s=1.0)
    net["b"].train(net.now)
    net.run()
    assert len(net["a"].files) == 1
    net["a"].core.set_neighbours([], net.now)
    net.collect()
    assert not net["a"].files


def test_snapshot_replaced_during_the_mix_keeps_its_file_until_the_mix_is_over() -> None:
    receiver = neighbour_of(A, deadline_s=1.0)
    for seq in (1, 2):
        want = request(receiver, manifest("a", seq=seq))
        receiver.receive_message(answer_to(want, manifest("a", seq=seq)), A, 0.0)
        receiver.checked(A, manifest("a", seq=seq), "", 0.0)
        if seq == 1:
            receiver.publish(manifest("me"), 0.0)
    assert not [event for event in events(receiver) if isinstance(event, ModelDropped)]
    receiver.mixed()
    assert events(receiver) == [ModelDropped(manifest("a", seq=1))]


def test_own_misuse_is_an_error() -> None:
    one = core()
    with pytest.raises(ValueError, match="mixed in phase"):
        one.mixed()
    one.publish(manifest("a"), 0.0)
    with pytest.raises(ValueError, match="publish in phase"):
        one.publish(manifest("a", seq=2), 0.0)


def test_everything_that_the_core_counts_is_exported() -> None:
    assert set(ExchangeCounts.__slots__) <= set(EVENTS)
    one = neighbour_of(A)
    assert one.counters == {}
    request(one, manifest("a"))
    assert one.counters == {"offers_received": 1, "requests_sent": 1}


def test_state_table_reaches_every_state_and_leaves_it() -> None:
    reached = {FeedState.IDLE} | {after for (before, _), after in TRANSITIONS.items() if before is not after}
    left = {before for (before, _), after in TRANSITIONS.items() if before is not after}
    assert reached == left == set(FeedState)
    assert {happened for _, happened in TRANSITIONS} == set(FeedInput)
    assert all((state, FeedInput.LOST) in TRANSITIONS for state in FeedState), "a link may break at any time"
    assert all((state, FeedInput.OFFER) in TRANSITIONS for state in FeedState), "an offer may come at any time"
