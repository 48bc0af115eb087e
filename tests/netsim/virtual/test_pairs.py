"""Meetings of two in a virtual world: atomic under loss and crashes, at the rates and speeds that theory gives."""

import math

import numpy as np
import pytest

from netsim.scenario.checks import check_scenario
from netsim.virtual.pair_peer import PairPeer
from netsim.virtual.pair_protocol import PairProtocol, unit_of
from netsim.virtual.watch import InvariantError
from peer.core.pairing import PairCore
from peer.errors import ConfigError
from tests.netsim.virtual.pure_gossip import StillCohort, models_world, numbers_world, starts
from tests.netsim.virtual.worlds import event, scenario
from topology.families import registry as families
from topology.spectra import chi

RING = {"family": {"name": "ring"}}
QUICK = {"latency_s": {"name": "constant", "value": 0.001}, "silence_s": 0.5}
ACID = {"name": "acid", "chi1": 3.4, "chi2": 0.9}
UNREST = [
    event(3.0, name="crash", who={"name": "random", "share": 0.5}, for_s=6.0),
    event(12.0, name="partition", shares=[0.5, 0.5], for_s=5.0),
    event(18.0, name="crash", who={"name": "random", "share": 0.3}, for_s=3.0),
]


def test_everybody_ends_at_the_mean_of_the_beginning():
    played = numbers_world("pairs", rounds={"total": 60}, links=QUICK)
    played.play()
    assert played.stop_reason == "rounds"
    assert np.abs(played.learning.values - starts(16).mean(axis=0)).max() < 1e-5


def test_meetings_come_at_the_rate_that_was_asked_for():
    played = numbers_world("pairs", params={"rate": 0.5}, rounds={"total": 100}, links=QUICK)
    played.play()
    counted = played.all_counters()
    wanted = 0.5 * 16 / 2 * 100
    met = counted["pairs_proposed"] + counted["meetings_missed"]
    assert met == pytest.approx(wanted, abs=4 * math.sqrt(wanted))
    assert counted["pairs_committed"] > 0.9 * met


def test_local_training_never_waits_for_meetings():
    slow = {"latency_s": {"name": "constant", "value": 3.0}}
    played = numbers_world("pairs", rounds={"total": 20}, links=slow)
    played.play()
    assert played.queue.now == pytest.approx(20 * unit_of(played))
    assert played.all_counters()["pairs_committed"] > 0


@pytest.mark.parametrize("max_answers", [1, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sums_are_kept_under_loss_crashes_and_partitions(seed, max_answers):
    played = numbers_world(
        "pairs",
        seed=seed,
        params={"rate": 3.0, "timeout_s": 1.0, "max_answers": max_answers},
        rounds={"total": 60},
        links={"loss": 0.1},
        timeline=UNREST,
    )
    for at_s in range(1, 40):
        played.queue.at(float(at_s), played.watch.balance)
    played.play()
    counted = played.all_counters()
    assert counted["crashes"] > 8
    assert counted["doubts"] > 0
    assert counted["pairs_committed"] > 100
    assert np.abs(played.learning.values - starts(16).mean(axis=0)).max() < 0.2


def test_an_exchange_may_be_applied_by_its_other_end_a_crash_later():
    """The initiator commits while the responder is gone; the responder comes back, asks, and applies it."""
    played = numbers_world("pairs", 2, params={"timeout_s": 1.0}, rounds={"total": 400}, links=QUICK)
    accepted = PairPeer._send
    gone = []

    def send(shell, to, message):
        accepted(shell, to, message)
        if type(message).__name__ == "Commit" and not gone:
            gone.append(to)
            played.crash([to])
            played.queue.after(20.0, played.come, [to])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PairPeer, "_send", send)
        played.play()
    assert gone
    assert played.all_counters()["doubts_committed"] >= 1
    assert np.abs(played.learning.values.mean(axis=0) - starts(2).mean(axis=0)).max() < 1e-12


def test_the_watch_notices_an_exchange_that_one_end_only_applies():
    played = numbers_world("pairs", rounds={"total": 30}, links=QUICK)
    once = []
    meet = played.learning.meet

    def lost(peer, round, at, own, theirs):
        if at > 5 and not once:
            once.append(peer)
        else:
            meet(peer, round, at, own, theirs)

    played.learning.meet = lost
    with pytest.raises(
        InvariantError, match=r"test, seed 1, at [\d.]+ s: the sum over all peers is off by .*half done"
    ):
        played.play()
    assert once


def test_the_watch_notices_a_core_that_decides_alone(monkeypatch):
    """A responder that gives up what it accepted after a while: the textbook mistake."""

    def give_up(core, one, now):
        core._drop(one) if one.is_doubt else repeat(core, one, now)

    repeat = PairCore._repeat
    monkeypatch.setattr(PairCore, "_repeat", give_up)
    played = numbers_world(
        "pairs", params={"rate": 3.0, "timeout_s": 1.0}, rounds={"total": 100}, links={"loss": 0.2}, timeline=UNREST
    )
    with pytest.raises(InvariantError, match="half done"):
        played.play()


def test_no_copy_is_held_for_longer_than_its_exchange():
    played = numbers_world("pairs", rounds={"total": 40}, links={"loss": 0.1}, timeline=UNREST)
    played.play()
    protocol = played.protocol
    assert isinstance(protocol, PairProtocol)
    open_ = sum(len(shell._held) for shell in protocol.peers)
    assert len(played.learning.holders) <= 2 * open_ + 2 * 16


def test_one_seed_is_one_run_and_another_seed_another():
    def story(seed):
        played = models_world(
            "pairs", {"name": "ad-psgd"}, 8, seed=seed, rounds={"total": 12}, links={"loss": 0.1}, timeline=UNREST[:1]
        )
        played.play()
        return played.queue.num_played, played.all_counters(), played.learning.digest(range(8))

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_results_do_not_depend_on_when_they_are_computed():
    def digest(every_s):
        played = models_world("pairs", ACID, 8, rounds={"total": 15}, cohort=StillCohort(drift=0.01))
        for k in range(1, int(10 / every_s)):
            played.queue.at(k * every_s, played.learning.compute)
        played.play()
        return played.learning.digest(range(8))

    assert digest(0.1) == digest(8.0)


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "ad-psgd"},
        ACID,
        {"name": "dadao", "mu": 1.0, "smoothness": 4.0, "chi1": 0.5},
    ],
)
def test_what_algorithms_conserve_is_kept_under_training_loss_and_crashes(algorithm):
    played = models_world(
        "pairs",
        algorithm,
        params={"rate": 2.0, "timeout_s": 1.0},
        cohort=StillCohort(drift=0.01),
        rounds={"total": 40},
        links={"loss": 0.1},
        timeline=UNREST,
    )
    for at_s in range(1, 40):
        played.queue.at(float(at_s), played.watch.balance)
    played.play()
    assert played.all_counters()["pairs_committed"] > 100


