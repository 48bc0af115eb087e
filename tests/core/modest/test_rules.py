"""Each rule of the protocol by itself: one core, messages by hand. Sections are those of arXiv 2302.13837v1."""

import typing

import pytest

from peer.core.messages import Goodbye, PeerId
from peer.core.modest_events import (
    AggregateModels,
    CancelTraining,
    ModestConfig,
    RoundProgress,
    SampleServed,
    SendModel,
    TrainModel,
)
from peer.core.modest_messages import (
    MAX_ENTRIES,
    MAX_ROUND,
    Advertise,
    AggAck,
    Doubts,
    ModelRef,
    Ping,
    Pong,
    Status,
    ViewDelta,
    ViewEntry,
    ViewRequest,
)
from peer.core.modest_participant import TRANSITIONS, ModelInput, Training
from peer.core.modest_pools import MAX_POOLS
from tests.core.modest.harness import INITIAL, core, events, names, of_type

ME = PeerId("me")


def aggregated(round, digest=b""):
    return ModelRef(round, "aggregated", PeerId("p0"), digest)


def trained(round, author="p0"):
    return ModelRef(round, "trained", PeerId(author), b"w")


def peers(number):
    return [PeerId(f"p{place}") for place in range(number)]


def started(number=5, **knobs):
    """A core that has begun with p0..p(n-1) and is in no sample of round 1."""
    knobs = {"sample_size": 3, **knobs}
    for attempt in range(100):
        made = core(f"me{attempt}", **knobs)
        made.start(peers(number), INITIAL, 0.0)
        if not of_type(TrainModel, events(made)):
            made.messages_to_send(0.0)
            return made
    raise AssertionError


def pings(made, now=0.0):
    return {to: message for to, message in made.messages_to_send(now) if isinstance(message, Ping)}


def answer(made, whom, found, now, *, round=0):
    """Let these candidates answer the pings they were sent."""
    for to, ping in found.items():
        if to in whom:
            made.receive_message(Pong(round or ping.round, 0, ping.nonce), to, now)


def reach_everybody(made, now, *, silent=()):
    """Answer all pings, except of the silent, until no more are sent."""
    while found := pings(made, now):
        answer(made, set(found) - set(silent), found, now)


# Participants ------------------------------------------------------------------------------------------------------


def test_every_state_has_an_answer_to_what_can_happen():
    assert set(TRANSITIONS) == {(state, happened) for state in Training for happened in ModelInput}


def test_bootstrap_the_first_sample_begins_from_the_common_model():
    members = names(20)
    cores = {name: core(name, sample_size=4) for name in members}
    begun = []
    for name, made in cores.items():
        made.start(members, INITIAL, 0.0)
        found = events(made)
        assert of_type(RoundProgress, found)[0].round == 1
        begun += [name for event in of_type(TrainModel, found) if event.start_from.digest == b"initial"]
    assert set(begun) == set(cores[members[0]].view.ordered(1)[:4])


def test_an_aggregated_model_is_trained_and_goes_to_the_aggregators_of_the_next_round():
    me = started(aggregators=2)
    me.receive_model(aggregated(4), (), PeerId("p0"), 1.0)
    assert of_type(TrainModel, events(me)) == [TrainModel(4, aggregated(4))]
    assert me.view.own.last_round == 4
    assert me.view.get(PeerId("p0")).last_round == 4
    me.trained(4, trained(4, me.own_id), 2.0)
    reach_everybody(me, 2.1)
    sent = of_type(SendModel, events(me))
    assert [event.to for event in sent] == [peer for peer in me.view.ordered(5)[:2] if peer != me.own_id]
    assert {(event.ref.round, event.ref.kind, event.ref.digest) for event in sent} == {(5, "trained", b"w")}


def test_the_same_round_is_started_once():
    me = started()
    for sender in peers(3):
        me.receive_model(aggregated(4), (), sender, 1.0)
    assert len(of_type(TrainModel, events(me))) == 1
    me.trained(4, trained(4), 2.0)
    me.receive_model(aggregated(4), (), PeerId("p4"), 3.0)
    assert not of_type(TrainModel, events(me))


