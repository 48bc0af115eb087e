"""The mass core step by step: two ends, every message in its place."""

from __future__ import annotations

import random

import pytest

from peer.core.backoff import Backoff
from peer.core.mass import MassCore
from peer.core.mass_events import MassConfig, MassMisbehaved, Refund, Settled, Take
from peer.core.mass_messages import Cancel, Parcel, Took, Void
from peer.core.messages import Offer, PeerId
from tests.core.harness import manifest

A, B, C = (PeerId(name) for name in "abc")
CONFIG = MassConfig(cancel_after_s=100.0, answer_s=3.0, window=2, max_open=3, retry=Backoff(20.0, 40.0))


def core(*, journal=None, now=0.0, config=CONFIG):
    return MassCore(config, rng=random.Random(0), now=now, journal=journal)


def events(one):
    found = []
    while (event := one.next_event()) is not None:
        found.append(event)
    return found


def test_a_share_is_taken_once_and_settled():
    a, b = core(), core()
    assert a.give(B, b"share", 0.0) == 0
    assert a.messages_to_send(0.0) == [(B, Parcel(0, 0, b"share"))]
    for _ in range(2):
        b.receive_message(Parcel(0, 0, b"share"), A, 1.0)
        assert b.messages_to_send(1.0) == [(A, Took(0))]
    assert events(b) == [Take(A, 0, b"share")]
    for _ in range(2):
        a.receive_message(Took(0), B, 2.0)
    assert events(a) == [Settled(B, 0, b"share")]
    assert (a.get_timer(), a.num_open) == (None, 0)


def test_a_parcel_is_repeated_and_then_asked_back():
    a = core()
    a.give(B, b"share", 0.0)
    a.messages_to_send(0.0)
    said = []
    while (now := a.get_timer()) < 130.0:
        a.handle_timer(now)
        said += [(now, type(message)) for _, message in a.messages_to_send(now)]
    kinds = [kind for _, kind in said]
    assert kinds[:2] == [Parcel, Parcel]
    first = kinds.index(Cancel)
    assert said[first][0] == 100.0
    assert set(kinds[first:]) == {Cancel}
    assert events(a) == []  # nobody takes anything back by itself
    a.receive_message(Void(0), B, 200.0)
    assert events(a) == [Refund(B, 0, b"share")]


def test_what_is_void_is_never_taken_and_what_is_taken_never_void():
    b = core()
    b.receive_message(Cancel(5, 5), A, 0.0)
    b.receive_message(Parcel(5, 5, b"late"), A, 1.0)
    b.receive_message(Parcel(6, 5, b"next"), A, 1.0)
    b.receive_message(Cancel(6, 5), A, 2.0)
    assert [message for _, message in b.messages_to_send(2.0)] == [Void(5), Void(5), Took(6), Took(6)]
    assert events(b) == [Take(A, 6, b"next")]


def test_a_parcel_whose_bytes_got_through_is_asked_after_and_not_sent_again():
    a = core()
    a.give(B, b"share", 0.0)
    a.messages_to_send(0.0)
    a.parcel_sent(B, 0, 1.0)
    assert a.get_timer() == 4.0
    a.handle_timer(4.0)
    assert a.messages_to_send(4.0) == [(B, Cancel(0, 0))]


def test_a_parcel_whose_bytes_did_not_get_through_is_sent_again_soon():
    a = core()
    a.give(B, b"share", 0.0)
    a.messages_to_send(0.0)
    a.parcel_failed(B, 0, 5.0)
    assert 5.0 <= a.get_timer() <= 6.0
    a.handle_timer(6.0)
    assert a.messages_to_send(6.0) == [(B, Parcel(0, 0, b"share"))]


def test_a_link_that_breaks_asks_back_and_one_that_stands_asks_at_once():
    a = core()
    a.give(B, b"share", 0.0)
    a.link_down(B, 1.0)
    a.messages_to_send(1.0)
    a.link_up(B, 2.0)
    assert a.messages_to_send(2.0) == [(B, Cancel(0, 0))]


