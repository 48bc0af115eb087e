"""Each event by the verbs that it calls on a stage: whom it concerns, when, and what undoes it."""

import math

import pytest

from netsim.happenings import registry
from tests.netsim.happenings.stage import RecordingStage
from tests.netsim.virtual.worlds import event, world
from topology.errors import BadParameterError, PieceError
from topology.registry import Piece

THREE = {"name": "random", "count": 3}  # on this stage: 3, 4, 5 of those there; 7, 8, 9 of everybody

STORIES = [
    ("crash", {"who": THREE}, [(0, "crash", [3, 4, 5])]),
    ("crash", {"who": THREE, "for_s": 7}, [(0, "crash", [3, 4, 5]), (7, "come", [3, 4, 5])]),
    ("crash", {"who": THREE, "over_s": 4}, [(0, "crash", [3]), (2, "crash", [4]), (4, "crash", [5])]),
    (
        "crash",
        {"who": THREE, "over_s": 4, "for_s": 7},
        [(0, "crash", [3]), (2, "crash", [4]), (4, "crash", [5]), (11, "come", [3, 4, 5])],
    ),
    ("crash", {"who": {"name": "random", "count": 1}, "over_s": 4}, [(0, "crash", [5])]),
    ("leave", {"who": THREE}, [(0, "leave", [3, 4, 5])]),
    (
        "leave",
        {"who": THREE, "over_s": 1, "for_s": 2},
        [(0, "leave", [3]), (0.5, "leave", [4]), (1, "leave", [5]), (3, "come", [3, 4, 5])],
    ),
    ("join", {"who": THREE}, [(0, "come", [7, 8, 9])]),
    ("join", {"who": THREE, "over_s": 1}, [(0, "come", [7]), (0.5, "come", [8]), (1, "come", [9])]),
    ("hub-loss", {"share": 0.5}, [(0, "crash", [3, 4, 5])]),
    ("hub-loss", {"share": 0.5, "for_s": 3}, [(0, "crash", [3, 4, 5]), (3, "come", [3, 4, 5])]),
    ("area-blackout", {"radius": 0.1}, [(0, "crash", [3, 4, 5])]),
    ("area-blackout", {"for_s": 3}, [(0, "crash", [3, 4, 5]), (3, "come", [3, 4, 5])]),
    ("data-loss", {"who": THREE}, [(0, "forget_data", [3, 4, 5])]),
    ("slow-down", {"who": THREE, "factor": 4}, [(0, "slow", ([3, 4, 5], 4.0))]),
    ("slow-down", {"who": THREE, "for_s": 2}, [(0, "slow", ([3, 4, 5], 5.0)), (2, "slow", ([3, 4, 5], 1.0))]),
    ("throttle", {"who": THREE}, [(0, "throttle", ([3, 4, 5], 0.1))]),
    ("throttle", {"who": THREE, "for_s": 2}, [(0, "throttle", ([3, 4, 5], 0.1)), (2, "throttle", ([3, 4, 5], 1.0))]),
    ("link-loss", {"share": 0.3}, [(0, "lose", 0.3)]),
    ("link-loss", {"for_s": 9}, [(0, "lose", 0.1), (9, "lose", -1.0)]),
    ("partition", {}, [(0, "partition", [[0, 1], [2, 3, 4, 5]])]),
    ("partition", {"for_s": 5}, [(0, "partition", [[0, 1], [2, 3, 4, 5]]), (5, "heal", None)]),
    ("heal", {}, [(0, "heal", None)]),
]  # fmt: skip

ASKED = {
    "hub-loss": ({"share": 0.5}, Piece("hubs", {"share": 0.5})),
    "area-blackout": ({"x": 0.1, "y": 0.2, "radius": 0.3}, Piece("area", {"x": 0.1, "y": 0.2, "radius": 0.3})),
    "partition": ({"shares": [0.25, 0.75], "how": "area"}, Piece("area", {"shares": [0.25, 0.75]})),
}

BAD = [
    ("crash", {}, "missing required field"),
    ("crash", {"who": {"count": 3}}, "who: each target needs a name"),
    ("crash", {"who": {"name": "randm", "count": 3}}, "who: unknown target 'randm'; did you mean 'random'"),
    ("crash", {"who": {"name": "random"}}, "who: .*give either share or count"),
    ("crash", {"who": THREE, "for_s": -1}, "for_s"),
    ("crash", {"who": THREE, "over_s": math.nan}, "over_s"),
    ("leave", {"who": {"name": "random", "share": 1.5}}, "who: .*'share'"),
    ("join", {"who": THREE, "for_s": 3}, "no parameter 'for_s'"),
    ("hub-loss", {"share": 0}, "share"),
    ("hub-loss", {"share": 1.1}, "share"),
    ("area-blackout", {"radius": 0}, "radius"),
    ("area-blackout", {"x": 3}, "x"),
    ("data-loss", {"who": {"name": "listed"}}, "who: "),
    ("slow-down", {"who": THREE, "factor": 0}, "factor"),
    ("throttle", {"who": THREE, "factor": -2}, "factor"),
    ("link-loss", {"share": 1.0}, "share"),
    ("partition", {"shares": [0.5, 0.4]}, r"shares must be positive and sum to 1, got \[0.5, 0.4\]"),
    ("partition", {"shares": [1.5, -0.5]}, "shares must be positive"),
    ("partition", {"shares": [1.0]}, "shares"),
    ("partition", {"how": "north"}, "how"),
    ("heal", {"for_s": 3}, "it takes no parameters"),
]


