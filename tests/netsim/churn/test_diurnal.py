"""Diurnal churn: when peers come, how it begins, time zones."""

import math
from itertools import islice, pairwise

import pytest
import scipy.integrate
from hypothesis import given
from hypothesis import strategies as st

from netsim.churn import registry
from netsim.churn.daily_cycle import DailyCycle
from topology.errors import BadParameterError

DAY = 86_400.0
SHORT = {"name": "constant", "value": 60}
HOURS = {"name": "exponential", "mean": 4 * 3600}


def diurnal(session=SHORT, absence=HOURS, **more):
    return registry.build("diurnal", {"session": session, "absence": absence, **more})


def starts(churn, num_peers, until_s):
    return [
        begin for i in range(num_peers) for begin, _ in churn.presence(f"p{i}", i, seed=1, until_s=until_s) if begin > 0
    ]


@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(0, 1), st.floats(-1e7, 1e7), st.floats(0, 30))
def test_a_wait_is_as_long_as_it_takes_the_intensity_to_sum_up(amplitude, period_s, peak, now_s, periods):
    day = DailyCycle(amplitude, period_s, peak)
    wait_s = day.wait_s(now_s, periods * period_s)

    def sum_to(time_s):
        angle = 2 * math.pi * (time_s / period_s - peak + 0.25)
        return time_s - amplitude * period_s / (2 * math.pi) * math.cos(angle)

    assert wait_s >= 0
    assert sum_to(now_s + wait_s) - sum_to(now_s) == pytest.approx(periods * period_s, rel=1e-6, abs=1e-6 * period_s)


def test_the_intensity_is_highest_at_the_peak_and_one_in_the_mean():
    day = DailyCycle(0.5, DAY, 0.75)
    assert day.intensity(0.75 * DAY) == pytest.approx(1.5)
    assert day.intensity(0.25 * DAY) == pytest.approx(0.5)
    assert scipy.integrate.quad(day.intensity, 0, DAY)[0] == pytest.approx(DAY)


@pytest.mark.parametrize(("amplitude", "peak"), [(0.8, 0.25), (1.0, 0.0), (0.0, 0.25), (0.6, 0.75)])
def test_peers_come_as_a_poisson_process_with_the_time_of_day(amplitude, peak):
    """Sessions next to nothing, absences exponential: the first Fourier coefficient of the starts is a / 2."""
    found = starts(diurnal(amplitude=amplitude, peak=peak), 150, 4 * DAY)
    assert len(found) == pytest.approx(150 * 4 * 6, rel=0.06)
    angles = [2 * math.pi * (start / DAY - peak) for start in found]
    noise = 4 / math.sqrt(2 * len(found))
    assert sum(map(math.cos, angles)) / len(found) == pytest.approx(amplitude / 2, abs=noise)
    assert sum(map(math.sin, angles)) / len(found) == pytest.approx(0, abs=noise)
    assert sum(math.cos(2 * angle) for angle in angles) / len(found) == pytest.approx(0, abs=noise)


@given(st.sampled_from(["present", "settled"]), st.floats(0, 1), st.floats(0, 3 * DAY))
def test_sessions_are_in_order_and_a_pure_function_of_seed_and_peer(start, amplitude, until_s):
    churn = diurnal(HOURS, HOURS, start=start, amplitude=amplitude)
    found = list(churn.presence("p", 3, seed=5, until_s=until_s))
    assert all(0 <= begin < min(end, until_s) for begin, end in found)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(found))
    assert found == list(islice(churn.presence("p", 4, seed=5, until_s=math.inf), len(found)))
    if found:
        assert found != list(churn.presence("q", 3, seed=5, until_s=until_s))
    if start == "present" and until_s:
        assert found[0][0] == 0


def share_there(churn, moment, num_peers=400):
    return (
        sum(
            any(begin <= moment < end for begin, end in churn.presence(f"p{i}", i, seed=2, until_s=moment + 1))
            for i in range(num_peers)
        )
        / num_peers
    )


@pytest.mark.parametrize("absence", [HOURS, {"name": "constant", "value": 4 * 3600}])
def test_settled_each_day_is_like_the_other(absence):
    churn = diurnal({"name": "uniform", "low": 0, "high": 6 * 3600}, absence, start="settled", amplitude=0.9)
    noise = 4 * 0.5 / math.sqrt(400) * math.sqrt(2)
    for moment in (0.0, 0.3 * DAY, 0.8 * DAY):
        assert share_there(churn, moment) == pytest.approx(share_there(churn, moment + 5 * DAY), abs=noise)
    assert share_there(churn, 0.4 * DAY) > share_there(churn, 0.9 * DAY) + 2 * noise


def test_present_all_are_there_in_the_beginning():
    assert share_there(diurnal(), 0.0) == 1
    assert share_there(diurnal(start="settled"), 0.0) < 0.1


def test_settled_those_who_never_vary_are_not_all_in_step():
    hour = {"name": "constant", "value": 3600}
    for moment in (0.0, 1800.0, 3 * DAY):
        assert share_there(diurnal(hour, hour, start="settled", amplitude=0), moment) == pytest.approx(0.5, abs=0.1)


def test_over_all_time_zones_there_is_no_time_of_day():
    found = starts(diurnal(amplitude=1.0, spread=1.0), 150, 4 * DAY)
    noise = 4 / math.sqrt(2 * len(found))
    assert abs(sum(math.cos(2 * math.pi * start / DAY) for start in found)) / len(found) < noise
    half = starts(diurnal(amplitude=1.0, spread=0.5, peak=0.5), 150, 4 * DAY)
    coefficient = sum(math.cos(2 * math.pi * (start / DAY - 0.5)) for start in half) / len(half)
    assert coefficient == pytest.approx(0.5 * math.sin(math.pi / 2) / (math.pi / 2), abs=noise + 0.03)


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"amplitude": 1.5}, "parameter 'amplitude'"),
        ({"period_s": 0}, "parameter 'period_s'"),
        ({"session": {"name": "constant"}}, "session: distribution 'constant'"),
        (
            {"absence": {"name": "pareto", "least": 1, "shape": 1}, "start": "settled"},
            "settled start needs .* finite means",
        ),
    ],
)
def test_wrong_parameters_are_refused(params, complaint):
    with pytest.raises(BadParameterError, match=complaint):
        registry.build("diurnal", {"session": SHORT, "absence": HOURS, **params})
