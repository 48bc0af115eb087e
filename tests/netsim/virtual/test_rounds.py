"""Rounds in a virtual world: times, crashes, partitions, newcomers, without models."""

import pytest

from netsim.virtual.round_peer import RoundPeer
from netsim.virtual.round_protocol import RoundProtocol
from netsim.virtual.watch import InvariantError
from tests.netsim.virtual.worlds import event, world

LATENCY_S = 0.02
STEPS_S = 10 * 0.1  # the ledger's steps


def test_a_round_takes_its_training_an_offer_a_request_and_an_answer():
    played = world(2, rounds={"total": 4})
    played.play()
    # the first exchange waits for nobody: links stand long before the training is over
    assert played.queue.now == pytest.approx(4 * (STEPS_S + 3 * LATENCY_S))
    assert played.stop_reason == "rounds"
    assert played.counters["node_rounds"] == 8


def test_everybody_has_heard_of_everybody():
    played = world(8, topology={"family": {"name": "ring"}}, rounds={"total": 4})
    played.play()
    assert played.learning.accuracy(range(8)).min() == 1.0
    short = world(8, topology={"family": {"name": "ring"}}, rounds={"total": 3})
    short.play()
    assert short.learning.accuracy(range(8)).max() < 1.0  # the opposite is four steps away


def test_one_seed_is_one_run_and_another_seed_another():
    def story(seed):
        played = world(
            12,
            seed=seed,
            topology={"family": {"name": "regular", "degree": 4}},
            links={"latency_s": {"name": "uniform", "low": 0.01, "high": 0.3}, "loss": 0.1},
            timeline=[event(2.0, name="crash", who={"name": "random", "share": 0.3}, for_s=5.0)],
        )
        played.play()
        return (
            played.queue.now,
            played.queue.num_played,
            played.all_counters(),
            played.events,
            played.learning.digest(range(12)),
        )

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_the_dead_are_waited_for_until_their_silence_is_noticed_and_not_longer():
    played = world(5, rounds={"total": 6}, timeline=[event(1.5, name="crash", who={"name": "random", "count": 2})])
    played.play()
    assert len(played.there()) == 3
    assert [len(entry.peers) for entry in played.events] == [2]
    # round 2 waits for the silence of 2 s; the others do not
    assert played.queue.now == pytest.approx(1.5 + 2.0 + 4 * (STEPS_S + 3 * LATENCY_S), abs=0.3)


def test_a_goodbye_is_not_waited_for():
    played = world(5, rounds={"total": 6}, timeline=[event(1.5, name="leave", who={"name": "random", "count": 2})])
    played.play()
    assert played.queue.now == pytest.approx(6 * (STEPS_S + 3 * LATENCY_S), abs=0.1)


def test_who_comes_back_catches_up_with_the_others():
    played = world(
        5,
        rounds={"total": 20, "max_age_rounds": 2},
        timeline=[event(1.5, name="crash", who={"name": "random", "count": 1}, for_s=8.0)],
    )
    victim = None

    def look():
        nonlocal victim
        (victim,) = played.events[0].peers
        assert not played.is_there(victim)

    played.queue.at(3.0, look)
    played.play()
    assert played.is_there(victim)
    assert played.round_of(victim) == 20
    assert played.all_counters()["rounds_skipped"] > 3
    assert played.counters["node_rounds"] < 100


def test_newcomers_are_absent_until_they_join():
    played = world(6, rounds={"total": 10}, timeline=[event(3.0, name="join", who={"name": "random", "count": 4})])
    alive = []
    for at_s in (1.0, 4.0):
        played.queue.at(at_s, lambda: alive.append(len(played.there())))
    played.play()
    assert alive == [2, 6]
    assert {played.round_of(peer) for peer in range(6)} == {10}


def test_nothing_crosses_a_partition_and_all_does_again_after_it():
    played = world(
        8,
        rounds={"total": 30},
        timeline=[event(1.05, name="partition", shares=[0.5, 0.5], for_s=12.0)],  # nothing is on its way at 1.05
    )
    heard = []

    def look():
        heard.extend(played.learning.accuracy(range(8)).tolist())

    played.queue.at(12.9, look)
    played.play()
    assert heard == [0.5] * 8
    assert played.learning.accuracy(range(8)).tolist() == [1.0] * 8
    assert [entry.name for entry in played.events] == ["partition", "heal"]


