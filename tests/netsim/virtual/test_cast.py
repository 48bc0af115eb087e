"""Who is who: classes by share and by target, speeds, access links, attackers; all by the seed."""

import math
from statistics import mean, stdev

from netsim.virtual.cast import OTHERS, cast_of, names_of
from tests.netsim.virtual.worlds import scenario
from topology.families import registry as families
from topology.families.placed import scatter


def cast(count=40, *, seed=1, **tables):
    names = names_of(count)
    graph = families.build("barabasi-albert", {"m": 2}).build(names, seed)
    return cast_of(scenario(count, **tables), seed, names, graph, scatter(names, seed)), graph


def groups(made):
    return {group: [i for i, one in enumerate(made.groups) if one == group] for group in dict.fromkeys(made.groups)}


def test_names_sort_as_they_are_numbered():
    for count in (1, 12, 10_001):
        names = names_of(count)
        assert list(names) == sorted(names)
        assert len(set(names)) == count


def test_classes_by_share_have_their_size_and_do_not_overlap():
    classes = [{"name": "a", "share": 0.145}, {"name": "b", "share": 0.6}, {"name": "c", "share": 0.255}]
    made, _ = cast(100, peers={"classes": classes})
    # halves up, of the decimal number that was written: 14.5 → 15; what is then left goes to the last
    assert {name: len(peers) for name, peers in groups(made).items()} == {"a": 15, "b": 60, "c": 25}
    again, _ = cast(100, peers={"classes": classes})
    other, _ = cast(100, peers={"classes": classes}, seed=2)
    assert made.groups == again.groups != other.groups


def test_the_first_class_that_would_take_a_peer_gets_it():
    hubs = {"name": "hubs", "count": 4}
    made, graph = cast(
        peers={
            "classes": [
                {"name": "hub", "who": hubs, "holds_data": False, "churns": False},
                {"name": "large", "who": {"name": "hubs", "count": 6}},
                {"name": "rest", "share": 0.5},
            ]
        }
    )
    by_degree = sorted(range(40), key=lambda i: (-graph.degree(made.names[i]), i))
    assert groups(made)["hub"] == sorted(by_degree[:4])
    assert groups(made)["large"] == sorted(by_degree[4:6])
    assert len(groups(made)["rest"]) == 20
    assert len(groups(made)[OTHERS]) == 14
    assert [i for i, holds in enumerate(made.holds_data) if not holds] == groups(made)["hub"]
    assert [i for i, churns in enumerate(made.churns) if not churns] == groups(made)["hub"]


def test_random_targets_of_different_purpose_hit_different_peers():
    some = {"name": "random", "share": 0.25}
    made, _ = cast(
        peers={"classes": [{"name": "a", "who": some}, {"name": "b", "who": some}]},
        attack={"attack": {"name": "alie"}, "who": some},
    )
    found = groups(made)
    assert len(found["a"]) == 10
    assert 0 < len(found["b"]) <= 10  # by the same draw, all of b would be taken already
    assert set(made.attackers) != set(found["a"])
    assert len(made.attackers) == 10


def test_speeds_are_of_the_class_with_the_spread_of_the_world():
    classes = [{"name": "slow", "share": 0.5, "speed": 0.1}]
    exact, _ = cast(peers={"classes": classes})
    assert {round(speed, 9) for speed in exact.speed} == {0.1, 1.0}
    made, _ = cast(2000, peers={"classes": classes}, world={"spread": 0.3})
    logs = {
        group: [math.log(made.speed[i]) for i in peers] for group, peers in groups(made).items()
    }  # normal around the logarithm of the speed of the class
    assert abs(mean(logs[OTHERS])) < 0.05
    assert abs(mean(logs["slow"]) - math.log(0.1)) < 0.05
    assert abs(stdev(logs["slow"]) - 0.3) < 0.03


def test_links_are_of_the_class_or_else_of_all():
    classes = [{"name": "phone", "share": 0.5, "up_bytes_s": {"name": "constant", "value": 1e5}}]
    unlimited, _ = cast()
    assert not unlimited.is_limited
    made, _ = cast(peers={"classes": classes}, links={"down_bytes_s": {"name": "uniform", "low": 1e6, "high": 2e6}})
    assert made.is_limited
    phones = groups(made)["phone"]
    assert {made.up_bytes_s[i] for i in phones} == {1e5}
    assert {made.up_bytes_s[i] for i in groups(made)[OTHERS]} == {math.inf}
    assert all(1e6 <= rate <= 2e6 for rate in made.down_bytes_s)
    assert len(set(made.down_bytes_s)) == 40
