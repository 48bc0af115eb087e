"""Every distribution against its formulas, and against those of SciPy."""

import math

import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from netsim.distributions import registry
from topology.errors import BadParameterError

LEAST_U, MOST_U = 2.0**-53, 1 - 2.0**-53
us = st.floats(LEAST_U, MOST_U)

LAWS = {
    "uniform": ({"low": 2, "high": 5}, scipy.stats.uniform(2, 3)),
    "exponential": ({"mean": 7}, scipy.stats.expon(scale=7)),
    "lognormal": ({"median": 3, "sigma": 0.8}, scipy.stats.lognorm(0.8, scale=3)),
    "weibull": ({"scale": 4, "shape": 0.5}, scipy.stats.weibull_min(0.5, scale=4)),
    "pareto": ({"least": 2, "shape": 2.5}, scipy.stats.pareto(2.5, scale=2)),
    "bounded pareto": ({"least": 2, "shape": 1.3, "most": 100}, scipy.stats.truncpareto(1.3, 50, scale=2)),
    "normal": ({"mean": 1, "std": 2}, scipy.stats.truncnorm(-0.5, math.inf, loc=1, scale=2)),
    "half normal": ({"mean": 0, "std": 2}, scipy.stats.halfnorm(scale=2)),
    "narrow normal": ({"mean": 50, "std": 1}, scipy.stats.norm(50, 1)),
}


def built(label):
    return registry.build(label.split()[-1], LAWS[label][0])


OTHERS = [
    ("constant", {"value": 3}),
    ("empirical", {"values": [5, 1, 1, 9]}),
    ("lognormal", {"median": 3, "sigma": 20}),
    ("weibull", {"scale": 1e15, "shape": 0.05}),
    ("pareto", {"least": 1e15, "shape": 0.1}),
    ("pareto", {"least": 1, "shape": 0.1, "most": 1e15}),
    ("normal", {"mean": 1e15, "std": 1e-3}),
    ("exponential", {"mean": 1e15}),
]
ALL = [built(label) for label in LAWS] + [registry.build(*other) for other in OTHERS]


@pytest.mark.parametrize("label", LAWS)
def test_quantiles_are_those_of_scipy(label):
    found, expected = built(label), LAWS[label][1]
    for u in (1e-9, 0.01, 0.3, 0.4999, 0.5, 0.7, 0.99, 1 - 1e-9):
        assert found.quantile(u) == pytest.approx(expected.ppf(u), rel=1e-8, abs=1e-15)


@pytest.mark.parametrize("label", LAWS)
def test_mean_and_least_value_are_those_of_scipy(label):
    found, expected = built(label), LAWS[label][1]
    assert found.mean == pytest.approx(expected.mean(), rel=1e-9)
    if label != "narrow normal":  # SciPy's is not cut off
        assert found.least == pytest.approx(expected.support()[0])


@given(u=us, v=us)
@pytest.mark.parametrize("found", ALL)
def test_quantiles_are_finite_and_do_not_decrease(found, u, v):
    low, high = sorted((u, v))
    assert 0 <= found.least <= found.quantile(low) <= found.quantile(high) < math.inf


@pytest.mark.parametrize("found", ALL)
def test_extreme_draws_are_finite_and_not_below_the_least(found):
    assert found.least <= found.quantile(LEAST_U) <= found.quantile(MOST_U) < math.inf


@pytest.mark.parametrize(
    ("name", "params", "value"),
    [
        ("constant", {"value": 0.1}, 0.1),
        ("uniform", {"low": 0.1, "high": 0.1}, 0.1),
        ("lognormal", {"median": 0.1, "sigma": 0}, 0.1),
        ("empirical", {"values": [0.1] * 7}, 0.1),
        ("empirical", {"values": [0.1]}, 0.1),
    ],
)
def test_of_one_value_only_the_least_is_the_mean_to_the_bit(name, params, value):
    found = registry.build(name, params)
    assert found.least == found.mean == found.quantile(0.5) == found.quantile(MOST_U) == value


@pytest.mark.parametrize("found", [built(label) for label in LAWS])
def test_of_several_values_the_least_is_below_the_mean(found):
    assert found.least < found.mean


