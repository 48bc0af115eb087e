"""The pairing core step by step: two ends, every message in its place."""

from __future__ import annotations

import random

import pytest

from peer.core.messages import Offer, PeerId
from peer.core.pairing import INITIATOR, MAX_LIVES, NONCES_PER_LIFE, RESPONDER, PairCore, Stage, Step
from peer.core.pairing_events import Aborted, Committed, ExchangeId, FreezeCopy, PairConfig, PairMisbehaved
from peer.core.pairing_messages import Abort, Accept, Busy, Commit, Done, Propose, Query
from tests.core.harness import manifest

A, B, C, D = (PeerId(name) for name in "abcd")
CONFIG = PairConfig(timeout_s=10.0, query_after_s=20.0)


def core(name=A, *, life=1, journal=None, config=CONFIG, now=0.0):
    return PairCore(config, name, life=life, rng=random.Random(0), now=now, journal=journal)


def events(one):
    found = []
    while (event := one.next_event()) is not None:
        found.append(event)
    return found


def proposed(one, to=B, now=0.0, vectors=b"mine"):
    """Have `one` propose to `to`; return the nonce."""
    key = one.propose(to, now)
    assert events(one) == [FreezeCopy(key, to)]
    assert one.frozen(key, vectors, now)
    assert one.messages_to_send(now) == [(to, Propose(key.nonce, vectors))]
    return key.nonce


def prepared(one, by=A, nonce=7, now=0.0, vectors=b"mine"):
    """Have `one` accept a proposal of `by`."""
    one.receive_message(Propose(nonce, b"theirs"), by, now)
    assert events(one) == [FreezeCopy(ExchangeId(by, nonce), by, b"theirs")]
    assert one.frozen(ExchangeId(by, nonce), vectors, now)
    assert one.messages_to_send(now) == [(by, Accept(nonce, vectors))]


def test_an_exchange_from_proposal_to_done():
    a, b = core(A), core(B)
    nonce = proposed(a)
    assert nonce == NONCES_PER_LIFE
    prepared(b, nonce=nonce)
    a.receive_message(Accept(nonce, b"yours"), B, 1.0)
    assert events(a) == [Committed(ExchangeId(A, nonce), B, b"mine", b"yours")]
    assert a.messages_to_send(1.0) == [(B, Commit(nonce))]
    b.receive_message(Commit(nonce), A, 2.0)
    assert events(b) == [Committed(ExchangeId(A, nonce), A, b"mine", b"theirs")]
    assert b.messages_to_send(2.0) == [(A, Done(nonce))]
    a.receive_message(Done(nonce), B, 3.0)
    assert (a.get_timer(), b.get_timer()) == (None, None)
    assert (a.journal().unconfirmed, b.journal().prepared) == ((), ())


def test_a_commit_is_repeated_until_done_and_answered_without_being_applied_again():
    a, b = core(A), core(B)
    nonce = proposed(a)
    prepared(b, nonce=nonce)
    a.receive_message(Accept(nonce, b"yours"), B, 0.0)
    a.messages_to_send(0.0)
    for _ in range(3):
        now = a.get_timer()
        a.handle_timer(now)
        assert a.messages_to_send(now) == [(B, Commit(nonce))]
    for _ in range(2):
        b.receive_message(Commit(nonce), A, now)
        assert b.messages_to_send(now) == [(A, Done(nonce))]
    assert len(events(b)) == 1


def test_no_answer_in_time_is_an_abort_and_a_late_accept_is_told_so():
    a = core()
    nonce = proposed(a)
    assert a.get_timer() == 10.0
    a.handle_timer(10.0)
    assert events(a) == [Aborted(ExchangeId(A, nonce), B, b"mine", b"")]
    assert a.messages_to_send(10.0) == [(B, Abort(nonce))]
    a.receive_message(Accept(nonce, b"yours"), B, 11.0)
    assert a.messages_to_send(11.0) == [(B, Abort(nonce))]
    assert events(a) == []


