"""Places on the map, and those who move on it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.errors import BadParameterError
from topology.families import registry
from topology.families.placed import Placed, fraction, scatter
from topology.families.torus import shape
from topology.mobility import RandomWaypoint

PLACED = {
    "clustered": {"clusters": 5, "p_in": 0.6, "p_out": 0.1},
    "geometric": {"degree": 6.0},
    "torus": {},
}
EXAMPLES = PLACED | {"erdos-renyi": {"p": 0.1}}

names = st.lists(st.text(max_size=5), max_size=12)


def test_which_families_have_places():
    without_file = [name for name in registry.names() if name != "file"]
    assert {name for name in without_file if isinstance(registry.build(name, EXAMPLES.get(name)), Placed)} == set(
        PLACED
    )


@given(members=names, seed=st.integers(-(2**63), 2**63), data=st.data())
def test_places_are_on_the_map_and_the_same_for_all(members, seed, data):
    shuffled = data.draw(st.permutations(members + members[:3]))
    for place in (scatter, *(registry.build(name, params).positions for name, params in PLACED.items())):
        found = place(members, seed)
        assert found == place(iter(shuffled), seed)
        assert set(found) == set(members)
        assert all(0 <= x < 1 and 0 <= y < 1 for x, y in found.values())


def test_scattered_places_are_uniform_and_independent_of_who_else_is_there():
    found = scatter(range(2000), 1)
    x, y = np.array(list(found.values())).T
    assert np.histogram(x, bins=10, range=(0, 1))[0].tolist() == pytest.approx([200] * 10, abs=55)
    assert np.histogram(y, bins=10, range=(0, 1))[0].tolist() == pytest.approx([200] * 10, abs=55)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.07
    assert scatter([7], 1)[7] == found[7] != scatter([7], 2)[7]


def test_the_greatest_position_is_below_one():
    assert fraction(2**64 - 1) < 1
    assert fraction(0) == 0


@pytest.mark.parametrize("n", [12, 20, 23])
def test_neighbours_on_a_grid_are_next_to_each_other(n):
    family = registry.build("torus", {"wrap": False})
    at = family.positions(range(n), 2)
    rows, columns = shape(n)
    assert len(set(at.values())) == n
    assert (min(x for x, _ in at.values()), max(y for _, y in at.values())) == (0.5 / columns, 1 - 0.5 / rows)
    for a, b in family.build(range(n), 2).edges:
        right, up = abs(at[a][0] - at[b][0]) * columns, abs(at[a][1] - at[b][1]) * rows
        assert sorted((right, up)) == pytest.approx([0, 1], abs=1e-9)


def test_clusters_have_fields_of_their_own():
    family = registry.build("clustered", PLACED["clustered"])
    at = family.positions(range(300), 3)
    fields = {(math.floor(x * 3), math.floor(y * 2), family.cluster(name, 3)) for name, (x, y) in at.items()}
    assert len(fields) == 5
    assert len({field[:2] for field in fields}) == 5


def walkers(slowest=0.1, fastest=0.3, pause=2.0, seed=4):
    return RandomWaypoint(RandomWaypoint.Config(slowest, fastest, pause), seed)


def test_movement_begins_where_members_are_scattered():
    assert walkers().positions(range(5), 0.0) == scatter(range(5), 4)


@given(times=st.lists(st.floats(0, 500), min_size=1, max_size=6))
def test_a_place_is_a_function_of_time_whatever_was_asked_before(times):
    asked = walkers()
    found = [asked.position("a", time_s) for time_s in times]
    assert found == [walkers().position("a", time_s) for time_s in times]
    assert found[::-1] == [asked.position("a", time_s) for time_s in reversed(times)]
    assert all(0 <= x < 1 and 0 <= y < 1 for x, y in found)


def test_the_way_is_continuous_straight_and_within_the_speeds():
    moving = walkers()
    legs, time_s = [], 0.0
    while time_s < 300:
        legs.append(moving.leg(1, time_s))
        time_s = legs[-1].ends_s
    assert len(legs) > 20
    for before, after in itertools.pairwise(legs):
        assert (before.end, before.ends_s) == (after.start, after.leaves_s)
    for leg in legs:
        assert leg.ends_s - leg.arrives_s == pytest.approx(2.0)
        assert 0.1 - 1e-9 <= math.dist(leg.start, leg.end) / (leg.arrives_s - leg.leaves_s) <= 0.3 + 1e-9
        halfway = moving.position(1, (leg.leaves_s + leg.arrives_s) / 2)
        assert halfway == pytest.approx([(a + b) / 2 for a, b in zip(leg.start, leg.end, strict=True)])
        assert moving.position(1, leg.leaves_s) == pytest.approx(leg.start)
        assert moving.position(1, leg.arrives_s) == leg.end == moving.position(1, leg.arrives_s + 1.999)
    speeds = [math.dist(leg.start, leg.end) / (leg.arrives_s - leg.leaves_s) for leg in legs]
    assert max(speeds) - min(speeds) > 0.1


def test_members_move_independently_and_come_to_crowd_the_middle():
    moving = walkers(pause=0.0)
    assert moving.position(1, 50.0) != moving.position(2, 50.0)
    assert moving.position(1, 50.0) != walkers(pause=0.0, seed=5).position(1, 50.0)
    at = np.array(list(moving.positions(range(1500), 60.0).values()))
    middle = (np.abs(at - 0.5) < 0.25).all(axis=1).mean()
    assert middle > 0.33  # 0.25 of them when they are uniform
    lengths = [math.dist(leg.start, leg.end) for leg in (moving.leg(name, 0.0) for name in range(1500))]
    assert np.mean(lengths) == pytest.approx(0.5214, rel=0.05)


def test_a_geometric_graph_follows_those_who_move():
    family = registry.build("geometric", {"radius": 0.3})
    moving = walkers(pause=0.0, seed=4)
    assert family.build_at(moving.positions(range(30), 0.0)) == family.build(range(30), 4)
    graphs = [family.build_at(moving.positions(range(30), time_s)) for time_s in (0.0, 0.2, 20.0)]
    kept = [len(set(graphs[0].edges) & set(graph.edges)) / len(graphs[0].edges) for graph in graphs[1:]]
    assert kept[0] > 0.7 > kept[1]


@pytest.mark.parametrize("time_s", [-1.0, math.nan, math.inf])
def test_times_that_are_none_are_refused(time_s):
    with pytest.raises(ValueError, match="time must be"):
        walkers().position(1, time_s)


def test_speeds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="slowest_per_s"):
        walkers(slowest=0.4)


def test_a_radius_and_a_degree_are_one_too_many():
    for params in ({}, {"radius": 0.1, "degree": 4.0}):
        with pytest.raises(BadParameterError, match="exactly one of radius and degree"):
            registry.build("geometric", params)