def test_a_half_done_exchange_of_models_is_noticed_under_training():
    played = models_world("pairs", ACID, cohort=StillCohort(drift=0.01), rounds={"total": 30})
    meet, calls = played.learning.meet, []

    def lost(*what):
        calls.append(what)
        if len(calls) != 77:
            meet(*what)

    played.learning.meet = lost
    with pytest.raises(InvariantError, match="half done"):
        played.play()


def decay_rate(algorithm, *, seed, count=16, until=40):
    """Return the rate at which distances from the mean fall per unit of time, on a ring without training."""
    played = models_world("pairs", algorithm, count, seed=seed, topology=RING, rounds={"total": until}, links=QUICK)
    unit_s, seen = unit_of(played), {}

    def look(at):
        for peer in range(count):
            played.learning.freeze(peer, 0, at)  # time passes up to now
        seen[at] = played.learning.consensus(range(count))

    first, last = 10, until - 1
    for at in (first, last):
        played.queue.at(at * unit_s, look, at)
    played.play()
    return math.log(seen[first] / seen[last]) / (last - first)


def test_momentum_agrees_at_least_twice_as_fast_on_a_ring_of_sixteen():
    ring = families.build("ring", {}).build([f"p{i:02d}" for i in range(16)], 1)
    chi1, chi2 = chi(ring, 0.5)  # one meeting per peer and unit: half a one per edge
    plain = np.mean([decay_rate({"name": "ad-psgd"}, seed=seed) for seed in (0, 1)])
    fast = np.mean([decay_rate({"name": "acid", "chi1": chi1, "chi2": chi2}, seed=seed) for seed in (0, 1)])
    assert plain == pytest.approx(1 / chi1, rel=0.15)
    assert fast > 2 * plain


def test_noloco_is_one_exchange_at_a_time():
    played = models_world("pairs", {"name": "noloco"}, rounds={"total": 30}, links=QUICK, params={"rate": 2.0})
    assert played.protocol.config.is_exclusive
    played.play()
    before = float(((starts(16) - starts(16).mean(axis=0)) ** 2).sum(axis=1).mean())
    assert played.learning.consensus(range(16)) < 1e-3 * before


def test_relays_count_time_and_pass_models_on():
    played = numbers_world("pairs", 3, topology={"family": {"name": "star"}}, rounds={"total": 80}, links=QUICK)
    played.learning.forget_data(0)
    played.play()
    assert {played.round_of(peer) for peer in range(3)} == {80}
    assert np.abs(played.learning.values - starts(3).mean(axis=0)).max() < 1e-3


def test_optimal_rates_are_those_of_the_whole_graph():
    pytest.importorskip("cvxpy")
    played = numbers_world("pairs", 5, topology={"family": {"name": "star"}}, params={"rates": "optimal", "rate": 2.0})
    assert sum(played.protocol._optimal.values()) == pytest.approx(5.0)
    assert len(played.protocol._optimal) == 4


@pytest.mark.parametrize(
    ("protocol", "method", "complaint"),
    [
        ("pairs", {"algorithm": {"name": "gossip"}}, "which protocol 'pairs' does not carry"),
        ("pushes", {"algorithm": {"name": "ad-psgd"}}, "which protocol 'pushes' does not carry"),
        ("pairs", {"algorithm": {"name": "ad-psgd"}, "gossip_steps": 2}, "method.gossip_steps"),
        ("pairs", {"algorithm": {"name": "ad-psgd"}, "outer": {"name": "nesterov"}}, "method.outer"),
    ],
)
def test_what_a_protocol_does_not_carry_is_refused(protocol, method, complaint):
    with pytest.raises(ConfigError, match=complaint):
        check_scenario(scenario(protocol={"name": protocol}, method=method), "test.toml")