def test_whoever_accepted_asks_and_asks_and_never_decides():
    b = core(B)
    prepared(b)
    now, asked = b.get_timer(), 0
    assert now == 20.0
    while now < 1e6:
        b.handle_timer(now)
        assert b.messages_to_send(now) == [(A, Query(7))]
        asked, now = asked + 1, b.get_timer()
    assert asked > 1000
    assert events(b) == []
    b.receive_message(Commit(7), A, 1e6)  # days later
    assert [type(event) for event in events(b)] == [Committed]


@pytest.mark.parametrize("committed", [True, False])
def test_a_query_is_answered_with_what_the_initiator_knows(committed):
    a = core()
    nonce = proposed(a)
    if committed:
        a.receive_message(Accept(nonce, b"yours"), B, 0.0)
        a.messages_to_send(0.0)
    a.receive_message(Query(nonce), B, 1.0)
    assert a.messages_to_send(1.0) == [(B, Commit(nonce) if committed else Abort(nonce))]
    a.receive_message(Query(12345), C, 1.0)
    assert a.messages_to_send(1.0) == [(C, Abort(12345))]


def test_a_repeated_proposal_is_accepted_again_and_after_the_commit_not():
    b = core(B)
    prepared(b)
    b.receive_message(Propose(7, b"theirs"), A, 1.0)
    assert b.messages_to_send(1.0) == [(A, Accept(7, b"mine"))]
    b.receive_message(Commit(7), A, 2.0)
    b.messages_to_send(2.0)
    events(b)
    b = core(B, life=2, journal=b.journal())
    b.receive_message(Propose(7, b"theirs"), A, 3.0)
    assert (events(b), b.messages_to_send(3.0)) == ([], [])


def test_a_newer_proposal_tells_that_the_older_one_is_off():
    b = core(B)
    prepared(b)
    b.receive_message(Propose(8, b"newer"), A, 1.0)
    assert events(b) == [
        Aborted(ExchangeId(A, 7), A, b"mine", b"theirs"),
        FreezeCopy(ExchangeId(A, 8), A, b"newer"),
    ]


def test_one_exchange_at_a_time_in_each_role_and_doubts_hold_no_slot():
    b = core(B)
    prepared(b, by=A)
    b.receive_message(Propose(3, b"x"), C, 0.0)
    assert b.messages_to_send(0.0) == [(C, Busy(3))]
    proposed(b, to=D)
    assert b.propose(C, 0.0) is None
    b.link_down(A, 1.0)  # now it is in doubt
    assert b.num_doubts == 1
    prepared(b, by=C, nonce=3)


def test_doubts_are_bounded():
    b = core(B, config=PairConfig(max_doubts=2))
    for name in (A, C):
        prepared(b, by=name)
        b.link_down(name, 0.0)
    b.receive_message(Propose(1, b"x"), D, 0.0)
    assert b.messages_to_send(0.0) == [(D, Busy(1))]


def test_one_exchange_in_all_when_exclusive():
    config = PairConfig(is_exclusive=True)
    b = core(B, config=config)
    prepared(b)
    assert b.propose(C, 0.0) is None
    a = core(A, config=config)
    proposed(a)
    a.receive_message(Propose(1, b"x"), C, 0.0)
    assert a.messages_to_send(0.0) == [(C, Busy(1))]


def test_nothing_new_is_proposed_to_whom_has_not_confirmed():
    a = core()
    nonce = proposed(a)
    a.receive_message(Accept(nonce, b"yours"), B, 0.0)
    assert a.propose(B, 0.0) is None
    assert a.propose(C, 0.0) is not None


def test_nothing_new_is_proposed_to_whom_a_commit_is_open_and_not_to_too_many():
    a = core(config=PairConfig(max_unconfirmed=1))
    nonce = proposed(a)
    a.receive_message(Accept(nonce, b"yours"), B, 0.0)
    assert a.propose(B, 0.0) is None
    assert a.propose(C, 0.0) is None
    a.receive_message(Done(nonce), B, 0.0)
    assert a.propose(B, 0.0) is not None