def test_a_later_round_cancels_what_is_trained():
    me = started()
    me.receive_model(aggregated(4), (), PeerId("p0"), 1.0)
    events(me)
    me.receive_model(aggregated(6), (), PeerId("p0"), 1.5)
    assert [event for event in events(me) if not isinstance(event, RoundProgress)] == [
        CancelTraining(4),
        TrainModel(6, aggregated(6)),
    ]
    me.trained(4, trained(4), 2.0)
    assert not pings(me), "the answer crossed with the cancellation"
    assert me.counters["trained_in_vain"] == 1


def test_an_older_round_is_ignored_but_its_view_is_merged():
    me = started()
    me.receive_model(aggregated(6), (), PeerId("p0"), 1.0)
    events(me)
    me.receive_model(aggregated(5), (ViewEntry(PeerId("new"), 5),), PeerId("p1"), 1.5)
    assert events(me) == []
    assert me.view.get(PeerId("new")).last_round == 5
    assert me.participant.round == 6


def test_a_round_behind_the_newest_model_is_not_started():
    """This peer has averaged round 9 without being in its sample: a late model of round 8 is of no use."""
    me = started(success_fraction=0.01)
    me.receive_message(Ping(8, 0, 1), PeerId("p0"), 0.0)
    me.receive_model(trained(9), (), PeerId("p0"), 1.0)
    me.aggregated(9, aggregated(9), 1.0)
    events(me)
    me.receive_model(aggregated(8), (), PeerId("p1"), 2.0)
    assert not of_type(TrainModel, events(me))


def test_after_the_last_round_nothing_is_trained():
    me = started(total_rounds=5, watchdog_s=30.0)
    me.receive_model(aggregated(5), (), PeerId("p0"), 1.0)
    assert of_type(TrainModel, events(me))
    me.receive_model(aggregated(6), (), PeerId("p0"), 2.0)
    assert events(me) == [RoundProgress(6, aggregated(6)), CancelTraining(5)]
    assert me.get_timer() is None, "the watchdog rests"
    me.receive_model(aggregated(7), (), PeerId("p0"), 3.0)
    assert events(me) == []
    assert me.counters["models_out_of_range"] == 1


# Aggregators -------------------------------------------------------------------------------------------------------


def gather(me, round, senders, now=1.0):
    for sender in senders:
        me.receive_model(trained(round, sender), (), sender, now)
    return of_type(AggregateModels, events(me))


@pytest.mark.parametrize(("sample_size", "success_fraction", "needed"), [(10, 0.8, 8), (13, 0.8, 10), (3, 0.3, 1)])
def test_enough_models_complete_a_round(sample_size, success_fraction, needed):
    me = started(20, sample_size=sample_size, success_fraction=success_fraction)
    assert gather(me, 2, peers(needed - 1)) == []
    (event,) = gather(me, 2, [peers(needed)[-1]])
    assert event == AggregateModels(2, tuple(trained(2, author) for author in sorted(peers(needed))))


def test_one_model_per_sender_and_round():
    me = started(20)
    assert gather(me, 2, [PeerId("p1")] * 5) == []
    assert me.counters["models_ignored"] == 4


def test_a_completed_round_takes_no_more_models():
    me = started(20)
    assert len(gather(me, 2, peers(3))) == 1
    assert gather(me, 2, peers(9)[3:]) == []
    me.aggregated(2, aggregated(2), 2.0)
    assert gather(me, 2, peers(9)[3:]) == []


def test_the_mean_goes_to_the_sample_of_its_round():
    me = started(20)
    gather(me, 2, peers(3))
    me.aggregated(2, ModelRef(0, "trained", ME, b"mean"), 2.0)
    acks = {to for to, message in me.messages_to_send(2.0) if message == AggAck(2, success=True)}
    assert acks == set(peers(3))
    gather(me, 3, peers(3))
    me.aggregated(3, ModelRef(0, "trained", ME, b"mean"), 3.0)
    reach_everybody(me, 3.1)
    found = events(me)
    sample = me.view.ordered(3)[:3]
    assert of_type(SampleServed, found) == [SampleServed(3, tuple(sample), 3, is_restart=False)]
    assert [event.to for event in of_type(SendModel, found)] == [peer for peer in sample if peer != me.own_id]
    assert me.newest == ModelRef(3, "aggregated", ME, b"mean")


