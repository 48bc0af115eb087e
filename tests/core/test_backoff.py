from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from peer.core.backoff import Backoff


class Always:
    """A generator that draws the same place of every interval."""

    def __init__(self, place: float) -> None:
        self.place = place

    def uniform(self, a: float, b: float, /) -> float:
        return a + self.place * (b - a)


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(base_s=1.0, cap_s=10.0)
    assert [backoff.delay(attempt, Always(1.0)) for attempt in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert [backoff.delay(attempt, Always(0.0)) for attempt in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_half_is_kept_and_half_is_random_whatever_the_number_of_attempts(attempt: int, rng: random.Random) -> None:
    assert 0.05 <= Backoff(base_s=0.1, cap_s=30.0).delay(attempt, rng) <= 30.0
