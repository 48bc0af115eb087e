"""Poisson clocks: the laws of their counts and gaps, how they add up and split, and that all peers agree on them."""

import math
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.clocks import PoissonClock, merged

rates = st.floats(1e-3, 1e3)
seeds = st.integers(-(2**63), 2**63)
owners = st.text(max_size=4) | st.tuples(st.text(max_size=4), st.text(max_size=4))


def distance_from_exponential(gaps, rate):
    """Return the Kolmogorov–Smirnov statistic."""
    found = np.sort(gaps)
    expected = 1 - np.exp(-rate * found)
    steps = np.arange(len(found) + 1) / len(found)
    return max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())


def until(clocks, end):
    """Return the ticks of `clocks` up to `end`."""
    ticks = []
    for tick in merged(clocks):
        if tick.time > end:
            return ticks
        ticks.append(tick)
    return ticks


def clocks_of_rates(given_rates, seed=0):
    return [PoissonClock(rate, seed, i, "test") for i, rate in enumerate(given_rates)]


# One clock


@settings(max_examples=40, deadline=None)
@given(rate=rates, seed=seeds, owner=owners, asked=st.lists(st.integers(0, 60), max_size=8))
def test_an_event_is_where_it_is_in_whatever_order_one_asks(rate, seed, owner, asked):
    plain, jumping = (PoissonClock(rate, seed, owner, "train") for _ in range(2))
    times = [plain.event(k) for k in range(61)]
    assert [jumping.event(k) for k in asked] == [times[k] for k in asked]
    assert times == sorted(times)
    assert times[0] >= 0


@settings(max_examples=40, deadline=None)
@given(rate=rates, seed=seeds, now=st.floats(-1, 50))
def test_after_and_count(rate, seed, now):
    clock = PoissonClock(rate, seed, "a", "train")
    now /= rate
    number = clock.count(now)
    assert clock.after(now) == clock.event(number) > now
    assert number == 0 or clock.event(number - 1) <= now
    assert clock.count(clock.event(number)) > number


@pytest.mark.parametrize("rate", [0.25, 3.0])
def test_counts_have_the_mean_and_the_variance_of_poisson(rate):
    """800 clocks for 10 units of mean time each: standard errors are 0.11 and 0.5."""
    counts = np.array([PoissonClock(rate, 7, i, "test").count(10 / rate) for i in range(800)])
    assert counts.mean() == pytest.approx(10, abs=0.35)
    assert counts.var() == pytest.approx(10, abs=1.6)


def test_counts_of_disjoint_times_are_not_related():
    clocks = [PoissonClock(1.0, 1, i, "test") for i in range(800)]
    counts = np.array([[clock.count(5), clock.count(10) - clock.count(5)] for clock in clocks])
    assert abs(np.corrcoef(counts.T)[0, 1]) < 0.12


def test_gaps_are_exponential():
    clock = PoissonClock(2.0, 3, "a", "test")
    times = [0.0, *(clock.event(k) for k in range(3000))]
    assert distance_from_exponential([b - a for a, b in pairwise(times)], 2.0) < 1.63 / math.sqrt(3000)  # 1 %


def test_seed_owner_and_purpose_make_a_clock_of_its_own():
    clocks = [
        PoissonClock(1.0, seed, owner, purpose)
        for seed in (0, 1)
        for owner in ("a", "b", "ab", ("a", "b"), ("a", "a"))
        for purpose in ("train", "mix")
    ]
    assert len({clock.event(3) for clock in clocks}) == len(clocks)
    assert PoissonClock(1.0, 0, 1, "x").event(0) != PoissonClock(1.0, 0, "1", "x").event(0)


def test_both_ends_of_an_edge_agree():
    one, other = PoissonClock(1.0, 5, ("b", "a"), "pair"), PoissonClock(1.0, 5, ("a", "b"), "pair")
    assert [one.event(k) for k in range(9)] == [other.event(k) for k in range(9)]
    assert one.owner == ("a", "b")


def test_times_are_frozen():
    """A change here moves all events of running swarms and of recorded simulations."""
    clock = PoissonClock(1.0, 1, "peer", "train")
    assert [clock.event(k) for k in range(3)] == pytest.approx(FROZEN, rel=1e-12)


# Scaled and thinned


@settings(max_examples=40, deadline=None)
@given(rate=rates, factor=st.floats(0.01, 100), seed=seeds, owner=owners)
def test_at_another_rate_it_is_the_same_clock(rate, factor, seed, owner):
    clock = PoissonClock(rate, seed, owner, "train")
    scaled = clock.scaled(factor)
    assert scaled.rate == pytest.approx(rate * factor)
    assert [scaled.event(k) * factor for k in range(20)] == pytest.approx([clock.event(k) for k in range(20)])