def test_relays_pass_models_on_without_training():
    played = world(
        3,
        topology={"family": {"name": "star"}},
        peers={"classes": [{"name": "relay", "who": {"name": "hubs", "count": 1}, "holds_data": False}]},
        rounds={"total": 4},
    )
    assert isinstance(played.protocol, RoundProtocol)
    (hub,) = [i for i, group in enumerate(played.cast.groups) if group == "relay"]
    played.learning.forget_data(hub)  # the ledger gives data to all
    played.play()
    heard = played.learning.accuracy(range(3))
    assert heard.max() == pytest.approx(2 / 3)  # nobody has ever heard of data of the hub
    assert heard.min() == pytest.approx(2 / 3)


def test_lost_messages_are_made_up_for():
    played = world(6, rounds={"total": 5, "deadline_s": 60.0}, links={"loss": 0.3})
    played.play()
    assert played.stop_reason == "rounds"
    assert played.learning.accuracy(range(6)).min() == 1.0
    assert played.wire.num_lost > 20


def test_gossip_steps_are_exchanges_without_training():
    played = world(8, topology={"family": {"name": "ring"}}, rounds={"total": 2}, method={"gossip_steps": 4})
    played.play()
    assert played.learning.accuracy(range(8)).min() == 1.0  # four steps reach the opposite of the ring
    assert played.queue.now == pytest.approx(2 * STEPS_S + 8 * 3 * LATENCY_S)
    assert {played.protocol.rounds_of(peer) for peer in range(8)} == {2}


def test_a_slow_peer_is_left_behind_by_a_quorum():
    classes = [{"name": "slow", "share": 0.2, "speed": 0.1}]
    played = world(5, peers={"classes": classes}, rounds={"total": 8, "quorum": 0.75}, stop={"time_s": 9.0})
    played.play()
    (slow,) = [i for i, group in enumerate(played.cast.groups) if group == "slow"]
    assert played.stop_reason == "time"
    assert played.round_of(slow) == 0
    assert min(played.round_of(peer) for peer in range(5) if peer != slow) == 8


def test_the_watch_notices_what_was_never_admitted():
    played = world(3)
    played.watch.checked = lambda *_: None
    with pytest.raises(
        InvariantError, match=r"test, seed 1, at .* peer-0\d+: round 0: snapshot \d of \d was never admitted"
    ):
        played.play()


def test_the_watch_notices_who_stands_still(monkeypatch):
    played = world(3, rounds={"total": 100})
    stuck = played.protocol.peers[1]
    trained = RoundPeer.trained
    monkeypatch.setattr(RoundPeer, "trained", lambda shell, life: None if shell is stuck else trained(shell, life))
    with pytest.raises(InvariantError, match=r"peer-0001: its round should have ended [\d.]+ s ago"):
        played.play()


def test_a_world_where_nobody_can_come_ends():
    played = world(3, stop={"time_s": 100.0}, timeline=[event(0.5, name="crash", who={"name": "random", "share": 1.0})])
    played.play()
    assert played.stop_reason in ("nothing left to happen", "time")
    assert played.there() == []


def test_scenarios_that_differ_in_what_befalls_them_are_one_swarm():
    calm = world(3)
    assert world(3, timeline=[event(1.0, name="heal")], links={"loss": 0.1}).swarm == calm.swarm
    assert world(3, rounds={"total": 6}).swarm != calm.swarm


def test_membership_by_the_daemons_own_gossip():
    """Everybody finds everybody from one dial each; the dead are timed out, and a partition is mended."""
    played = world(
        10,
        topology={"family": {"name": "regular", "degree": 3}, "upkeep": "overlay"},
        rounds={"total": 60, "start_members": 10},
        world={"membership": "gossip"},
        timeline=[
            event(10.0, name="crash", who={"name": "random", "count": 2}),
            event(25.0, name="partition", shares=[0.5, 0.5], for_s=15.0),
        ],
    )
    views = {}

    def look(name):
        views[name] = (
            sorted({len(played.directory.neighbours(peer)) for peer in played.there()}),
            sorted({played.directory.knows(peer) for peer in played.there()}),
        )

    for name, at_s in (("met", 5.0), ("mourned", 20.0), ("apart", 39.0), ("whole", 55.0)):
        played.queue.at(at_s, look, name)
    played.play()
    assert views == {
        "met": ([3], [10]),
        "mourned": ([3], [8]),
        "apart": ([3], [4]),
        "whole": ([3], [8]),
    }
    assert {played.round_of(peer) for peer in played.there()} == {60}