@pytest.mark.parametrize(("models", "completes"), [(3, True), (2, False)])
def test_when_the_time_is_over_three_models_will_do(models, completes):
    me = started(20, sample_size=10, aggregation_timeout_s=20.0)
    assert gather(me, 2, peers(models), now=1.0) == []
    assert me.get_timer() == 21.0
    me.handle_timer(20.9)
    assert not events(me)
    me.handle_timer(21.0)
    assert len(of_type(AggregateModels, events(me))) == completes
    assert me.counters["rounds_dropped"] == (not completes)
    assert me.get_timer() is None
    assert gather(me, 2, peers(13)[3:]) == [] if completes else len(gather(me, 2, peers(13)[3:])) == 1


def test_without_a_timeout_an_aggregator_waits_for_ever():
    me = started(20, sample_size=10)
    gather(me, 2, peers(9))
    assert me.get_timer() is None


def test_the_timer_runs_from_the_first_model():
    me = started(20, sample_size=10, aggregation_timeout_s=20.0)
    gather(me, 2, [PeerId("p1")], now=1.0)
    gather(me, 2, [PeerId("p2")], now=15.0)
    assert me.get_timer() == 21.0


def test_rounds_that_are_gathered_are_bounded():
    me = started(20)
    for round in range(2, 30):
        gather(me, round, [PeerId("p1")])
    assert len(me._pools.rounds()) == MAX_POOLS
    assert max(me._pools.rounds()) == 29, "the lowest gives way"
    gather(me, 2, [PeerId("p2")])
    assert min(me._pools.rounds()) > 2


def test_a_round_far_ahead_is_not_believed():
    me = started(20)
    gather(me, 50, peers(3))
    assert me._pools.rounds() == []
    assert me.round_estimate == 1
    me.receive_message(Ping(49, 0, 1), PeerId("p1"), 1.0)
    assert len(gather(me, 50, peers(3))) == 1, "a ping says first how far the others are"


def test_an_overtaken_mean_is_dropped():
    me = started(20)
    gather(me, 2, peers(3))
    me.receive_model(aggregated(3), (), PeerId("p1"), 2.0)
    events(me)
    me.aggregated(2, aggregated(2), 2.5)
    assert events(me) == []
    assert me.newest == aggregated(3)


def test_a_shrunken_swarm_expects_fewer_models_but_two_at_least():
    small = core(sample_size=10, success_fraction=0.5)
    small.start(peers(3), INITIAL, 0.0)
    assert gather(small, 2, peers(1)) == []
    assert len(gather(small, 2, peers(2)[1:])) == 1
    suspicious = started(20, sample_size=10, success_fraction=0.8, suspicion_s=300.0)
    for peer in peers(20)[6:]:
        suspicious.send_failed(peer, trained(1), 0.0)
    assert gather(suspicious, 2, peers(4)) == []
    assert len(gather(suspicious, 2, peers(5)[4:])) == 1, "⌊7 · 0.8⌋ of p0..p5 and me"


# Liveness ----------------------------------------------------------------------------------------------------------


def after_training(**knobs):
    """A core that has just trained round 4 and looks for the aggregator of round 5 among 12."""
    me = started(12, **knobs)
    me.receive_model(aggregated(4), (), PeerId("p0"), 0.0)
    events(me)
    me.trained(4, trained(4, me.own_id), 0.0)
    order = [peer for peer in me.view.ordered(5) if peer != me.own_id]
    return me, order


def test_both_sides_of_a_ping_learn_the_round():
    me = started()
    me.receive_message(Ping(7, 0, 99), PeerId("p1"), 0.0)
    assert me.messages_to_send(0.0) == [(PeerId("p1"), Pong(7, 0, 99))]
    assert me.view.get(PeerId("p1")).last_round == 7
    me.receive_message(Ping(3, 0, 98), PeerId("p2"), 0.0)
    assert me.view.get(PeerId("p2")).last_round == 7, "the larger of its round and what I know"


