"""The bell curve, without its negative part."""

from __future__ import annotations

from math import exp, pi, sqrt
from statistics import NormalDist
from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST

_STANDARD = NormalDist()
_inverse_normal = _STANDARD.inv_cdf


class Normal:
    """A normal law under the condition that the value is not negative.

        Q(u) = mean + std · Φ⁻¹(p + u · (1 − p)),   p = Φ(−mean / std)
        E X  = mean + std · φ(mean / std) / (1 − p)

    Φ and φ the standard normal law and its density. p is what is cut off: 2 % at mean = 2 std, a half at mean = 0. The
    mean of what is drawn is above `mean` by the last term.
    Source: [Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions, vol. 1, §13.10].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Mean and standard deviation before the cut."""

        mean: Annotated[
            float,
            msgspec.Meta(ge=0, le=LARGEST, description="Mean of the law before the cut, in the unit of what is drawn."),
        ]
        std: Annotated[
            float,
            msgspec.Meta(
                gt=0, le=LARGEST, description="Standard deviation of the law before the cut, in the same unit."
            ),
        ]

    least = 0.0

    def __init__(self, config: Config) -> None:
        self.config = config
        at_zero = config.mean / config.std
        self._below = _STANDARD.cdf(-at_zero)
        self._kept = _STANDARD.cdf(at_zero)
        self._mean = config.mean
        self._std = config.std
        self.mean = config.mean + config.std * exp(-(min(at_zero, 40.0) ** 2) / 2) / sqrt(2 * pi) / self._kept

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        # From the nearer end: 1 − p would lose the digits of a small p.
        z = _inverse_normal(self._below + u * self._kept) if u < 0.5 else -_inverse_normal((1 - u) * self._kept)
        return max(self._mean + self._std * z, 0.0)
