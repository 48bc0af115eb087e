from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.experiments.report.curves import (
    bands_over_peers,
    common_grid,
    estimate,
    mean_with_confidence,
    stepped,
    straight,
    t_quantile,
    thresholds,
    time_to,
)

instants = st.lists(st.integers(0, 50), min_size=1, max_size=12).map(sorted)


@given(instants, st.data())
def test_a_curve_keeps_its_value_until_it_is_measured_again(times: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(times), max_size=len(times)))
    grid = np.arange(-1.0, 53.0, 0.5)
    got = stepped(np.array(times, dtype=float), np.array(values), grid)
    for at, value in zip(grid, got, strict=True):
        earlier = [value for time, value in zip(times, values, strict=True) if time <= at]
        assert math.isnan(value) if not earlier else value == earlier[-1]


@given(instants, st.data())
def test_straight_lines_go_through_the_last_measurement_of_each_instant(times: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(times), max_size=len(times)))
    last = dict(zip(times, values, strict=True))
    x, y = np.array(times, dtype=float), np.array(values)
    assert straight(x, y, np.array(sorted(last), dtype=float)).tolist() == [last[time] for time in sorted(last)]
    before, after = straight(x, y, np.array([times[0] - 1.0, times[-1] + 1.0]))
    assert math.isnan(before)
    assert after == last[times[-1]]
    assert straight(np.array([0.0, 2.0]), np.array([1.0, 5.0]), np.array([0.5])).tolist() == [2.0]


@given(st.lists(instants, min_size=1, max_size=4))
def test_the_grid_has_every_instant_once(times: list[list[int]]) -> None:
    grid = common_grid([np.array(one, dtype=float) for one in times])
    assert grid.tolist() == sorted(set(itertools.chain.from_iterable(times)))


def test_a_grid_of_too_many_instants_is_evenly_spaced_from_first_to_last() -> None:
    grid = common_grid([np.arange(0.0, 1000.0), np.arange(0.5, 1000.0)], points=400)
    assert (len(grid), grid[0], grid[-1]) == (400, 0.0, 999.5)
    assert np.ptp(np.diff(grid)) < 1e-9


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # Abramowitz & Stegun 1964, table 26.10; R's qt(0.975, ν) for 31, 50 and 1000
    [(1, 12.706), (4, 2.776), (9, 2.262), (30, 2.042), (31, 2.0395), (40, 2.0211), (50, 2.0086), (1000, 1.9623)],
)
def test_students_t(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=5e-4)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20))
def test_confidence_is_that_of_the_textbook(values: list[float]) -> None:
    got = estimate(values)
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    assert got.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert got.half_width == pytest.approx(half, abs=1e-9)
    assert got.num_runs == len(values)


def test_what_is_missing_is_left_out_point_by_point() -> None:
    mean, half = mean_with_confidence(np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan]]))
    assert mean[:2].tolist() == [2.0, 1.0]
    assert half[0] == pytest.approx(12.706 * math.sqrt(2) / math.sqrt(2))
    assert np.isnan([mean[2], half[1], half[2]]).all()
    assert estimate([None, 0.5]).mean == 0.5
    assert math.isnan(estimate([None, 0.5]).half_width)
    assert estimate([]).num_runs == 0


def test_bands_are_quantiles_over_the_peers_of_each_instant() -> None:
    at_s = np.repeat([0.0, 1.0, 2.0], 11)
    value = np.concatenate([np.arange(11.0), np.full(11, np.nan), np.arange(11.0) * 2])
    bands = bands_over_peers(at_s, value)
    assert bands.at_s.tolist() == [0.0, 1.0, 2.0]
    assert [bands.low[0], bands.p10[0], bands.mean[0], bands.p90[0], bands.high[0]] == [0, 1, 5, 9, 10]
    assert np.isnan(bands.mean[1])
    assert bands.p90[2] == 18
    odd = bands_over_peers(at_s, value, np.arange(33) % 11 == 3)
    assert odd.low[0] == odd.high[0] == 3
    assert bands_over_peers(np.empty(0), np.empty(0)).at_s.size == 0


def test_the_time_to_an_accuracy_is_the_first_instant_that_has_it() -> None:
    at_s, value = np.array([0.0, 1.0, 2.0, 3.0]), np.array([np.nan, 0.5, 0.4, 0.9])
    assert time_to(at_s, value, 0.5) == 1.0
    assert time_to(at_s, value, 0.6) == 3.0
    assert time_to(at_s, value, 0.95) is None


@pytest.mark.parametrize(
    ("finals", "levels"),
    [([0.93, 0.81], [0.45, 0.7, 0.85]), ([0.12], [0.06, 0.09, 0.11]), ([1.0], [0.5, 0.8, 0.95]), ([], []), ([0.0], [])],
)
def test_thresholds_are_round_and_below_the_best(finals: list[float], levels: list[float]) -> None:
    assert thresholds(finals) == pytest.approx(levels)
