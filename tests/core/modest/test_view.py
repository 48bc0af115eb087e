"""The replicated view: a semilattice, deltas that lose nothing, bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.messages import PeerId
from peer.core.modest_messages import MAX_ENTRIES, NO_ACTIVITY, Status, ViewEntry
from peer.core.modest_view import ModestView

ENTRIES = st.builds(
    ViewEntry,
    peer=st.sampled_from([PeerId(name) for name in "abcd"]),
    last_round=st.integers(NO_ACTIVITY, 6),
    idx=st.integers(0, 3),
    status=st.sampled_from(Status),
)
TABLES = st.lists(ENTRIES, max_size=8)


def view(*tables, own_id="me", window=50, max_members=100, **knobs):
    made = ModestView(PeerId(own_id), activity_window=window, max_members=max_members, **knobs)
    for table in tables:
        made.merge(table)
    return made


def entry(peer, last_round=0, idx=0, status=Status.JOIN):
    return ViewEntry(PeerId(peer), last_round, idx, status)


@given(TABLES, TABLES, TABLES)
def test_merging_is_commutative_associative_and_idempotent(one, two, three):
    assert view(one, two).entries() == view(two, one).entries()
    left, right = view(one, two), view(two, three)
    assert view(left.entries(), three).entries() == view(one, right.entries()).entries()
    assert view(one, one).entries() == view(one).entries()
    assert view(one, two).digest() == view(two, one, two).digest()


@given(st.lists(st.tuples(TABLES, st.booleans(), st.booleans())), st.integers(1, 3))
def test_deltas_bring_everything_though_some_are_lost(steps, limit):
    teller, listener = view(own_id="me"), view(own_id="you")
    for table, tells, arrives in steps:
        teller.merge(table)
        if tells:
            delta = teller.delta_for(PeerId("you"), limit)
            assert len(delta) <= limit
            if arrives:
                listener.merge(delta, PeerId("me"))
            else:
                teller.forget_told(PeerId("you"))
    teller.touch(PeerId("you"), 0)
    while delta := teller.delta_for(PeerId("you"), limit):
        listener.merge(delta, PeerId("me"))
    assert listener.entries() == teller.entries()


def test_a_delta_holds_what_changed_since_the_last_one():
    told = view([entry("a"), entry("b"), entry("you")])
    assert {e.peer for e in told.delta_for(PeerId("you"))} == {"a", "b", "me", "you"}
    assert told.delta_for(PeerId("you")) == ()
    told.touch(PeerId("a"), 7)
    assert told.delta_for(PeerId("you")) == (entry("a", 7),)


def test_a_delta_leaves_out_what_its_receiver_told():
    told = view([entry("you")])
    told.delta_for(PeerId("you"))
    told.merge([entry("a", 3)], PeerId("you"))
    assert told.delta_for(PeerId("you")) == ()
    assert entry("a", 3) in told.delta_for(PeerId("other"))


def test_nothing_is_remembered_of_strangers():
    told = view()
    for number in range(200):
        told.delta_for(PeerId(f"stranger {number}"))
    assert not told._told


def test_only_i_change_my_own_entry():
    mine = view(first_idx=2)
    mine.merge([entry("me", 4, 1, Status.LEAVE)])
    assert mine.own == entry("me", 4, 2, Status.JOIN)
    mine.merge([entry("me", 4, 2, Status.LEAVE)])
    assert mine.own == entry("me", 4, 3, Status.JOIN), "refuted with a larger index"
    mine.change_own(Status.LEAVE)
    mine.merge([entry("me", 4, 9, Status.JOIN)])
    mine.change_own(Status.JOIN)
    assert mine.own == entry("me", 4, 10, Status.JOIN)


def test_an_index_at_its_bound_stays_in_it():
    mine = view([entry("me", 0, 2**53, Status.LEAVE)])
    mine.change_own(Status.JOIN)
    assert mine.own.idx == 2**53


def test_a_full_view_lets_newcomers_in_only_for_those_who_are_gone():
    full = view([entry("a", 9), entry("gone", 9, 1, Status.LEAVE), entry("old", 1)], window=5, max_members=4)
    full.merge([entry("late", 3)])
    assert "late" not in full, "inactive itself"
    full.merge([entry("b", 9)])
    full.merge([entry("c", 9)])
    assert {e.peer for e in full.entries()} == {"me", "a", "b", "c"}
    full.merge([entry("d", 9)])
    assert "d" not in full
    assert full.num_refused == 2


def test_names_that_are_not_admitted_stay_out():
    closed = view(admits=lambda peer: peer in ("a", "b"))
    closed.merge([entry("a"), entry("ghost")])
    closed.touch(PeerId("phantom"), 3)
    assert {e.peer for e in closed.entries()} == {"a", "me"}


def test_the_order_hashes_the_bytes_it_is_given():
    tables = [entry(name) for name in "abcdefgh"]
    plain, other = view(tables), view(tables, id_bytes=lambda peer: peer.encode() * 3)
    assert sorted(plain.ordered(1)) == sorted(other.ordered(1))
    assert plain.ordered(1) != other.ordered(1)


def test_leaving_somebody_out_moves_nobody_else():
    most = view([entry(f"p{number}") for number in range(30)])
    fewer = view([entry(f"p{number}") for number in range(0, 30, 2)])
    assert [peer for peer in most.ordered(5) if peer in fewer] == fewer.ordered(5)


@pytest.mark.parametrize("limit", [1, MAX_ENTRIES])
def test_a_delta_is_bounded(limit):
    assert len(view([entry(f"p{n:03}") for n in range(400)], max_members=500).delta_for(PeerId("p001"), limit)) == limit
