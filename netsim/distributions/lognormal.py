"""Products of many small effects: latencies, speeds, session lengths."""

from __future__ import annotations

from math import exp
from statistics import NormalDist
from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST

_inverse_normal = NormalDist().inv_cdf


class Lognormal:
    """The logarithm is normal: values differ by factors, half of them below the median.

        Q(u) = median · exp(sigma · Φ⁻¹(u)),   E X = median · exp(sigma² / 2)

    Φ the standard normal law. 95 % lie between median · e^(−2 sigma) and median · e^(2 sigma), nearly. Fits latencies
    between hosts, step times of unlike devices and lengths of sessions.
    Source: [Limpert, Stahel & Abbt 2001, Log-normal Distributions across the Sciences].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Median and spread."""

        median: Annotated[
            float,
            msgspec.Meta(
                gt=0, le=LARGEST, description="Value that half of the draws exceed, in the unit of what is drawn."
            ),
        ]
        sigma: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=20,
                description="Standard deviation of the natural logarithm, without unit. Larger: a heavier tail, the"
                " mean further above the median; 0: always the median.",
            ),
        ]

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mean = config.median * exp(config.sigma**2 / 2)
        self.least = 0.0 if config.sigma else config.median
        self._median = config.median
        self._sigma = config.sigma

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        return self._median * exp(self._sigma * _inverse_normal(u))
