"""Whole swarms in virtual time: the figures of the paper's protocol, and what becomes of them when 80 of 100 die.

A run that fails is repeated by its seed alone. Latency 20-200 ms, transfer 0.3 s, training 1-3 s, n = 100, s = 10.
"""

import random

import pytest

from peer.core.messages import PeerId
from peer.core.modest_messages import Status
from tests.core.modest.harness import INITIAL, Swarm, Weather, config

PLAIN = {"success_fraction": 1.0}
THREE_AGGREGATORS = {"aggregators": 3, "success_fraction": 0.8, "aggregation_timeout_s": 20.0}
ALIVE = {
    "success_fraction": 0.8,
    "aggregation_timeout_s": 20.0,
    "watchdog_s": 30.0,
    "suspicion_s": 300.0,
    "hedge": 2,
}
SEEDS = range(6)


def crashed(seed, knobs, *, every_s):
    """A swarm of 100 of which 80 have died, one `every_s`, from 40 s on."""
    swarm = Swarm(100, config(**knobs), seed=seed)
    victims = random.Random(f"crash {seed}").sample(sorted(swarm.peers), 80)
    for place, victim in enumerate(victims):
        swarm.at(40.0 + every_s * place, lambda name=victim: swarm.crash(name))
    swarm.run(40.0 + every_s * 80)
    assert len(swarm.alive()) == 20
    return swarm


def survives(swarm, *, within_s=100.0):
    """Whether 200 s after the last death there are new rounds within so many seconds."""
    swarm.run(swarm.now + 200.0)
    before = swarm.highest_round()
    swarm.run(swarm.now + within_s)
    return swarm.highest_round() > before


@pytest.mark.parametrize("seed", [0, 1])
def test_round_time_and_pings(seed):
    swarm = Swarm(100, config(**PLAIN), seed=seed)
    swarm.run(210.0)
    rounds = swarm.highest_round()
    assert 3.8 <= 210.0 / rounds <= 4.6
    assert 15 <= swarm.counters["Ping"] / rounds <= 22
    assert 18 <= swarm.counters["models"] / rounds <= 20, "9.9 to the aggregator, 9 back to the sample"


def test_hedging_and_a_watchdog_start_no_round_twice():
    swarm = Swarm(100, config(**ALIVE), seed=0)
    swarm.run(210.0)
    assert not any(served.is_restart for served in swarm.served)
    assert len(swarm.served) == len({served.round for served in swarm.served})


def test_the_papers_protocol_ends_with_the_first_lost_round():
    assert sum(survives(crashed(seed, PLAIN, every_s=2.0)) for seed in SEEDS) == 0


@pytest.mark.slow
def test_three_aggregators_often_survive():
    """Rounds are slow then: every dead candidate costs the ping timeout, one by one."""
    assert sum(survives(crashed(seed, THREE_AGGREGATORS, every_s=2.0), within_s=200.0) for seed in SEEDS) >= 3


@pytest.mark.parametrize("every_s", [0.0, 2.0], ids=["at once", "gradually"])
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[2:])])
def test_with_watchdog_suspicion_and_hedging_the_swarm_survives(seed, every_s):
    swarm = crashed(seed, ALIVE, every_s=every_s)
    assert survives(swarm)
    late = sum(when > swarm.now - 100.0 for when in swarm.first_seen.values())
    assert 100.0 / late <= 8.0, "rounds are about as quick as before"


@pytest.mark.parametrize("number", [2, 3])
def test_the_last_few_of_a_large_swarm_go_on_learning(number):
    swarm = Swarm(40, config(**ALIVE), seed=4)
    swarm.run(30.0)
    for name in sorted(swarm.peers)[number:]:
        swarm.crash(name)
    swarm.run(600.0)
    late = [served for served in swarm.served if served.num_models]
    before = len(late)
    swarm.run(900.0)
    late = [served for served in swarm.served if served.num_models][before:]
    assert len(late) >= 10
    assert all(len(served.sample) == number for served in late)
    assert all(served.num_models >= 2 for served in late), "they average, and do not only pass a model on"