def test_a_larger_index_in_a_ping_or_pong_means_joined_again():
    for kind in (Ping, Pong):
        me = started()
        me.receive_message(Advertise(1, 5, Status.LEAVE), PeerId("p1"), 0.0)
        me.receive_message(kind(1, 5, 1), PeerId("p1"), 0.0)
        assert PeerId("p1") not in me.view.active(None)
        me.receive_message(kind(1, 6, 1), PeerId("p1"), 0.0)
        assert PeerId("p1") in me.view.active(None)


def test_a_pong_needs_the_nonce_of_its_ping():
    me, order = after_training(hedge=0)
    (ping,) = pings(me).values()
    me.receive_message(Pong(4, 0, ping.nonce + 1), order[0], 0.1)
    me.receive_message(Pong(4, 0, ping.nonce), order[1], 0.1)
    assert not of_type(SendModel, events(me))
    me.receive_message(Pong(4, 0, ping.nonce), order[0], 0.1)
    assert [event.to for event in of_type(SendModel, events(me))] == order[:1]


def test_a_candidate_is_pinged_again_and_then_replaced_and_suspected():
    me, order = after_training(suspicion_s=300.0)
    if me.view.ordered(5)[0] == me.own_id:
        pytest.fail("choose another name for the core")
    assert list(pings(me)) == order[:1]
    assert me.get_timer() == 1.0
    me.handle_timer(1.0)
    assert list(pings(me)) == order[:1]
    me.handle_timer(5.0)
    assert list(pings(me)) == order[1:2]
    assert me.suspects() == order[:1]


def test_hedged_pings_keep_the_order():
    me, order = after_training(hedge=2)
    found = pings(me)
    assert list(found) == order[:3]
    answer(me, order[1:3], found, 0.1)
    assert not of_type(SendModel, events(me))
    answer(me, order[:1], found, 0.2)
    assert [event.to for event in of_type(SendModel, events(me))] == order[:1]


def test_suspects_come_last_until_they_are_heard_or_it_is_forgotten():
    for forget in ("heard", "later", "never"):
        me = started(12, suspicion_s=300.0)
        me.receive_model(aggregated(4), (), PeerId("p0"), 0.0)
        first, second = [peer for peer in me.view.ordered(5) if peer != me.own_id][:2]
        me.send_failed(first, trained(1), 0.0)
        now = 10.0
        if forget == "heard":
            me.receive_message(Ping(1, 0, 1), first, 1.0)
        elif forget == "later":
            now = 301.0
            me.handle_timer(now)
        me.messages_to_send(now)
        me.trained(4, trained(4), now)
        assert list(pings(me)) == [second if forget == "never" else first], forget


def test_without_suspicion_nobody_is_suspected():
    me = started(12)
    me.send_failed(PeerId("p1"), trained(1), 0.0)
    assert me.suspects() == []


def test_when_the_others_are_used_up_one_batch_of_suspects_is_tried():
    me = started(12, suspicion_s=300.0)
    me.receive_model(aggregated(4), (), PeerId("p0"), 0.0)
    for peer in peers(11):
        me.send_failed(peer, trained(1), 0.0)
    assert len(me._candidates(5, 1)) == 2 + 1, "me, p11 and one more"
    me.send_failed(PeerId("p11"), trained(1), 0.0)
    assert len(me._candidates(5, 1)) == 13, "nobody is left: try all"


def test_hearsay_changes_nobodys_order():
    me, order = after_training(suspicion_s=300.0)
    pings(me)
    me.receive_message(Doubts(tuple(order[:3])), PeerId("p0"), 0.0)
    me.receive_model(aggregated(5), (), PeerId("p0"), 1.0)
    me.trained(5, trained(5), 1.0)
    assert me.suspects() == []
    doubted = [peer for peer in order[:3] if peer != "p0"]
    assert me._candidates(6, 1) == me.view.ordered(6)
    assert me._tasks  # a search is under way
    me.receive_message(Ping(1, 0, 1), doubted[0], 2.0)
    assert doubted[0] not in me._doubted


