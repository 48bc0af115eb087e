"""The shared directory: who is a member when, and what becomes of the graph; static, overlay and repair."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.virtual.cast import names_of
from netsim.virtual.directory import COALESCE_S, Directory
from netsim.virtual.event_queue import EventQueue
from topology.families import registry as families
from topology.graph import Graph
from topology.samplers import registry as samplers

TIMEOUT_S = 4.0


class Circle:
    """A ring in the order of names."""

    def build(self, members, seed):
        names = sorted(members)
        return Graph.from_edges(names, [(a, b) for a, b in pairwise([*names, names[0]]) if a != b])


class Town:
    """A directory of `count` peers; `changes` are the times at which a peer was told of other neighbours."""

    def __init__(self, count=8, *, family=None, sampler="static", upkeep="static", repair_below=2):
        self.queue = EventQueue()
        self.names = names_of(count)
        self.changes = []
        self.directory = Directory(
            self.queue,
            self.names,
            families.build(family) if family else Circle(),
            samplers.build(sampler),
            seed=1,
            upkeep=upkeep,
            repair_below=repair_below,
            timeout_s=TIMEOUT_S,
            changed=lambda peer: self.changes.append((self.queue.now, peer)),
        )

    def begin(self, peers=None):
        for peer in range(len(self.names)) if peers is None else peers:
            self.directory.come(peer)
        self.directory.settle()
        self.changes.clear()

    def at(self, time, verb, *args, **kwargs):
        self.queue.at(time, lambda: verb(*args, **kwargs))

    def around(self, peer):
        return [self.names.index(name) for name in self.directory.neighbours(peer)]


@pytest.mark.parametrize("upkeep", ["static", "overlay", "repair"])
def test_with_all_there_it_is_the_graph_of_the_family(upkeep):
    town = Town(upkeep=upkeep)
    town.begin()
    assert [town.around(peer) for peer in range(8)] == [sorted(((p - 1) % 8, (p + 1) % 8)) for p in range(8)]
    assert town.directory.graph.edges == town.directory.whole.edges
    assert {town.directory.knows(peer) for peer in range(8)} == {8}


@pytest.mark.parametrize(("says_goodbye", "after_s"), [(True, 0.0), (False, TIMEOUT_S)])
def test_a_goodbye_is_known_at_once_and_a_death_after_the_timeout(says_goodbye, after_s):
    town = Town()
    town.begin()
    town.at(10.0, town.directory.go, 3, says_goodbye=says_goodbye)
    town.queue.run()
    assert town.changes == [(10.0 + after_s + COALESCE_S, peer) for peer in (2, 3, 4)]
    assert town.directory.members == {0, 1, 2, 4, 5, 6, 7}
    assert (town.around(2), town.around(4), town.around(3)) == ([1], [5], [])


def test_who_is_back_before_the_timeout_never_went():
    town = Town()
    town.begin()
    town.at(10.0, town.directory.go, 3, says_goodbye=False)
    town.at(13.0, town.directory.come, 3)
    town.at(13.5, town.directory.go, 3, says_goodbye=False)
    town.at(16.0, town.directory.come, 3)
    town.queue.run()
    assert town.changes == []
    assert 3 in town.directory.members


def test_a_newcomer_is_known_at_once():
    town = Town()
    town.begin(range(7))
    assert town.around(7) == []
    town.at(10.0, town.directory.come, 7)
    town.queue.run()
    assert town.changes == [(10.0 + COALESCE_S, peer) for peer in (0, 6, 7)]
    assert town.around(7) == [0, 6]


def test_changes_that_come_together_are_one():
    town = Town()
    town.begin(range(4))
    for number, peer in enumerate((4, 5, 6, 7)):
        town.at(10.0 + 0.01 * number, town.directory.come, peer)
    town.queue.run()
    assert {at for at, _ in town.changes} == {10.0 + COALESCE_S}


def test_an_overlay_is_the_family_over_those_who_are_members():
    town = Town(upkeep="overlay")
    town.begin()
    town.at(10.0, town.directory.go, 3, says_goodbye=True)
    town.queue.run()
    assert (town.around(2), town.around(4)) == ([1, 4], [2, 5])
    assert town.names[3] not in town.directory.graph


@given(
    gone=st.lists(st.integers(0, 19), unique=True, max_size=19),
    back=st.lists(st.integers(0, 19), unique=True, max_size=10),
    below=st.integers(1, 5),
    family=st.sampled_from([None, "star"]),
)
@settings(max_examples=40, deadline=None)
def test_repair_gives_everybody_enough_and_takes_nothing_away(gone, back, below, family):
    town = Town(20, family=family, upkeep="repair", repair_below=below)
    town.begin()

    def check():
        directory = town.directory
        members = sorted(directory.members)
        for peer in members:
            around = town.around(peer)
            assert peer not in around
            assert set(around) <= set(members)
            assert len(around) >= min(below, len(members) - 1)
            assert all(peer in town.around(other) for other in around)
            whole = {town.names.index(name) for name in directory.whole.neighbours(town.names[peer])}
            assert whole & set(members) <= set(around)
        assert all(town.around(peer) == [] for peer in range(20) if peer not in members)

    check()
    for number, peer in enumerate(gone):
        town.at(1.0 + number, town.directory.go, peer, says_goodbye=True)
        town.at(1.5 + number, check)
    for number, peer in enumerate(back):
        town.at(100.0 + number, town.directory.come, peer)
        town.at(100.5 + number, check)
    town.queue.run()


def test_repaired_links_stay_while_both_ends_are_members_and_no_longer():
    town = Town(20, upkeep="repair", repair_below=3)
    town.begin()
    first = {peer: set(town.around(peer)) for peer in range(20)}
    away = next(iter(first[0] - {1, 19}))
    town.at(1.0, town.directory.go, away, says_goodbye=True)
    town.at(2.0, lambda: second.update({peer: set(town.around(peer)) for peer in range(20)}))
    town.at(3.0, town.directory.come, away)
    second = {}
    town.queue.run()
    assert all(second[peer] >= first[peer] - {away} for peer in range(20) if peer != away)
    # nobody who had asked for it gets its old link back: all have enough by now
    assert not any(away in others for others in town.directory._extra.values())
    assert len(town.around(away)) == 3


def test_samplers_draw_anew_in_every_round_among_members():
    town = Town(sampler="matching", family="complete")
    town.begin()
    directory = town.directory
    assert directory.changes_by_round
    pairs = {}
    for round in range(6):
        for peer in range(8):
            senders, receivers = directory.exchange(peer, round)
            assert senders == receivers
            assert len(senders) <= 1
            pairs[round, peer] = senders
            if senders:
                assert directory.exchange(town.names.index(senders[0]), round)[0] == (town.names[peer],)
    assert len({tuple(pairs[round, peer] for peer in range(8)) for round in range(6)}) > 3
    town.at(1.0, directory.go, 3, says_goodbye=True)
    town.queue.run()
    assert directory.exchange(3, 7) == ((), ())
    assert all(town.names[3] not in directory.exchange(peer, round)[0] for peer in range(8) for round in range(20))


def test_a_static_sampler_is_the_neighbours():
    town = Town()
    town.begin()
    assert not town.directory.changes_by_round
    assert town.directory.exchange(3, 17) == (town.directory.neighbours(3),) * 2
