"""The small generator: known numbers, and no more bias than its size allows."""

import statistics

from netsim.virtual.stream import Stream


def test_it_is_splitmix64():
    """The first numbers of the reference implementation from seed 1234567 [Vigna, splitmix64.c]."""
    stream = Stream("x")
    stream._state = 1234567
    assert [stream.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_names_make_streams_of_their_own():
    first = [Stream(seed, name).bits() for seed in range(20) for name in ("a", "b")]
    assert len(set(first)) == 40
    assert first[2] == Stream(1, "a").bits()


def test_numbers_are_uniform():
    stream = Stream(0, "uniform")
    drawn = [stream.random() for _ in range(20_000)]
    assert min(drawn) > 0
    assert max(drawn) < 1
    assert abs(statistics.fmean(drawn) - 0.5) < 0.01
    assert abs(statistics.pvariance(drawn) - 1 / 12) < 0.002


def test_whole_numbers_are_below_their_bound_and_all_occur():
    stream = Stream(0, "below")
    assert {stream.below(7) for _ in range(500)} == set(range(7))
    assert all(2 <= Stream(i).uniform(2, 3) <= 3 for i in range(100))