def test_suspects_are_named_to_those_a_model_is_sent_to():
    me, order = after_training(suspicion_s=300.0)
    found = pings(me)
    me.send_failed(PeerId("p3"), trained(1), 0.0)
    answer(me, order, found, 0.1)
    assert (order[0], Doubts((PeerId("p3"),))) in me.messages_to_send(0.1)


def test_a_failed_transfer_goes_to_the_next_candidate():
    me, order = after_training()
    answer(me, order, pings(me), 0.1)
    (sent,) = of_type(SendModel, events(me))
    me.send_failed(sent.to, sent.ref, 0.5)
    reach_everybody(me, 0.6)
    (again,) = of_type(SendModel, events(me))
    assert (again.to, again.ref) == (order[1], sent.ref)
    assert sent.ref in me.models_in_use()


def test_after_the_aggregators_acknowledgement_the_model_is_not_needed_any_more():
    me, order = after_training()
    answer(me, order, pings(me), 0.1)
    (sent,) = of_type(SendModel, events(me))
    me.receive_message(AggAck(5, success=True), order[4], 0.2)
    assert sent.ref in me.models_in_use(), "not from whom it was sent to"
    me.receive_message(AggAck(5, success=True), sent.to, 0.2)
    assert sent.ref not in me.models_in_use()


# The watchdog ------------------------------------------------------------------------------------------------------


def silent(me, now):
    """Let the watchdog's time go by; return when it woke."""
    assert me.get_timer() is not None
    due = me.get_timer()
    assert now + 30.0 <= due <= now + 45.0
    me.handle_timer(due)
    return due


def test_after_silence_the_next_round_is_started_with_the_newest_model():
    me = started(12, watchdog_s=30.0)
    me.receive_model(aggregated(4, b"four"), (), PeerId("p0"), 0.0)
    me.trained(4, trained(4), 0.0)
    reach_everybody(me, 0.0)
    events(me)
    now = silent(me, 0.0)
    asked = pings(me)
    assert list(asked) == [peer for peer in me.view.ordered(5) if peer != me.own_id][:1]
    answer(me, asked, asked, now)
    reach_everybody(me, now)
    found = events(me)
    (served,) = of_type(SampleServed, found)
    assert (served.round, served.is_restart, served.num_models) == (5, True, 0)
    assert {event.ref for event in of_type(SendModel, found)} == {aggregated(5, b"four")}


def test_who_hears_of_progress_starts_nothing():
    me = started(12, watchdog_s=30.0)
    now = silent(me, 0.0)
    asked = pings(me)
    answer(me, asked, asked, now, round=9)
    assert not pings(me)
    assert not events(me)
    assert me.round_estimate == 9


def test_progress_puts_the_watchdog_off():
    me = started(12, watchdog_s=30.0)
    me.receive_message(Ping(2, 0, 1), PeerId("p0"), 20.0)
    assert me.get_timer() >= 50.0
    me.receive_message(Ping(2, 0, 2), PeerId("p1"), 40.0)
    assert me.get_timer() <= 20.0 + 45.0, "hearing the same again is no progress"


def test_who_holds_an_old_model_waits_longer_and_then_goes_beyond_what_is_known():
    me = started(12, watchdog_s=30.0)
    me.receive_message(Ping(9, 0, 1), PeerId("p0"), 0.0)
    me.messages_to_send(0.0)
    now, wakings = 0.0, 0
    while not (asked := pings(me, now)):
        now = silent(me, now)
        wakings += 1
    assert wakings == 4, "a distance of 8 after 1, 2, 4"
    answer(me, asked, asked, now)
    reach_everybody(me, now)
    (served,) = of_type(SampleServed, events(me))
    assert served.round == 10


def test_watchdogs_do_not_wake_at_once():
    wakes = set()
    for number in range(20):
        me = core(f"me{number}", watchdog_s=30.0)
        me.start(peers(3), INITIAL, 0.0)
        wakes.add(me._watchdog.timer)
    assert len(wakes) == 20
    assert all(30.0 <= wake <= 45.0 for wake in wakes)


def test_who_reaches_nobody_waits():
    me = started(4, watchdog_s=30.0, success_fraction=0.01)
    gather(me, 2, [PeerId("p0")])
    me.aggregated(2, aggregated(2), 1.0)
    for now in range(2, 200):
        me.handle_timer(float(now))
    assert not of_type(TrainModel, events(me))
    assert me.round_estimate == 2
    assert me.counters["rounds_alone"] == 1


