"""Lifetimes that age, or harden."""

from __future__ import annotations

from math import gamma, log1p
from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST


class Weibull:
    """Lifetimes whose risk to end is a power of their age.

        Q(u) = scale · (−ln(1 − u))^(1 / shape),   E X = scale · Γ(1 + 1 / shape)

    shape < 1: who has stayed for long will stay, as measured for sessions in peer-to-peer networks; shape = 1:
    exponential; shape > 1: wear.
    Source: [Stutzbach & Rejaie 2006, Understanding Churn in Peer-to-Peer Networks].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Scale and shape."""

        scale: Annotated[
            float,
            msgspec.Meta(
                gt=0,
                le=LARGEST,
                description="Value that 1/e = 37 % of the draws exceed for every shape, in the unit of what is drawn.",
            ),
        ]
        shape: Annotated[
            float,
            msgspec.Meta(
                ge=0.05,
                le=1000,
                description="Exponent, without unit. Smaller: a heavier tail; larger: all nearly `scale`.",
            ),
        ]

    least = 0.0

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mean = config.scale * gamma(1 + 1 / config.shape)
        self._scale = config.scale
        self._power = 1 / config.shape

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        return float(self._scale * (-log1p(-u)) ** self._power)
