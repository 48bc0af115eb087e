"""Alternating renewal: its share of time, its stationary start, and what it refuses."""

import math
from itertools import islice, pairwise

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from netsim.churn import registry
from netsim.churn.residual import Residual
from netsim.distributions import registry as distributions
from topology.errors import BadParameterError, PieceError

EXPONENTIAL = {"name": "exponential", "mean": 30}
LAWS = [
    EXPONENTIAL,
    {"name": "constant", "value": 30},
    {"name": "weibull", "scale": 20, "shape": 0.6},
    {"name": "uniform", "low": 10, "high": 40},
    {"name": "pareto", "least": 5, "shape": 2.5},
    {"name": "normal", "mean": 5, "std": 20},
    {"name": "empirical", "values": [0, 5, 50]},
    {"name": "lognormal", "median": 10, "sigma": 1},
]


def renewal(session=EXPONENTIAL, absence=EXPONENTIAL, **more):
    return registry.build("renewal", {"session": session, "absence": absence, **more})


def sessions_of(churn, peer="a", seed=1, until_s=math.inf, most=1000):
    return list(islice(churn.presence(peer, 0, seed=seed, until_s=until_s), most))


def time_there(sessions, until_s):
    return sum(min(end, until_s) - start for start, end in sessions)


@given(
    st.sampled_from(LAWS),
    st.sampled_from(LAWS),
    st.sampled_from(["present", "settled"]),
    st.text(max_size=3),
    st.floats(0, 500),
)
def test_sessions_are_in_order_and_a_pure_function_of_seed_and_peer(session, absence, start, peer, until_s):
    churn = renewal(session, absence, start=start)
    found = sessions_of(churn, peer, until_s=until_s)
    assert all(0 <= begin < end for begin, end in found)
    assert all(begin < until_s for begin, _ in found)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(found))
    whole = sessions_of(churn, peer, most=len(found) + 1)
    assert whole[: len(found)] == found
    assert whole[-1][0] >= until_s
    if start == "present" and found and session["name"] not in ("empirical", "normal"):
        assert found[0][0] == 0


def test_peers_and_seeds_differ_and_the_number_of_a_peer_does_not_matter():
    churn = renewal()
    ways = {tuple(sessions_of(churn, peer, seed, most=3)) for peer in "ab" for seed in (1, 2)}
    assert len(ways) == 4
    assert list(islice(churn.presence("a", 7, seed=1, until_s=math.inf), 3)) == sessions_of(churn, most=3)


@pytest.mark.parametrize("session", LAWS)
def test_the_share_of_time_there_is_that_of_the_renewal_reward_theorem(session):
    churn = renewal(session, {"name": "uniform", "low": 0, "high": 30})
    mean = distributions.build(session["name"], {k: v for k, v in session.items() if k != "name"}).mean
    assert churn.availability == pytest.approx(mean / (mean + 15))
    until_s = 4000 * (mean + 15)
    found = sessions_of(churn, until_s=until_s, most=10**6)
    assert time_there(found, until_s) / until_s == pytest.approx(churn.availability, rel=0.06)


@pytest.mark.parametrize("session", LAWS)
def test_a_settled_process_is_stationary(session):
    """Whoever looks, and whenever: there with the probability of the long run, and with P(X > x) / E X left."""
    churn = renewal(session, {"name": "constant", "value": 20}, start="settled")
    num = 1500
    runs = [sessions_of(churn, f"peer {i}", until_s=70) for i in range(num)]
    deviation = math.sqrt(churn.availability * (1 - churn.availability) / num)
    for moment in (0.0, 7.0, 26.0, 61.0):
        there = [end - moment for run in runs for begin, end in run if begin <= moment < end]
        assert len(there) / num == pytest.approx(churn.availability, abs=3.5 * deviation)
        law = distributions.build(session["name"], {k: v for k, v in session.items() if k != "name"})
        assert scipy.stats.kstest(there, left_law(law)).pvalue > 0.002