def test_a_swarm_of_one_goes_on_alone():
    me = core(sample_size=3)
    me.start([ME], INITIAL, 0.0)
    for round in range(1, 6):
        assert of_type(TrainModel, events(me))[0].round == round
        me.trained(round, trained(round, ME), float(round))
        assert of_type(AggregateModels, events(me)) == [AggregateModels(round + 1, (trained(round + 1, ME),))]
        me.aggregated(round + 1, aggregated(round + 1), float(round))


def test_without_a_watchdog_silence_is_for_ever():
    assert started(12).get_timer() is None


# Joining and leaving -----------------------------------------------------------------------------------------------


def test_a_leave_is_applied_at_once():
    me = started()
    me.receive_message(Advertise(1, 1, Status.LEAVE), PeerId("p1"), 0.0)
    assert PeerId("p1") not in me.view.active(None)


def test_a_join_waits_until_the_next_model_is_sent():
    me, order = after_training()
    found = pings(me)
    me.receive_message(Advertise(0, 1, Status.JOIN), PeerId("new"), 0.0)
    assert PeerId("new") not in me.view
    answer(me, order, found, 0.1)
    (sent,) = of_type(SendModel, events(me))
    assert sent.to != "new"
    assert PeerId("new") in me.view.active(5)
    assert ViewEntry(PeerId("new"), 4, 1) in sent.view_delta


def test_who_leaves_before_it_is_let_in_stays_out():
    me, order = after_training()
    found = pings(me)
    me.receive_message(Advertise(0, 1, Status.JOIN), PeerId("new"), 0.0)
    me.receive_message(Advertise(0, 2, Status.LEAVE), PeerId("new"), 0.0)
    answer(me, order, found, 0.1)
    assert PeerId("new") not in me.view.active(None)


def test_joining_tells_many_and_asks_some():
    me = core(sample_size=2, advertise_fanout=3)
    me.join(peers(20), INITIAL, 0.0)
    sent = me.messages_to_send(0.0)
    assert len(of_type(Advertise, [message for _, message in sent])) == 6
    assert {message.idx for _, message in sent if isinstance(message, Advertise)} == {1}
    assert len(of_type(ViewRequest, [message for _, message in sent])) == 3
    assert not of_type(TrainModel, events(me))


def test_leaving_cancels_and_says_so():
    me = started(12)
    me.receive_model(aggregated(4), (), PeerId("p0"), 0.0)
    events(me)
    me.leave(1.0)
    assert events(me) == [CancelTraining(4)]
    assert Advertise(4, 1, Status.LEAVE) in [message for _, message in me.messages_to_send(1.0)]
    me.receive_message(Ping(4, 0, 1), PeerId("p0"), 2.0)
    me.receive_model(aggregated(5), (), PeerId("p0"), 2.0)
    me.trained(4, trained(4), 2.0)
    me.handle_timer(3.0)
    assert (me.messages_to_send(3.0), events(me), me.get_timer()) == ([], [], None)
    me.leave(3.0)
    assert me.messages_to_send(3.0) == []


def test_coming_back_trains_no_round_twice():
    me = started(12)
    me.receive_model(aggregated(4), (), PeerId("p0"), 0.0)
    me.leave(1.0)
    me.join((), None, 2.0)
    events(me)
    me.receive_model(aggregated(4), (), PeerId("p0"), 3.0)
    assert not of_type(TrainModel, events(me))
    assert (me.view.own.idx, me.view.own.status) == (2, Status.JOIN)


def test_an_aggregator_that_leaves_sends_its_participants_elsewhere():
    leaver = started(12)
    gather(leaver, 2, peers(2))
    leaver.leave(1.0)
    told = {to for to, message in leaver.messages_to_send(1.0) if message == AggAck(2, success=False)}
    assert told == {*peers(2), *leaver.view.ordered(1)[:3]} - {leaver.own_id}

    me, order = after_training()
    answer(me, order, pings(me), 0.1)
    (sent,) = of_type(SendModel, events(me))
    me.receive_message(AggAck(5, success=False), sent.to, 0.5)
    assert sent.to not in me.view.active(None)
    reach_everybody(me, 0.6)
    assert [event.to for event in of_type(SendModel, events(me))] == [order[1]]


