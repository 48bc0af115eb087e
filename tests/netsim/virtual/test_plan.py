"""Models in batches: when and in how many pieces the work is done makes no difference, and it is the daemon's work."""

import numpy as np
import pytest
import torch

from netsim.scenario.reading import swarm_of
from netsim.virtual import plan
from netsim.virtual.run import learning_of
from netsim.virtual.world import World
from peer.core.offers import KEPT
from tests.netsim.conformance.drivers import Setting, Trainers
from tests.netsim.virtual.worlds import event, scenario

METHOD = {"local_steps": 2, "batch_size": 8, "step": {"name": "sgd", "lr": 0.1, "momentum": 0.5}}
LOOSE = {"latency_s": {"name": "uniform", "low": 0.01, "high": 0.3}}


def made(count=7, *, threads=1, seed=1, **tables):
    tables.setdefault("method", METHOD)
    tables.setdefault("links", LOOSE)
    tables.setdefault("topology", {"family": {"name": "regular", "degree": 4}})
    tables.setdefault("rounds", {"total": 4, "quorum": 0.75})
    tables.setdefault("world", {"spread": 0.5})
    return World(scenario(count, **tables), seed, lambda world: learning_of(world, threads))


def play(*arguments, **options):
    world = made(*arguments, **options)
    world.play()
    return world


def digest(world):
    return world.learning.digest(range(len(world.names)))


def test_when_the_work_is_done_makes_no_difference(monkeypatch):
    late = digest(play())
    monkeypatch.setattr(plan, "MIN_WINDOW", 1)
    assert digest(play()) == late


def test_looking_in_between_makes_no_difference():
    quiet, looked = play(), made()
    for at_s in np.arange(0.1, 3.0, 0.1).tolist():
        looked.queue.at(at_s, lambda: looked.learning.accuracy(range(7)))
    looked.play()
    assert digest(looked) == digest(quiet)


def test_threads_make_no_difference():
    assert digest(play(threads=1)) == digest(play(threads=3))


def test_another_seed_does():
    assert digest(play(seed=1)) != digest(play(seed=2))


@pytest.mark.parametrize("mixer", [{"name": "linear"}, {"name": "median"}, {"name": "nna", "f": 1}])
def test_it_is_what_the_daemons_trainers_do(mixer, tmp_path):
    """The same shells over one trainer per peer: the same models, but for the rounding of batched products."""
    # the trainer splits the data by a seed of its own, so here everybody has all of it
    one = scenario(5, method={**METHOD, "mixer": mixer}, links=LOOSE, rounds={"total": 4, "quorum": 1.0}, seeds=[1])
    setting = Setting(one, swarm_of(one), [1.0] * 5, tmp_path)
    identities = {identity.peer_id: identity.public_key for identity in setting.identities}
    worlds = []
    for make in (lambda world: learning_of(world, 1), lambda world: Trainers(setting)):
        world = World(one, 1, make, identities=identities)
        world.play()
        worlds.append(world)
    batched, single = worlds
    ours = batched.learning.models(range(5))
    theirs = torch.stack([trainer._x for trainer in single.learning._trainers])
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.equal(ours[0], ours[1])


def test_a_peer_that_crashed_does_its_steps_again_to_the_bit():
    """Killed between publishing and mixing, it publishes the same once more; the others are where they would be."""
    crashed = play(5, rounds={"total": 3, "quorum": 1.0}, links={"latency_s": {"name": "constant", "value": 0.2}},
                   world={"spread": 0.0}, topology={"family": {"name": "complete"}},
                   timeline=[event(0.25, name="crash", who={"name": "random", "count": 5}, for_s=1.0)])  # fmt: skip
    calm = play(5, rounds={"total": 3, "quorum": 1.0}, links={"latency_s": {"name": "constant", "value": 0.2}},
                world={"spread": 0.0}, topology={"family": {"name": "complete"}})  # fmt: skip
    assert crashed.counters["crashes"] == 5
    assert torch.allclose(crashed.learning.models(range(5)), calm.learning.models(range(5)), rtol=1e-5, atol=1e-6)


def test_rows_are_those_of_models_and_snapshots():
    world = play(20, rounds={"total": 6, "quorum": 1.0})
    world.learning.compute()
    assert 20 <= world.learning._rows.num_held <= (1 + KEPT) * 20
    assert world.learning.state_bytes >= 20 * 4810 * 4


def test_models_of_attackers_are_looked_at_before_they_are_mixed():
    world = play(
        8,
        topology={"family": {"name": "complete"}},
        attack={"attack": {"name": "not-finite"}, "who": {"name": "random", "count": 2}},
    )
    assert world.all_counters()["fault_not_finite"] >= 10  # each honest peer catches both
    honest = [peer for peer in range(8) if peer not in world.cast.attackers]
    assert bool(world.learning.models(honest).isfinite().all())
    bad = world.cast.attackers[0]
    assert not any(bad in world.wire.links[peer] for peer in honest)


def test_an_attack_moves_what_averaging_gives_and_a_robust_rule_less():
    def distance(mixer, attacks):
        attack = {"attack": {"name": "sign-flip"}, "who": {"name": "random", "count": 2}} if attacks else {}
        method = {**METHOD, "local_steps": 10, "mixer": mixer}
        world = play(
            9,
            topology={"family": {"name": "complete"}},
            rounds={"total": 6, "quorum": 1.0},
            attack=attack,
            method=method,
        )
        honest = [peer for peer in range(9) if peer not in world.cast.attackers]
        return world.learning.accuracy(honest).mean()

    assert distance({"name": "linear"}, attacks=True) < distance({"name": "linear"}, attacks=False) - 0.1
    assert distance({"name": "nna", "f": 2}, attacks=True) > distance({"name": "linear"}, attacks=True) + 0.1


def test_nothing_of_a_world_is_left_for_the_next_in_its_process():
    """A worker plays run after run; what a message weighs is learned anew by each world."""
    first = play()
    assert first.wire._sizes
    assert not made().wire._sizes
