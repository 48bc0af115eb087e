"""All values of an interval alike."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST
from topology.errors import BadParameterError


class Uniform:
    """Every value between two bounds is as likely as any other.

        Q(u) = low + u · (high − low),   E X = (low + high) / 2

    Source: [Devroye 1986, Non-Uniform Random Variate Generation, §II.2].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """The bounds."""

        low: Annotated[
            float,
            msgspec.Meta(ge=0, le=LARGEST, description="Lower bound, in the unit of what is drawn (s, bytes/s, J)."),
        ]
        high: Annotated[
            float,
            msgspec.Meta(
                ge=0, le=LARGEST, description="Upper bound, in the same unit, not below `low`. Larger: more spread."
            ),
        ]

        def __post_init__(self) -> None:
            if self.high < self.low:
                raise BadParameterError(f"high must be at least low = {self.low:g}, got {self.high:g}")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.least = config.low
        self._width = config.high - config.low
        self.mean = config.low + self._width / 2

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        return self.least + u * self._width