def test_who_is_said_to_have_left_says_otherwise_but_not_all_the_time():
    me = started(12)
    me.receive_message(ViewDelta((ViewEntry(me.own_id, 0, 3, Status.LEAVE),)), PeerId("p0"), 6.0)
    assert len(of_type(Advertise, [message for _, message in me.messages_to_send(6.0)])) == 12
    for idx in range(4, 40, 2):
        me.receive_message(ViewDelta((ViewEntry(me.own_id, 0, idx, Status.LEAVE),)), PeerId("p0"), 6.1)
    assert me.messages_to_send(6.1) == []
    assert me.get_timer() == 11.0
    me.handle_timer(11.0)
    told = of_type(Advertise, [message for _, message in me.messages_to_send(11.0)])
    assert {(message.idx, message.change) for message in told} == {(39, Status.JOIN)}


# Views on request --------------------------------------------------------------------------------------------------


def test_the_whole_view_is_sent_on_request_in_parts_and_not_too_often():
    me = started(300)
    me.receive_message(ViewRequest(), PeerId("p0"), 0.0)
    parts = [message for _, message in me.messages_to_send(0.0)]
    assert [len(part.entries) for part in parts] == [MAX_ENTRIES, 301 - MAX_ENTRIES]
    assert tuple(entry for part in parts for entry in part.entries) == me.view.entries()
    me.receive_message(ViewRequest(), PeerId("p0"), 4.9)
    assert me.messages_to_send(4.9) == []
    me.receive_message(ViewRequest(me.view.digest()), PeerId("p0"), 5.0)
    assert me.messages_to_send(5.0) == [], "it has the same"


def test_who_finds_itself_far_behind_asks_for_the_view():
    me = started(12)
    me.receive_message(Ping(3, 0, 1), PeerId("p0"), 0.0)
    assert not of_type(ViewRequest, [message for _, message in me.messages_to_send(0.0)])
    me.receive_message(Ping(90, 0, 1), PeerId("p1"), 0.0)
    assert PeerId("p1") in [to for to, message in me.messages_to_send(0.0) if isinstance(message, ViewRequest)]


# Misuse and malice -------------------------------------------------------------------------------------------------


def test_a_message_of_another_protocol_is_counted_and_nothing_else():
    me = started()
    me.receive_message(Goodbye("leaving"), PeerId("p0"), 0.0)
    assert me.counters["messages_unexpected"] == 1


def test_the_highest_round_on_the_wire_does_no_harm():
    me = started(12, watchdog_s=30.0)
    me.receive_message(Ping(MAX_ROUND, 0, 1), PeerId("p0"), 0.0)
    me.receive_model(aggregated(MAX_ROUND), (), PeerId("p0"), 0.0)
    me.receive_model(aggregated(MAX_ROUND - 1), (), PeerId("p0"), 0.0)
    me.trained(MAX_ROUND - 1, trained(1), 1.0)
    for now in range(2, 2000, 10):
        me.handle_timer(float(now))
        for to, message in me.messages_to_send(float(now)):
            assert message.round <= MAX_ROUND, to


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("sample_size", 0),
        ("aggregators", 65),
        ("success_fraction", 0.0),
        ("success_fraction", 1.5),
        ("ping_timeout_s", 0.0),
        ("activity_window", 0),
        ("aggregation_timeout_s", -1.0),
        ("hedge", -1),
        ("max_members", 1),
        ("sample_size", 2.5),
    ],
)
def test_a_knob_out_of_bounds_is_refused_by_name(knob, value):
    with pytest.raises(ValueError, match=f"modest: {knob} = {value}"):
        ModestConfig(**{knob: value})


def test_every_knob_is_documented():
    for name, hint in typing.get_type_hints(ModestConfig, include_extras=True).items():
        (knob,) = hint.__metadata__
        assert "Larger" in knob.description or "0:" in knob.description or "Costs" in knob.description, name
