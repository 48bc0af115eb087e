"""Whatever the network loses, repeats or reorders, and whatever a hostile peer says.

The driver asserts at every step that a peer trains and averages each round at most once, one training at a time, that
timers go away, and that the bytes which events name are in use. Messages cross the wire format when there is loss.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.messages import PeerId
from peer.core.modest_events import AggregateModels, TrainModel
from peer.core.modest_messages import (
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
from peer.core.modest_pools import MAX_POOLS
from peer.core.modest_scan import MAX_UNDER_WAY
from tests.core.modest.harness import INITIAL, Swarm, Weather, config, core

LIVELY = {"watchdog_s": 30.0, "suspicion_s": 60.0, "aggregation_timeout_s": 20.0}


@settings(deadline=None, max_examples=20)
@given(
    number=st.integers(2, 8),
    dead=st.integers(0, 6),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    duplication=st.sampled_from([0.0, 0.5]),
    reports_failures=st.booleans(),
    knobs=st.fixed_dictionaries(
        {
            "sample_size": st.integers(1, 6),
            "aggregators": st.integers(1, 3),
            "success_fraction": st.sampled_from([0.3, 0.8, 1.0]),
            "hedge": st.integers(0, 2),
        }
    ),
    seed=st.integers(0, 2**32),
)
def test_two_that_are_connected_go_on(number, dead, loss, duplication, reports_failures, knobs, seed):
    weather = Weather(latency_s=(0.02, 0.9), loss=loss, duplication=duplication, reports_failures=reports_failures)
    swarm = Swarm(number, config(**LIVELY, **knobs), seed=seed, weather=weather)
    swarm.run(30.0)
    for name in sorted(swarm.peers)[max(2, number - dead) :]:
        swarm.crash(name)
    swarm.run(200.0)
    before = swarm.highest_round()
    while swarm.highest_round() == before:
        swarm.run(swarm.now + 50.0)
        assert swarm.now < 1000.0, "no round for 800 s"
    for name in swarm.alive():
        made = swarm[name].core
        assert len(made._pools.rounds()) <= MAX_POOLS
        assert len(made.view) <= number
        assert len(made.models_in_use()) <= 2 + 3 + MAX_POOLS * knobs["sample_size"]


ROUNDS = st.one_of(st.integers(0, 12), st.integers(0, MAX_ROUND))
COUNTS = st.one_of(st.integers(0, 5), st.integers(0, 2**53))
NAMES = st.sampled_from([PeerId(name) for name in ("me", "a", "b", "c", "d", "ghost", "phantom")])
STATUSES = st.sampled_from(Status)
ENTRIES = st.lists(st.builds(ViewEntry, NAMES, st.integers(-1, MAX_ROUND), COUNTS, STATUSES), max_size=4).map(tuple)
MESSAGES = st.one_of(
    st.builds(Ping, ROUNDS, COUNTS, COUNTS),
    st.builds(Pong, ROUNDS, COUNTS, COUNTS),
    st.builds(Advertise, ROUNDS, COUNTS, STATUSES),
    st.builds(AggAck, ROUNDS, success=st.booleans()),
    st.builds(Doubts, st.lists(NAMES, max_size=4).map(tuple)),
    st.builds(ViewRequest, st.binary(max_size=16)),
    st.builds(ViewDelta, ENTRIES),
)
REFS = st.builds(ModelRef, ROUNDS, st.sampled_from(["trained", "aggregated"]), NAMES, st.binary(max_size=2))
STEPS = st.one_of(
    st.tuples(st.just("say"), NAMES, MESSAGES),
    st.tuples(st.just("echo"), NAMES, st.booleans()),
    st.tuples(st.just("model"), NAMES, st.tuples(REFS, ENTRIES)),
    st.tuples(st.just("fail"), NAMES, REFS),
    st.tuples(st.just("wait"), NAMES, st.sampled_from([0.5, 3.0, 40.0])),
    st.tuples(st.just("leave"), NAMES, st.booleans()),
    st.tuples(st.just("join"), NAMES, st.booleans()),
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(STEPS, max_size=60), st.integers(1, 4), st.integers(0, 2), st.sampled_from([0, 8]), st.integers(0, 2**32)
)
def test_nothing_that_is_said_raises_or_fills_the_memory(steps, sample_size, hedge, total_rounds, seed):
    rng = random.Random(seed)
    me = core(**LIVELY, sample_size=sample_size, hedge=hedge, total_rounds=total_rounds, max_members=5)
    me.start([PeerId(name) for name in "abc"], INITIAL, 0.0)
    now, trained, averaged, asked = 0.0, [], [], []
    for what, name, detail in steps:
        now += 0.1
        match what:
            case "say":
                me.receive_message(detail, name, now)
            case "echo":
                for to, ping in asked:
                    me.receive_message(Pong(ping.round, 0, ping.nonce), to if detail else name, now)
            case "model":
                me.receive_model(*detail, name, now)
            case "fail":
                me.send_failed(name, detail, now)
            case "wait":
                now += detail
                me.handle_timer(now)
            case "leave":
                me.leave(now)
            case "join":
                me.join([name], INITIAL if detail else None, now)
        for event in iter(me.next_event, None):
            ref = ModelRef(0, "trained", PeerId("me"), b"mine")
            if isinstance(event, TrainModel):
                trained.append(event.round)
                if rng.random() < 0.5:
                    me.trained(event.round, ref, now)
            elif isinstance(event, AggregateModels):
                averaged.append(event.round)
                assert 1 <= len(event.refs) <= sample_size
                if rng.random() < 0.5:
                    me.aggregated(event.round, ref, now)
        sent = me.messages_to_send(now)
        assert all(to != "me" for to, _ in sent)
        asked = [(to, message) for to, message in sent if isinstance(message, Ping)]
        assert len(me.view) <= 5
        assert len(me._pools.rounds()) <= MAX_POOLS
        assert len(me.suspects()) <= 5
        assert me.num_pings_under_way() <= 3 * MAX_UNDER_WAY
        if (due := me.get_timer()) is not None and due <= now:
            me.handle_timer(now)
            assert me.get_timer() is None or me.get_timer() > now
    assert trained == sorted(set(trained))
    assert averaged == sorted(set(averaged))
    assert not total_rounds or max(trained, default=0) <= total_rounds