def test_a_thinned_clock_is_a_poisson_clock_of_its_rate():
    clock = PoissonClock(4.0, 2, "a", "test").thinned(0.25)
    assert clock.rate == 1.0
    times = [0.0, *(clock.event(k) for k in range(1500))]
    assert distance_from_exponential([b - a for a, b in pairwise(times)], 1.0) < 1.63 / math.sqrt(1500)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, probability=st.floats(0.05, 1))
def test_thinning_keeps_events_and_makes_none(seed, probability):
    clock = PoissonClock(1.0, seed, "a", "test")
    kept = clock.thinned(probability)
    times = [kept.event(k) for k in range(10)]
    everything = [clock.event(k) for k in range(clock.count(times[-1]))]
    assert set(times) <= set(everything)
    assert probability < 1 or times == everything


def test_thinning_twice_multiplies_and_purposes_differ():
    clock = PoissonClock(8.0, 2, "a", "test")
    twice = clock.thinned(0.5).thinned(0.5)
    assert twice.rate == 2.0
    assert twice.count(300) == pytest.approx(600, abs=4 * math.sqrt(600))
    kept = [clock.thinned(0.5, purpose) for purpose in ("lost", "late")]
    lost, late = ({one.event(k) for k in range(one.count(100))} for one in kept)
    both = lost & late
    assert len(both) == pytest.approx(200, abs=60)  # a quarter of 800: neither the same nor the opposite


# Merged


def test_merged_clocks_are_one_of_the_sum_of_rates():
    """Superposition [Kingman 1993, §2.2]: exponential gaps, and the next event is of clock i with r_i / Σ r."""
    given_rates = [0.5, 1.0, 2.5, 4.0]
    ticks = list(islice(merged(clocks_of_rates(given_rates)), 3000))
    times = [0.0, *(tick.time for tick in ticks)]
    assert distance_from_exponential([b - a for a, b in pairwise(times)], 8.0) < 1.63 / math.sqrt(3000)
    owners = np.array([tick.clock.owner[0] for tick in ticks])
    for i, rate in enumerate(given_rates):
        share = rate / 8
        assert (owners == i).mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 3000))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, given_rates=st.lists(st.floats(0.1, 3), max_size=6), order=st.randoms(use_true_random=False))
def test_merging_yields_every_event_once_in_the_order_of_time(seed, given_rates, order):
    clocks = clocks_of_rates(given_rates, seed)
    order.shuffle(clocks)
    ticks = until(clocks, 5.0)
    expected = [(clock.event(k), clock.owner, k) for clock in clocks for k in range(clock.count(5.0))]
    assert [(tick.time, tick.clock.owner, tick.number) for tick in ticks] == sorted(expected)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, after=st.floats(-1, 5))
def test_merging_begins_later_on(seed, after):
    clocks = clocks_of_rates([1.0, 2.0], seed)
    later = [tick for tick in until(clocks, 20.0) if tick.time > after]
    assert list(islice(merged(clocks, after), len(later))) == later


def test_ties_go_by_owner_in_whatever_order_clocks_are_given():
    """Edges of one node share its clock here, so that all of them tick at once."""

    class Echo(PoissonClock):
        def _chance(self, k, purpose):
            return PoissonClock(1.0, 0, "same", "echo")._chance(k, purpose)

    clocks = [Echo(1.0, 0, owner, "echo") for owner in ("b", ("a", "b"), "c", ("a", "c"), "a")]
    expected = [("a",), ("b",), ("c",), ("a", "b"), ("a", "c")]
    for given_order in (clocks, clocks[::-1]):
        ticks = list(islice(merged(given_order), 10))
        assert [tick.clock.owner for tick in ticks] == expected * 2
        assert len({tick.time for tick in ticks}) == 2


def test_no_clock_never_ticks():
    assert list(merged([])) == []


# Bad input


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="positive, finite rate"):
        PoissonClock(rate, 0, "a", "test")


@pytest.mark.parametrize("probability", [0.0, 1.1, math.nan])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(ValueError, match="probability"):
        PoissonClock(1.0, 0, "a", "test").thinned(probability)


def test_times_and_numbers_that_no_event_has_are_refused():
    clock = PoissonClock(1.0, 0, "a", "test")
    for end in (math.inf, math.nan):
        with pytest.raises(ValueError, match="finite time"):
            clock.after(end)
    with pytest.raises(ValueError, match="numbered from 0"):
        clock.event(-1)


FROZEN = [1.346149348081648, 2.2737941677533717, 2.7023140933419953]
