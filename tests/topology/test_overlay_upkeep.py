"""The overlay under churn: each peer computes its neighbours alone, all agree, and one event changes few edges.

Over the families that call themselves stable; how much a leave changes in each of them is in `test_stable.py`.
"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.connectivity import connectivity
from topology.disruption import registry as targets
from topology.disruption.cut import without
from topology.families import registry as families

STABLE = {
    "ring": ("ring", {}),
    "regular 3": ("regular", {"degree": 3}),
    "regular 4": ("regular", {"degree": 4}),
    "regular 8": ("regular", {"degree": 8}),
    "erdos-renyi": ("erdos-renyi", {"p": 0.3}),
    "complete": ("complete", {}),
    "star": ("star", {}),
    "barabasi-albert": ("barabasi-albert", {}),
    "clustered": ("clustered", {"clusters": 3, "p_in": 0.6, "p_out": 0.1}),
    "geometric": ("geometric", {"degree": 6.0}),
    "watts-strogatz": ("watts-strogatz", {"rewire": 0.3}),
}
seeds = st.integers(-(2**63), 2**63)
few = settings(max_examples=15, deadline=None)


def built(name):
    family, params = STABLE[name]
    return families.build(family, params)


def regular(degree):
    return families.build("regular", {"degree": degree})


@st.composite
def histories(draw, fewest=0, at_first=8, most_events=12):
    """Member lists, one after the other: somebody new joins or somebody leaves, as long as `fewest` are there."""
    members = [f"peer{i}" for i in range(draw(st.integers(fewest, fewest + at_first)))]
    history = [tuple(members)]
    for number in range(draw(st.integers(1, most_events))):
        if len(members) > fewest and draw(st.booleans()):
            members.remove(draw(st.sampled_from(members)))
        else:
            members.append(f"newcomer{number}")
        history.append(tuple(members))
    return history


def changed(family, before, after, seed):
    """Return the edges that an event takes and gives."""
    return set(family.build(before, seed).edges) ^ set(family.build(after, seed).edges)


def test_no_stable_family_is_forgotten():
    stable = {name for name in families.names() if families.piece(name).stable}
    assert stable == {name for name, _ in STABLE.values()}


@few
@given(history=histories(), seed=seeds, data=st.data())
@pytest.mark.parametrize("name", STABLE)
def test_all_agree_whatever_they_lived_through(name, history, seed, data):
    """A peer that was there from the beginning, one that heard all at once, and one that heard things twice."""
    family = built(name)
    for members in history:
        heard = data.draw(st.permutations(members + members[:2]))
        graph = family.build(members, seed)
        assert graph == family.build(heard, seed)
        assert graph.nodes == tuple(sorted(members))


@few
@given(history=histories(), seed=seeds)
@pytest.mark.parametrize("name", STABLE)
def test_both_ends_of_a_link_know_of_it(name, history, seed):
    family = built(name)
    for members in history:
        graph = family.build(members, seed)
        assert all(a in graph.neighbours(b) and a != b for a in members for b in graph.neighbours(a))


@few
@given(history=histories(fewest=4), seed=seeds)
def test_a_ring_changes_three_edges(history, seed):
    ring = families.build("ring")
    for before, after in pairwise(history):
        assert len(changed(ring, before, after, seed)) == 3 + (min(len(before), len(after)) == 3)


@few
@given(history=histories(), seed=seeds)
@pytest.mark.parametrize("name", ["erdos-renyi", "complete"])
def test_only_edges_of_who_comes_or_goes_change(name, history, seed):
    family = built(name)
    for before, after in pairwise(history):
        (who,) = set(before) ^ set(after)
        assert all(who in edge for edge in changed(family, before, after, seed))


@few
@given(history=histories(fewest=24, at_first=16), seed=seeds)
@pytest.mark.parametrize("degree", [3, 4, 8])
def test_a_regular_graph_changes_few_edges(degree, history, seed):
    """In the mean about 2.3, 1.7 and 2.8 times the degree; a graph drawn anew would change nearly degree·n of them."""
    changes = [len(changed(regular(degree), before, after, seed)) for before, after in pairwise(history)]
    assert max(changes) <= 9 * degree
    assert sum(changes) <= 4 * degree * len(changes) + 5 * degree


@few
@given(history=histories(fewest=1), seed=seeds)
@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_a_regular_graph_is_connected_after_every_event(degree, history, seed):
    assert all(regular(degree).build(members, seed).is_connected() for members in history)


@pytest.mark.parametrize("degree", [3, 4, 5])
@pytest.mark.parametrize("n", [10, 41, 100])
@pytest.mark.parametrize("seed", range(3))
def test_a_regular_graph_is_mended_when_a_third_leaves_at_once(degree, n, seed):
    """All at once, no event in between: the survivors compute a regular graph that keeps most links between them."""
    family = regular(degree)
    whole = family.build(range(n), seed)
    gone = targets.build("random", {"share": 0.3}).choose(whole, whole.nodes, seed=seed, positions={})
    left = without(whole, gone)
    mended = family.build(left.nodes, seed)
    assert mended.is_connected()
    assert min(map(mended.degree, mended.nodes)) >= degree - 1
    assert len(set(left.edges) & set(mended.edges)) >= 0.6 * len(left.edges)


@pytest.mark.parametrize(("degree", "least"), [(3, 0.85), (4, 0.95), (5, 0.97)])
def test_most_survivors_are_connected_before_anybody_mends(degree, least):
    """200 members, 30 % of them gone: the largest component of ten seeds, as a share of those left."""
    for seed in range(10):
        whole = regular(degree).build(range(200), seed)
        gone = targets.build("random", {"share": 0.3}).choose(whole, whole.nodes, seed=seed, positions={})
        assert connectivity(without(whole, gone)).largest_component >= least * 140