def left_law(law):
    """The equilibrium law of a renewal process, by summing P(X > x) over a fine grid of quantiles."""
    values = np.array([law.quantile((i + 0.5) / 4000) for i in range(4000)])
    return np.vectorize(lambda x: np.minimum(values, x).mean() / values.mean())


@pytest.mark.parametrize("session", LAWS)
def test_the_table_of_residuals_has_the_mean_of_its_law(session):
    law = distributions.build(session["name"], {k: v for k, v in session.items() if k != "name"})
    assert Residual(law).mean_s == pytest.approx(law.mean, rel=1e-3)


@pytest.mark.parametrize(
    ("law", "biased"),
    [
        ({"name": "exponential", "mean": 3}, scipy.stats.gamma(2, scale=3)),
        ({"name": "lognormal", "median": 2, "sigma": 1.5}, scipy.stats.lognorm(1.5, scale=2 * math.exp(1.5**2))),
        ({"name": "pareto", "least": 2, "shape": 3}, scipy.stats.pareto(2, scale=2)),
        ({"name": "constant", "value": 2}, None),
    ],
)
def test_long_durations_are_met_more_often(law, biased):
    residual = Residual(distributions.build(law["name"], {k: v for k, v in law.items() if k != "name"}))
    for share in (2.0**-53, 0.001, 0.1, 0.5, 0.9, 0.999, 1 - 2.0**-53):
        expected = biased.ppf(share) if biased else law["value"]
        if biased is None or 1e-9 < share < 1 - 1e-9:
            assert residual.biased(share) == pytest.approx(expected, rel=3e-3)
        assert 0 <= residual.biased(share) < math.inf


def test_values_that_are_nothing_for_most_of_the_time_are_borne():
    residual = Residual(distributions.build("empirical", {"values": [0, 0, 0, 0, 8]}))
    assert [0 < residual.biased(share) <= 8 for share in (2.0**-53, 0.5, 1 - 2.0**-53)] == [True] * 3


def test_what_goes_on_for_ever_in_the_mean():
    heavy = {"name": "pareto", "least": 1, "shape": 0.9}
    assert renewal(session=heavy).availability == 1
    assert renewal(absence=heavy).availability == 0
    assert math.isnan(renewal(heavy, heavy).availability)
    with pytest.raises(BadParameterError, match="absence: a settled start needs a finite mean"):
        renewal(absence=heavy, start="settled")


def test_sessions_of_no_length_are_left_out_and_absences_of_none_are_restarts():
    never = {"name": "empirical", "values": [0, 0, 0, 0, 0, 0, 9]}
    found = sessions_of(renewal(never, EXPONENTIAL), most=50)
    assert all(end > begin for begin, end in found)
    restarts = sessions_of(renewal(EXPONENTIAL, never), most=50)
    assert any(end == begin for (_, end), (begin, _) in pairwise(restarts))


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"session": EXPONENTIAL}, "missing required field absence"),
        (
            {"session": {"name": "exponentail", "mean": 1}, "absence": EXPONENTIAL},
            "session: unknown distribution .* did you mean",
        ),
        ({"session": EXPONENTIAL, "absence": {"name": "exponential"}}, "absence: distribution 'exponential'.*mean"),
        ({"session": EXPONENTIAL, "absence": {"mean": 3}}, "absence: each distribution needs a name"),
        (
            {"session": {"name": "constant", "value": 0}, "absence": EXPONENTIAL},
            r"session: expected durations of 0\.001 s or more",
        ),
        ({"session": EXPONENTIAL, "absence": EXPONENTIAL, "start": "empty"}, "start"),
    ],
)
def test_wrong_parameters_are_refused_in_one_line(params, complaint):
    with pytest.raises(PieceError, match=complaint) as caught:
        registry.check("renewal", params)
    assert "\n" not in str(caught.value)


def test_every_population_will_do():
    assert renewal().require(["a", "b"]) is None
