"""find(k, c): order, hedging, second pings, replacements."""

import pytest

from peer.core.messages import PeerId
from peer.core.modest_scan import MAX_UNDER_WAY, TRANSITIONS, ProbeInput, ProbeState, Scan, ScanPace

CANDIDATES = [PeerId(f"p{number:02d}") for number in range(40)]
P = CANDIDATES


def scan(wanted=2, *, hedge=0, candidates=CANDIDATES, own_id="me", timeout_s=5.0, doubted=()):
    pace = ScanPace(hedge=hedge, reping_s=1.0, timeout_s=timeout_s)
    return Scan(wanted, candidates, own_id=PeerId(own_id), nonce=7, pace=pace, doubted=doubted)


def test_every_state_has_an_answer_to_what_can_happen():
    expires = {(state, ProbeInput.EXPIRE) for state in ProbeState} - {(ProbeState.WAITING, ProbeInput.EXPIRE)}
    assert set(TRANSITIONS) == {(state, happened) for state in ProbeState for happened in ProbeInput} - expires


def test_the_first_candidates_are_pinged_at_once_and_again_after_a_second():
    search = scan()
    assert search.advance(0.0) == P[:2]
    assert search.advance(0.5) == []
    assert search.next_timer() == 1.0
    assert search.expire(1.0) == (P[:2], [])
    assert search.expire(1.5) == ([], [])
    assert search.next_timer() == 5.0


def test_a_silent_candidate_is_replaced_by_the_next():
    search = scan()
    search.advance(0.0)
    search.pong(P[1])
    assert search.expire(5.0) == ([], [P[0]])
    assert search.advance(5.0) == [P[2]]
    assert search.result() is None
    search.pong(P[2])
    assert search.result() == (P[1], P[2])


def test_hedged_pings_keep_the_order():
    search = scan(1, hedge=2)
    assert search.advance(0.0) == P[:3]
    search.pong(P[2])
    search.pong(P[1])
    assert search.result() is None, "the first one may still answer"
    search.pong(P[0])
    assert search.result() == (P[0],)


def test_hedged_pings_save_the_time_of_the_dead():
    search = scan(1, hedge=2)
    search.advance(0.0)
    search.pong(P[2])
    search.expire(5.0)
    assert search.result() == (P[2],)


def test_where_most_are_dead_more_and_more_are_pinged_at_once():
    search, opened = scan(1, hedge=2), []
    for step in range(4):
        opened.append(len(search.advance(5.0 * step)))
        search.expire(5.0 * step + 5.0)
    assert opened == [3, 6, 12, 19], "doubling until there are no more candidates"
    plain, opened = scan(1), []
    for step in range(4):
        opened.append(len(plain.advance(5.0 * step)))
        plain.expire(5.0 * step + 5.0)
    assert opened == [1, 1, 1, 1], "without hedging one by one"


def test_pings_under_way_are_bounded():
    many = [PeerId(f"q{number:03d}") for number in range(500)]
    search = scan(4, hedge=2, candidates=many, doubted=frozenset(many))
    assert len(search.advance(0.0)) == MAX_UNDER_WAY
    assert search.num_waiting() == MAX_UNDER_WAY
    assert len(scan(100, candidates=many).advance(0.0)) == 100


def test_the_doubted_are_pinged_on_top_and_waited_for_less_long():
    search = scan(1, doubted=frozenset(P[:3]))
    assert search.advance(0.0) == P[:4]
    search.pong(P[3])
    assert search.result() is None, "hearsay does not shut them out"
    assert search.expire(1.0) == (P[:3], [])
    search.pong(P[1])
    assert search.expire(2.0) == ([], [P[0], P[2]])
    assert search.result() == (P[1],)


def test_this_peer_is_live_without_a_ping():
    search = scan(2, own_id=P[1])
    assert search.advance(0.0) == [P[0]]
    search.expire(5.0)
    assert search.advance(5.0) == [P[2]]
    search.pong(P[2])
    assert search.result() == (P[1], P[2])


def test_few_candidates_give_few():
    search = scan(3, candidates=P[:2])
    search.advance(0.0)
    search.pong(P[1])
    search.expire(5.0)
    assert search.result() == (P[1],)
    assert scan(3, candidates=[]).result() == ()


@pytest.mark.parametrize("hedge", [0, 2])
def test_a_candidate_lost_after_all_is_replaced(hedge):
    search = scan(2, hedge=hedge)
    for peer in search.advance(0.0):
        search.pong(peer)
    assert search.result() == (P[0], P[1])
    search.lost(P[0])
    for peer in search.advance(1.0):
        search.pong(peer)
    assert search.result() == (P[1], P[2])


def test_a_pong_that_comes_too_late_or_from_a_stranger_changes_nothing():
    search = scan(1)
    search.advance(0.0)
    search.expire(5.0)
    search.pong(P[0])
    search.pong(PeerId("stranger"))
    assert search.result() is None
    assert search.advance(5.0) == [P[1]]


def test_a_timeout_shorter_than_the_second_ping():
    search = scan(1, timeout_s=0.5)
    search.advance(0.0)
    assert search.next_timer() == 0.5
    assert search.expire(0.5) == ([], [P[0]])