def test_what_was_committed_and_what_was_accepted_survive_a_crash_and_a_proposal_does_not():
    a, b = core(A), core(B)
    nonce = proposed(a)
    prepared(b, nonce=nonce)
    a.receive_message(Accept(nonce, b"yours"), B, 0.0)
    a = core(A, life=2, journal=a.journal(), now=50.0)
    a.handle_timer(50.0)
    assert a.messages_to_send(50.0) == [(B, Commit(nonce))]
    assert events(a) == []  # it was applied before the crash
    b = core(B, life=2, journal=b.journal(), now=50.0)
    b.handle_timer(50.0)
    assert b.messages_to_send(50.0) == [(A, Query(nonce))]
    b.receive_message(Commit(nonce), A, 51.0)
    assert events(b) == [Committed(ExchangeId(A, nonce), A, b"mine", b"theirs")]
    second = proposed(a, to=C)
    assert second == 2 * NONCES_PER_LIFE
    a = core(A, life=3, journal=a.journal())
    a.receive_message(Accept(second, b"c"), C, 60.0)
    assert (C, Abort(second)) in a.messages_to_send(60.0)


def test_bytes_that_do_not_get_through():
    a, b = core(A), core(B)
    nonce = proposed(a)
    a.abandon(ExchangeId(A, nonce), 1.0)
    assert a.messages_to_send(1.0) == [(B, Abort(nonce))]
    assert [type(event) for event in events(a)] == [Aborted]
    prepared(b)
    b.accept_failed(ExchangeId(A, 7), 1.0)
    assert b.messages_to_send(1.0) == [(A, Query(7))]
    b.abandon(ExchangeId(A, 7), 1.0)  # it has no say any more
    assert (events(b), b.messages_to_send(1.0)) == ([], [])


def test_a_copy_that_comes_too_late_or_not_at_all():
    b = core(B)
    b.receive_message(Propose(7, b"theirs"), A, 0.0)
    b.receive_message(Abort(7), A, 0.0)
    assert not b.frozen(ExchangeId(A, 7), b"mine", 1.0)
    b.receive_message(Propose(8, b"theirs"), A, 0.0)
    b.abandon(ExchangeId(A, 8), 1.0)
    assert b.messages_to_send(1.0) == [(A, Busy(8))]


def test_the_newest_nonces_of_so_many_initiators_are_remembered():
    b = core(B, config=PairConfig(max_initiators=2))
    for nonce, name in enumerate((A, C, D)):
        prepared(b, by=name, nonce=nonce)
        b.receive_message(Commit(nonce), name, 0.0)
        b.messages_to_send(0.0)
        events(b)
    assert [peer for peer, _ in b.journal().newest] == [C, D]


@pytest.mark.parametrize(
    ("lie", "sender", "kind"),
    [
        (Commit(99), A, "commit_unasked"),
        (Propose(7, b"other bytes"), A, "equivocation"),
        (Offer(manifest("a")), A, "unexpected_message"),
        (Accept(NONCES_PER_LIFE, b"x"), D, "forged_accept"),
    ],
)
def test_what_no_network_explains_is_misbehaviour(lie, sender, kind):
    b = core(B)
    prepared(b)
    proposed(b, to=C)
    b.receive_message(lie, sender, 1.0)
    assert events(b) == [PairMisbehaved(sender, kind)]
    assert b.messages_to_send(1.0) == []


def test_strangers_settle_nothing():
    a = core()
    nonce = proposed(a)
    for message in (Busy(nonce), Query(nonce), Abort(nonce), Done(nonce), Commit(nonce)):
        a.receive_message(message, C, 1.0)
    assert events(a) == []
    a.receive_message(Accept(nonce, b"yours"), B, 1.0)
    assert [type(event) for event in events(a)] == [Committed]


def test_the_tables_end_where_nothing_is_left():
    for table in (INITIATOR, RESPONDER):
        assert all(stage is not Stage.OVER for stage, _ in table)
    assert (Stage.PREPARED, Step.COMMIT) not in INITIATOR


def test_lives_are_numbered_so_that_nonces_fit():
    with pytest.raises(ValueError, match="life"):
        core(life=MAX_LIVES)
