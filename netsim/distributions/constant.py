"""Always the same."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST


class Constant:
    """One value, always.

        Q(u) = value,   E X = value

    Source: the degenerate law; the baseline against which a spread is an effect.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Which value."""

        value: Annotated[
            float,
            msgspec.Meta(ge=0, le=LARGEST, description="The value, in the unit of what is drawn (s, bytes/s, J)."),
        ]

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mean = config.value
        self.least = config.value

    def quantile(self, u: float) -> float:  # noqa: ARG002  the interface
        """Return the value."""
        return self.mean