def test_no_more_is_given_than_the_window_from_the_oldest_open_one():
    a = core()
    assert [a.give(B, b"share", 0.0) for _ in range(3)] == [0, 1, None]
    assert not a.can_give(B)
    a.receive_message(Took(1), B, 0.0)
    assert not a.can_give(B)  # 0 is still open
    a.receive_message(Took(0), B, 0.0)
    assert a.give(B, b"share", 0.0) == 2
    a.messages_to_send(0.0)
    a.receive_message(Took(2), B, 0.0)
    assert [a.give(to, b"share", 0.0) for to in (A, B, C, C)] == [3, 4, 5, None]  # max_open


def test_the_receiver_forgets_what_the_sender_calls_settled():
    b = core()
    for number in range(100):
        b.receive_message(Parcel(number, number, b""), A, 0.0)
    (accounts,) = b.journal().received
    assert (accounts.settled, accounts.taken, accounts.void) == (99, (99,), ())
    b.messages_to_send(0.0)
    b.receive_message(Parcel(3, 3, b""), A, 0.0)  # a late repetition
    assert b.messages_to_send(0.0) == []
    assert len(events(b)) == 100


def test_what_is_not_settled_is_remembered_when_older_parcels_are():
    b = core()
    for number in (0, 1):
        b.receive_message(Parcel(number, 0, b""), A, 0.0)
    b.receive_message(Cancel(2, 1), A, 0.0)
    events(b)
    b.messages_to_send(0.0)
    for number in (1, 2):
        b.receive_message(Parcel(number, 1, b""), A, 0.0)
    assert events(b) == []
    assert b.messages_to_send(0.0) == [(A, Took(1)), (A, Void(2))]


def test_both_sides_survive_a_crash():
    a, b = core(), core()
    a.give(B, b"one", 0.0)
    a.give(B, b"two", 0.0)
    a.receive_message(Took(1), B, 0.0)
    a.cancel(B, 0, 0.0)
    a = core(journal=a.journal(), now=9.0)
    a.handle_timer(9.0)
    assert a.messages_to_send(9.0) == [(B, Cancel(0, 0))]
    assert not a.can_give(B)
    b.receive_message(Parcel(0, 0, b"one"), A, 0.0)
    b = core(journal=b.journal())
    b.receive_message(Parcel(0, 0, b"one"), A, 1.0)
    assert (events(b), b.messages_to_send(1.0)) == ([], [(A, Took(0))])
    a.receive_message(Took(0), B, 10.0)
    assert a.give(B, b"three", 10.0) == 2


def test_what_admission_refuses_is_refunded():
    a, b = core(), core()
    a.give(B, b"nan", 0.0)
    ((_, parcel),) = a.messages_to_send(0.0)
    b.refuse(A, parcel)
    assert b.messages_to_send(0.0) == [(A, Void(0))]
    a.receive_message(Void(0), B, 1.0)
    assert events(a) == [Refund(B, 0, b"nan")]


def test_so_many_senders_are_remembered():
    b = core(config=MassConfig(max_senders=2))
    for name in (A, B, C):
        b.receive_message(Parcel(0, 0, b""), name, 0.0)
    assert [one.sender for one in b.journal().received] == [B, C]


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (Parcel(1, 5, b""), "settled_number"),
        (Parcel(2, 0, b""), "window"),
        (Offer(manifest("a")), "unexpected_message"),
    ],
)
def test_what_no_network_explains_is_misbehaviour(lie, kind):
    b = core()
    for number in range(2):
        b.receive_message(Parcel(number, 0, b""), A, 0.0)
    b.messages_to_send(0.0)
    events(b)
    b.receive_message(lie, A, 0.0)
    assert events(b) == [MassMisbehaved(A, kind)]
    assert b.messages_to_send(0.0) == []


def test_strangers_settle_nothing():
    a = core()
    a.give(B, b"share", 0.0)
    for message in (Took(0), Void(0)):
        a.receive_message(message, C, 0.0)
    assert events(a) == []
