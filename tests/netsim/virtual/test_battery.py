"""Who runs out of charge, and when: by being there, by training, by talking."""

import pytest

from netsim.virtual.battery import LOOK_S
from netsim.virtual.wire import size_of
from peer.core.messages import Refuse
from tests.netsim.virtual.worlds import event, world

ALL = {"name": "random", "share": 1.0}
FIRST = {"name": "listed", "peers": ["peer-0000"]}
IDLE = {"idle_w": 2.0, "train_w": 0.0, "joules_per_mb": 0.0}
FOREVER = {"total": 10_000, "quorum": 1.0, "deadline_s": 5.0}
CALM = {"total": 0, "interval_s": 1000.0}


def constant(value):
    return {"name": "constant", "value": value}


def deaths(played):
    """Return the time at which each peer's battery was found empty."""
    played.play()
    return {peer: entry.at_s for entry in played.events if entry.name == "battery" for peer in entry.peers}


def test_by_being_there():
    battery = {"who": FIRST, "capacity_j": constant(100.0), **IDLE}
    played = world(3, battery=battery, rounds=FOREVER, stop={"time_s": 70.0})
    assert deaths(played) == {0: 50.0}  # 100 J at 2 W, which is when somebody looks
    assert played.there() == [1, 2]
    assert played.counters["crashes"] == played.counters["batteries_empty"] == 1


def test_charges_are_drawn_for_each_peer_and_noticed_within_a_look():
    capacity = {"name": "uniform", "low": 50.0, "high": 200.0}
    played = world(12, battery={"who": ALL, "capacity_j": capacity, **IDLE}, rounds=FOREVER)
    charge = dict(played.batteries._left_j)
    found = deaths(played)
    assert len(set(charge.values())) == 12
    for peer, left_j in charge.items():
        assert 0.0 <= found[peer] - left_j / 2.0 < LOOK_S
    assert played.there() == []
    assert played.stop_reason == "nothing left to happen"


def test_training_counts_by_its_time():
    # steps of 10 x 0.1 s in each round of 1.06 s: two of three peers; the third one holds no data and trains nothing
    battery = {"who": ALL, "capacity_j": constant(100.0), "idle_w": 0.0, "train_w": 10.0, "joules_per_mb": 0.0}
    played = world(3, battery=battery, rounds=FOREVER, stop={"time_s": 40.0})
    played.learning.forget_data(2)
    found = deaths(played)
    assert found == {0: 10.0, 1: 10.0}  # the tenth step begins at 9.5 s
    assert played.there() == [2]


def test_slow_peers_pay_for_the_time_and_not_for_the_steps():
    classes = [{"name": "slow", "who": FIRST, "speed": 0.5}]
    battery = {"who": ALL, "capacity_j": constant(1e9), "idle_w": 0.0, "train_w": 10.0, "joules_per_mb": 0.0}
    played = world(3, peers={"classes": classes}, battery=battery, rounds={"total": 4, "quorum": 1.0})
    played.play()
    assert [1e9 - played.batteries._left_j[peer] for peer in range(3)] == pytest.approx([80.0, 40.0, 40.0])


def test_bytes_count_at_both_ends():
    battery = {"who": ALL, "capacity_j": constant(1e6), "idle_w": 0.0, "train_w": 0.0, "joules_per_mb": 3.0}
    played = world(4, battery=battery, rounds={"total": 6, "quorum": 1.0})
    played.play()
    moved = []
    for peer in range(4):
        played.batteries.go(peer)
        moved.append(played.wire.bytes_in[peer] + played.wire.bytes_out[peer])
    assert min(moved) > 6 * 3 * 20_000
    assert [1e6 - played.batteries._left_j[peer] for peer in range(4)] == pytest.approx(
        [3.0 * one / 1e6 for one in moved]
    )


def test_a_message_is_paid_for_once():
    battery = {"who": ALL, "capacity_j": constant(1e6), "idle_w": 0.0, "train_w": 0.0, "joules_per_mb": 1e6}
    played = world(2, battery=battery, stop={"time_s": 60.0}, rounds={**CALM, "start_members": 2})
    message = Refuse(1, "busy")
    played.queue.at(30.0, played.wire.send, 0, 1, message)
    left = []
    for at_s in (29.0, 45.0, 59.0):
        played.queue.at(at_s, lambda: [played.batteries._settle(peer) for peer in range(2)])
        played.queue.at(at_s, lambda: left.append(list(played.batteries._left_j.values())))
    played.play()
    size = size_of(message)
    assert [a - b for a, b in zip(left[0], left[1], strict=True)] == pytest.approx([size, size])
    assert left[1] == left[2]


def test_an_absent_peer_spends_nothing_and_is_looked_after_when_it_is_back():
    battery = {"who": FIRST, "capacity_j": constant(100.0), **IDLE}
    crash = event(20.0, name="crash", who=FIRST, for_s=31.0)
    played = world(3, battery=battery, rounds=FOREVER, stop={"time_s": 120.0}, timeline=[crash])
    # 40 J by 20 s; back at 51 s, 60 J last until 81 s; looks are at 56, 61, …
    assert deaths(played) == {0: 81.0}


def test_a_newcomers_charge_runs_from_its_arrival():
    battery = {"who": FIRST, "capacity_j": constant(100.0), **IDLE}
    join = event(42.0, name="join", who=FIRST)
    played = world(3, battery=battery, rounds=FOREVER, stop={"time_s": 120.0}, timeline=[join])
    assert deaths(played) == {0: 92.0}


def test_who_is_empty_does_not_come_back():
    battery = {"who": FIRST, "capacity_j": constant(100.0), **IDLE}
    crash = event(60.0, name="crash", who={"name": "random", "share": 1.0}, for_s=5.0)
    played = world(3, battery=battery, rounds=FOREVER, stop={"time_s": 80.0}, timeline=[crash])
    played.queue.at(70.0, played.come, [0])
    assert deaths(played) == {0: 50.0}
    assert played.there() == [1, 2]