@pytest.mark.parametrize("shape", [0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 3.0])
def test_the_mean_of_a_bounded_power_law_is_the_integral_of_its_quantiles(shape):
    found = registry.build("pareto", {"least": 2, "shape": shape, "most": 300})

    def share_by_logarithm(s):  # u = 1 − e^(−s): the tail is too thin to be found between 0 and 1
        return found.quantile(-math.expm1(-s)) * math.exp(-s)

    integral, _ = scipy.integrate.quad(share_by_logarithm, 0, 36, epsabs=1e-9, limit=200)
    assert found.mean == pytest.approx(integral, rel=1e-7)
    assert found.quantile(MOST_U) <= 300


def test_a_power_law_without_end_may_have_no_mean():
    assert registry.build("pareto", {"least": 2, "shape": 1}).mean == math.inf
    assert registry.build("pareto", {"least": 2, "shape": 1, "most": 4}).mean == pytest.approx(4 * math.log(2))


def test_measured_values_are_joined_by_lines():
    found = registry.build("empirical", {"values": [10, 0, 20]})
    assert [found.quantile(u) for u in (0.05, 0.25, 0.5, 0.75, 0.95)] == pytest.approx([1, 5, 10, 15, 19])
    uneven = registry.build("empirical", {"values": [0, 0, 0, 30]})
    assert uneven.mean == pytest.approx(5)  # a third of the time on the way from 0 to 30
    assert uneven.quantile(5 / 6) == pytest.approx(15)


@pytest.mark.parametrize("text", ["3\n1\n2\n", "latency_s\n3\n1\n2\n", '\ufeff"3"\n\n1\n2'])
def test_a_file_of_one_column_is_as_good_as_a_list(tmp_path, text):
    path = tmp_path / "measured.csv"
    path.write_text(text, encoding="utf-8")
    found = registry.build("empirical", {"file": str(path)})
    assert (found.least, found.mean, found.quantile(0.75)) == (1, 2, 2.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1\ntwo\n", r":2: expected one number from 0 to 1e\+15, got 'two'"),
        ("s\n-1\n", r":2: expected one number .* got '-1'"),
        ("-1\n", r":1: expected one number .* got '-1'"),
        ("1\ninf\n", r":2: expected one number .* got 'inf'"),
        ("1\nnan\n", r":2: expected one number .* got 'nan'"),
        ("1,2\n3,4\n", r":2: expected one number .* got '3,4'"),
        ("s\n", ": no value in it"),
        ("", ": no value in it"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path, text, complaint):
    path = tmp_path / "measured.csv"
    path.write_text(text)
    with pytest.raises(BadParameterError, match=rf"measured\.csv{complaint}"):
        registry.build("empirical", {"file": str(path)})


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(BadParameterError, match=r"none\.csv: cannot be read: No such file"):
        registry.build("empirical", {"file": str(tmp_path / "none.csv")})
    (tmp_path / "bytes.csv").write_bytes(b"1\n\xff\n")
    with pytest.raises(BadParameterError, match=r"bytes\.csv: not a text in UTF-8: .* at byte 2"):
        registry.build("empirical", {"file": str(tmp_path / "bytes.csv")})


@pytest.mark.parametrize(
    ("name", "params", "complaint"),
    [
        ("uniform", {"low": 2, "high": 1}, "high must be at least low = 2, got 1"),
        ("pareto", {"least": 2, "shape": 1, "most": 2}, "most must be above least = 2, got 2"),
        ("empirical", {}, "give either values or file, got neither"),
        ("empirical", {"values": [1], "file": "x"}, "give either values or file, got both"),
        ("empirical", {"values": [1, -1]}, "parameter 'values"),
        ("exponential", {"mean": 0}, "parameter 'mean'"),
        ("exponential", {"mean": math.inf}, "finite"),
        ("exponential", {"men": 1}, "did you mean 'mean'"),
        ("constant", {"value": -1}, "parameter 'value'"),
        ("normal", {"mean": 1, "std": 0}, "parameter 'std'"),
    ],
)
def test_wrong_parameters_are_refused(name, params, complaint):
    with pytest.raises(BadParameterError, match=complaint):
        registry.check(name, params)
