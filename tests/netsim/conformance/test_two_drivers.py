"""The heap of virtual time and trio with a virtual clock: the same core decides the same, to the bit of every model."""

import pytest

from netsim.scenario.reading import scenario_of, swarm_of
from tests.netsim.conformance.drivers import Setting, play_under_the_heap, play_under_trio


def setting(folder, *, speeds, **rounds):
    scenario = scenario_of(
        {
            "name": "conformance",
            "seeds": [3],
            "peers": {"count": len(speeds)},
            "topology": {"family": {"name": "ring"}},
            "method": {"local_steps": 2, "batch_size": 8, "step": {"name": "sgd", "lr": 0.1, "momentum": 0.5}},
            "rounds": {"total": 6, "deadline_s": 4.0, **rounds},
            "links": {"latency_s": {"name": "uniform", "low": 0.02, "high": 0.05}},
            "world": {"step_s": {"name": "constant", "value": 1.0}, "spread": 0.0},
        },
        "conformance",
    )
    return Setting(scenario, swarm_of(scenario), speeds, folder)


CASES = {
    "in step": {"speeds": [1.0, 1.0, 1.0, 1.0, 1.0], "quorum": 1.0},
    "at different speeds, all waited for": {"speeds": [1.0, 1.31, 0.77, 1.13, 0.59], "quorum": 1.0},
    "half of them waited for": {"speeds": [1.0, 1.7, 0.6, 1.3, 2.3, 0.9], "quorum": 0.5},
    "a straggler that deadlines leave behind": {"speeds": [1.0, 9.7, 1.1, 0.9], "quorum": 1.0, "max_age_rounds": 1},
}


@pytest.mark.parametrize("case", CASES)
async def test_both_drivers_give_the_same(case, tmp_path, autojump_clock):
    one = setting(tmp_path, **CASES[case])
    heap = play_under_the_heap(one)
    trio = await play_under_trio(one)
    assert heap.transcripts == trio.transcripts
    assert heap.models == trio.models
    assert heap.digest() == trio.digest()
    assert all(len(lines) >= 4 for lines in heap.transcripts.values())


async def test_a_difference_would_be_seen(tmp_path, autojump_clock):
    """Latency makes a difference that shows in the digest: it is no constant."""
    one = setting(tmp_path, **CASES["half of them waited for"])
    heap = play_under_the_heap(one)
    trio = await play_under_trio(one, slower=10)
    assert heap.digest() != trio.digest()
