"""Push-sum in a virtual world: mass arrives once or comes back, whatever befalls the peers."""

import numpy as np
import pytest

from netsim.virtual.push_protocol import PushProtocol
from netsim.virtual.watch import InvariantError
from peer.core.mass import MassCore
from tests.netsim.virtual.pure_gossip import StillCohort, models_world, numbers_world, starts
from tests.netsim.virtual.test_pairs import QUICK, UNREST
from tests.netsim.virtual.worlds import event


@pytest.mark.parametrize("count", [1, 3])
def test_everybody_ends_at_the_mean_of_the_beginning(count):
    played = numbers_world("pushes", params={"count": count, "is_paced": False}, rounds={"total": 80}, links=QUICK)
    played.play()
    assert played.stop_reason == "rounds"
    assert np.abs(played.learning.values - starts(16).mean(axis=0)).max() < 1e-6
    assert played.all_counters()["parcels_given"] == 16 * 80 * count


def test_the_sampler_says_to_whom():
    topology = {"sampler": {"name": "one-peer-exponential"}}
    played = numbers_world("pushes", topology=topology, rounds={"total": 80}, links=QUICK)
    played.play()
    assert np.abs(played.learning.values - starts(16).mean(axis=0)).max() < 1e-5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sums_are_kept_under_loss_crashes_and_partitions(seed):
    played = numbers_world(
        "pushes", seed=seed, params={"cancel_after_s": 5.0}, rounds={"total": 90}, links={"loss": 0.1}, timeline=UNREST
    )
    for at_s in range(1, 60):
        played.queue.at(float(at_s), played.watch.balance)
    played.play()
    counted = played.all_counters()
    assert counted["crashes"] > 8
    assert counted["parcels_refunded"] > 0
    assert counted["parcels_delivered"] > 500
    assert np.abs(played.learning.values - starts(16).mean(axis=0)).max() < 0.05


def test_mass_and_weight_are_kept_by_the_real_hooks_under_training():
    played = models_world(
        "pushes",
        {"name": "push-sum"},
        params={"cancel_after_s": 5.0},
        cohort=StillCohort(drift=0.01),
        rounds={"total": 40},
        links={"loss": 0.1},
        timeline=UNREST,
    )
    for at_s in range(1, 40):
        played.queue.at(float(at_s), played.watch.balance)
    played.play()
    assert played.all_counters()["parcels_refunded"] > 0
    protocol = played.protocol
    assert isinstance(protocol, PushProtocol)
    rows = [played.learning._of_version[share].row for share in protocol.under_way()]
    flying = sum(float(played.learning._copies._tensors["pw"][row]) for row in rows)
    assert float(played.learning.state["push-sum.p"].double().sum()) + flying == pytest.approx(16.0, rel=1e-5)


def test_the_watch_notices_a_share_that_is_taken_twice(monkeypatch):
    """A receiver that does not remember what it took."""
    decide = MassCore._decide

    def forgetful(core, sender, number, settled, share):
        core._received.clear()
        decide(core, sender, number, settled, share)

    monkeypatch.setattr(MassCore, "_decide", forgetful)
    played = numbers_world("pushes", params={"cancel_after_s": 5.0}, rounds={"total": 90}, links={"loss": 0.2})
    with pytest.raises(InvariantError, match="half done"):
        played.play()


def test_the_watch_notices_a_share_that_is_taken_back_too_early(monkeypatch):
    """A sender that refunds itself when nobody answers: the textbook mistake."""
    cancel = MassCore._cancel

    def hasty(core, sent, now):
        cancel(core, sent, now)
        core._settle(sent.receiver, sent.number, is_void=True)

    monkeypatch.setattr(MassCore, "_cancel", hasty)
    played = numbers_world("pushes", params={"cancel_after_s": 1.0}, rounds={"total": 90}, links={"loss": 0.2})
    with pytest.raises(InvariantError, match="half done"):
        played.play()


def test_whoever_is_given_nothing_stops_giving_when_paced():
    def least_weight(is_paced):
        played = numbers_world(
            "pushes",
            8,
            params={"is_paced": is_paced},
            topology={"family": {"name": "ring"}},
            rounds={"total": 60},
            links={"loss": 0.3, "silence_s": 10.0},
            timeline=[event(5.0, name="crash", who={"name": "random", "count": 3})],
        )
        least = []

        def look():
            least.append(min(played.learning.mass_ND1[peer, -1] for peer in played.there()))

        for at_s in range(1, 60):
            played.queue.at(float(at_s), look)
        played.play()
        return min(least)

    assert least_weight(is_paced=True) > 10 * least_weight(is_paced=False)


def test_a_silent_receiver_takes_no_more_than_a_window_along():
    played = numbers_world(
        "pushes",
        2,
        params={"window": 2, "is_paced": False},
        rounds={"total": 30},
        links={**QUICK, "silence_s": 100.0},
    )
    played.queue.at(5.0, played.crash, [1])
    played.play()
    assert played.learning.mass_ND1[0, -1] > 1 / 4 * 0.2  # halved twice, not 25 times
