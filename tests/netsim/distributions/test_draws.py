"""Draws are pure functions of who draws and what for."""

from unittest.mock import patch

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from netsim.distributions import draw, draws, registry, uniform_of

parts = st.lists(st.integers(-(2**70), 2**70) | st.text(max_size=5), max_size=4)


@given(seed=st.integers(0, 2**63), one=parts, other=parts)
def test_the_same_names_give_the_same_number_and_others_another(seed, one, other):
    u = uniform_of(seed, *one)
    assert 0 < u < 1
    assert u == uniform_of(seed, *one)
    assert u != uniform_of(seed + 1, *one)
    if one != other:
        assert u != uniform_of(seed, *other)


def test_numbers_and_their_names_differ_and_names_do_not_run_together():
    assert len({uniform_of(1, *names) for names in [(1,), ("1",), ("a", "b"), ("ab",), ("a", "b", ""), ()]}) == 6


def test_numbers_are_the_same_on_every_machine():
    assert uniform_of(7, "latency", 3, 4) == 0.650368751073885


@pytest.mark.parametrize("part", [True, 1.0, None, b"x"])
def test_other_things_are_no_names(part):
    with pytest.raises(TypeError, match=f"names are int or str, not {type(part).__name__}"):
        uniform_of(1, part)


def test_numbers_are_uniform():
    numbers = [uniform_of(1, "test", i) for i in range(5000)]
    assert scipy.stats.kstest(numbers, "uniform").pvalue > 0.01


@pytest.mark.parametrize(("digest", "expected"), [(b"\0" * 8, 2.0**-53), (b"\xff" * 8, 1 - 2.0**-53)])
def test_the_extremes_are_not_0_and_1(digest, expected):
    with patch.object(draws, "blake2b") as blake2b:
        blake2b.return_value.digest.return_value = digest
        assert uniform_of(1) == expected
    assert 0 < expected < 1


def test_a_draw_is_the_quantile_of_its_number():
    law = registry.build("exponential", {"mean": 3})
    assert draw(law, 5, "step", 1, 2) == law.quantile(uniform_of(5, "step", 1, 2))


def test_draws_have_the_mean_of_their_law():
    for name, params in [("weibull", {"scale": 2, "shape": 0.8}), ("normal", {"mean": 1, "std": 1})]:
        law = registry.build(name, params)
        assert sum(draw(law, 1, "x", i) for i in range(5000)) / 5000 == pytest.approx(law.mean, rel=0.05)
