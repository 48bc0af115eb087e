"""Waiting times without memory."""

from __future__ import annotations

from math import log1p
from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST


class Exponential:
    """Times without memory: how long something has lasted says nothing about how long it will.

        Q(u) = −mean · ln(1 − u),   E X = mean

    Times between independent arrivals of many sources; sessions and absences of peers in most analyses of churn.
    Source: [Devroye 1986, Non-Uniform Random Variate Generation, §II.2].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How long in the mean."""

        mean: Annotated[
            float,
            msgspec.Meta(
                gt=0,
                le=LARGEST,
                description="Expected value, in the unit of what is drawn, which is also the standard deviation.",
            ),
        ]

    least = 0.0

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mean = config.mean

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        return -self.mean * log1p(-u)