def test_the_models_of_all_come_together():
    swarm = Swarm(20, config(**ALIVE, sample_size=5), seed=1)
    swarm.run(200.0)
    newest = max((peer.core.newest for peer in swarm.peers.values()), key=lambda ref: ref.round)
    assert swarm.lineage[newest.digest] == set(swarm.peers)


def test_the_same_seed_gives_the_same_run():
    runs = [Swarm(30, config(**ALIVE), seed=7, weather=Weather(loss=0.05)) for _ in range(2)]
    for swarm in runs:
        swarm.run(100.0)
    assert runs[0].first_seen == runs[1].first_seen
    assert runs[0].counters == runs[1].counters


def test_a_newcomer_is_sampled_and_one_that_left_is_not():
    swarm = Swarm(15, config(**ALIVE, sample_size=5), seed=2)
    swarm.run(20.0)
    newcomer = swarm.add("peer-new")
    newcomer.core.join([PeerId("peer-00"), PeerId("peer-01")], INITIAL, swarm.now)
    swarm.act(newcomer)
    swarm.run(120.0)
    assert len(newcomer.trained) >= 3
    assert newcomer.trained[0] > 1, "it begins with the round the swarm is in"
    leaver = swarm["peer-03"]
    leaver.core.leave(swarm.now)
    leaver.training = None
    swarm.act(leaver)
    swarm.run(130.0)
    left_at = swarm.highest_round()
    swarm.run(250.0)
    assert all("peer-03" not in served.sample for served in swarm.served if served.round > left_at + 1)
    alive = [peer for peer in swarm.peers.values() if peer is not leaver]
    assert all(peer.core.view.get(PeerId("peer-03")).status is Status.LEAVE for peer in alive)


def test_a_partition_heals():
    swarm = Swarm(20, config(**ALIVE, sample_size=5), seed=3)
    swarm.run(30.0)
    left = set(sorted(swarm.peers)[:8])
    swarm.cut = lambda one, other: (one in left) != (other in left)
    swarm.run(200.0)
    by_side = [max(swarm[name].core.round_estimate for name in side) for side in (left, swarm.peers.keys() - left)]
    assert min(by_side) > 20, "both sides go on"
    swarm.cut = lambda one, other: False
    swarm.run(400.0)
    before = swarm.highest_round()
    swarm.run(450.0)
    sampled = {name for served in swarm.served if served.round > before for name in served.sample}
    assert sampled & left
    assert sampled - left
    estimates = [peer.core.round_estimate for peer in swarm.peers.values()]
    assert max(estimates) - min(estimates) <= 30


def test_an_aggregator_that_leaves_gracefully_costs_no_watchdog():
    """The paper's protocol, without timeouts or watchdog: participants go to the next aggregator by themselves."""
    swarm = Swarm(20, config(sample_size=5, success_fraction=1.0), seed=5)
    swarm.run(20.0)
    gathering = None
    while gathering is None:
        swarm.run(swarm.now + 0.01)
        gathering = next(
            (peer for peer in swarm.peers.values() if peer.core.models_in_use() and peer_gathers(peer)), None
        )
    round = gathering.core._pools.rounds()[0]
    gathering.core.leave(swarm.now)
    gathering.training = None
    swarm.act(gathering)
    swarm.run(swarm.now + 30.0)
    assert swarm.highest_round() > round
    assert all(gathering.core.own_id not in served.sample for served in swarm.served if served.round > round)


def peer_gathers(peer):
    """Whether it has some models, and takes no part in the round before, so that it can go without being missed."""
    rounds = peer.core._pools.rounds()
    return bool(rounds) and peer.core.participant.round < rounds[0] - 1


def test_transfers_that_fail_are_made_up_for():
    swarms = []
    for reports_failures in (False, True):
        weather = Weather(loss=0.1, duplication=0.1, reports_failures=reports_failures)
        swarms.append(Swarm(20, config(**ALIVE, sample_size=5), seed=4, weather=weather))
        swarms[-1].run(300.0)
    silent, told = swarms
    assert told.highest_round() >= 1.3 * silent.highest_round()
    assert any(served.is_restart for served in silent.served)
    assert not any(served.is_restart for served in told.served)
