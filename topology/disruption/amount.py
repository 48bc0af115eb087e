"""How many of the candidates are hit: a share of them, or a number."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

import msgspec

from topology.errors import BadParameterError


class Amount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters by which targets are told how many; exactly one has to be given."""

    share: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=1)] | None,
        msgspec.Meta(
            description="Share of the candidates that is hit, rounded to whole peers, halves up. Larger: a worse"
            " disaster. Either this or `count`."
        ),
    ] = None
    count: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None,
        msgspec.Meta(
            description="How many candidates are hit; all, where there are fewer. Larger: a worse disaster. Either this"
            " or `share`."
        ),
    ] = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.count is None):
            given = "neither" if self.share is None else "both"
            raise BadParameterError(f"give either share or count, got {given}")

    def of(self, n: int) -> int:
        """Return how many of n candidates that is."""
        if self.count is not None:
            return min(self.count, n)
        assert self.share is not None
        return rounded_share(self.share, n)


def rounded_share(share: float, n: int) -> int:
    """Return share·n as a whole number, halves up: ⌊share·n + ½⌋ for the decimal number that `share` was written as.

    Calculated in decimals, since 0.145 as a float is a little less, and 0.145 of 100 is meant to be 15 and not 14.
    """
    return int((Decimal(repr(share)) * n).to_integral_value(ROUND_HALF_UP))
