"""Exponential backoff with equal jitter: how long to wait before trying again.

    delay(k) = d/2 + U(0, d/2),   d = min(cap, base · 2^k)

Half of the delay is kept so that a failing peer is never hammered; the other half is random so that many peers that
lost the same neighbour do not come back at the same instant [Brooker 2015, "Exponential Backoff and Jitter"].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

_MAX_EXPONENT = 62  # 2**k stays a sane float whatever the number of attempts


class Uniform(Protocol):
    """The one method of a seeded generator that the cores use (`random.Random` has it)."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number drawn uniformly from [a, b]."""


@dataclass(frozen=True)
class Backoff:
    """Delays in seconds: about `base_s` after the first failure, doubling up to `cap_s`."""

    base_s: float
    cap_s: float

    def delay(self, attempt: int, rng: Uniform) -> float:
        """Seconds to wait after the `attempt`-th failure in a row, counted from 0."""
        half = self.base_s * 2.0 ** (attempt if attempt < _MAX_EXPONENT else _MAX_EXPONENT) / 2
        if half > self.cap_s / 2:
            half = self.cap_s / 2
        return half + rng.uniform(0.0, half)