def built(name, params):
    return registry.build(name, params)


@pytest.mark.parametrize(("name", "params", "calls"), STORIES)
def test_the_verbs_and_their_times(name, params, calls):
    stage = RecordingStage()
    assert stage.play(built(name, params)) == calls
    assert {number for _, number in stage.asked} <= {3}  # entries that say the same draw different peers


def test_no_event_is_forgotten_here():
    assert {name for name, _, _ in STORIES} == {name for name, _, _ in BAD} == set(registry.builtin_names())


@pytest.mark.parametrize("name", registry.builtin_names())
def test_what_happens_is_noted_when_it_happens_with_those_whom_it_concerns(name):
    story = next((params, calls) for known, params, calls in STORIES if known == name)
    stage = RecordingStage()
    stage.play(built(name, story[0]))
    at_s, noted, text, peers = stage.notes[0]
    assert (at_s, noted) == (100.0, name)
    assert text
    if name not in ("heal", "link-loss", "partition"):
        hit = story[1][0][2]
        assert list(peers) == (hit[0] if isinstance(hit, tuple) else hit)


@pytest.mark.parametrize("name", sorted(ASKED))
def test_whom_it_asks_for(name):
    params, asked = ASKED[name]
    stage = RecordingStage()
    stage.play(built(name, params))
    assert stage.asked == [(asked, 3)]


@pytest.mark.parametrize(("name", "params", "complaint"), BAD)
def test_bad_parameters_are_refused(name, params, complaint):
    with pytest.raises(PieceError, match=complaint) as caught:
        built(name, params)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BadParameterError)


def test_only_newcomers_are_absent_before():
    for name, params, _ in STORIES:
        absent = list(built(name, params).absent_before(RecordingStage(), 0))
        assert absent == ([7, 8, 9] if name == "join" else [])


# In a real world --------------------------------------------------------------------------------------------------

GEOMETRIC = {"family": {"name": "geometric", "degree": 10}}


def test_a_blackout_takes_exactly_those_within_the_circle():
    blackout = {"name": "area-blackout", "x": 0.3, "y": 0.6, "radius": 0.3}
    played = world(40, topology=GEOMETRIC, rounds={"total": 4}, timeline=[event(1.5, **blackout)])
    played.play()
    places = played.cast.positions
    inside = [peer for peer in range(40) if math.dist(places[played.names[peer]], (0.3, 0.6)) < 0.3]
    assert 5 < len(inside) < 20
    assert played.there() == [peer for peer in range(40) if peer not in inside]
    assert played.events[0].peers == inside


def test_a_partition_by_area_is_strips_from_west_to_east():
    split = {"name": "partition", "shares": [0.25, 0.75], "how": "area"}
    played = world(40, topology=GEOMETRIC, rounds={"total": 4}, timeline=[event(1.5, **split)])
    played.play()
    x = {peer: played.cast.positions[played.names[peer]][0] for peer in range(40)}
    east = played.events[0].peers
    west = [peer for peer in range(40) if peer not in east]
    assert (len(west), len(east)) == (10, 30)
    assert max(x[peer] for peer in west) < min(x[peer] for peer in east)
    assert not any(played.wire.can_reach(a, b) for a in west for b in east)
    assert all(played.wire.can_reach(a, b) for a in west for b in west)


def test_two_entries_that_say_the_same_hit_different_peers():
    data_loss = {"name": "data-loss", "who": {"name": "random", "count": 5}}
    played = world(40, rounds={"total": 2}, timeline=[event(0.5, **data_loss), event(0.6, **data_loss)])
    played.play()
    first, second = (set(entry.peers) for entry in played.events)
    assert first != second


def test_crashes_over_time_and_their_end():
    crash = {"name": "crash", "who": {"name": "random", "count": 3}, "over_s": 2.0, "for_s": 5.0}
    played = world(6, rounds={"total": 12}, timeline=[event(1.0, **crash)])
    alive = []
    for at_s in (0.9, 1.5, 2.5, 3.5, 7.9, 8.1):
        played.queue.at(at_s, lambda: alive.append(len(played.there())))
    played.play()
    assert alive == [6, 5, 4, 3, 3, 6]


def test_what_slows_down_and_is_throttled_is_as_before_when_it_is_over():
    one = {"name": "listed", "peers": ["peer-0000"]}
    played = world(
        3,
        rounds={"total": 30},
        links={"up_bytes_s": {"name": "constant", "value": 1e6}, "loss": 0.01},
        timeline=[
            event(1.0, name="slow-down", who=one, factor=3.0, for_s=4.0),
            event(1.0, name="throttle", who=one, factor=0.5, for_s=4.0),
            event(1.0, name="link-loss", share=0.2, for_s=4.0),
        ],
    )
    seen = []

    def look():
        played.wire.transfer(0, 1, 10**9, lambda: None, lambda: None, lambda: None)
        rate = max(
            played.wire._fair.rate(number) * len(played.wire._fair._uploads[0])
            for number in played.wire._fair._uploads[0]
        )
        seen.append((played.training_time(0, 0), rate, played.wire.loss))

    for at_s in (0.9, 1.1, 5.1):
        played.queue.at(at_s, look)
    played.play()
    assert seen == [(1.0, 1e6, 0.01), (3.0, 5e5, 0.2), (1.0, 1e6, 0.01)]
