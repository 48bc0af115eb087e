"""A few that are very large: power laws, with or without an end."""

from __future__ import annotations

from math import exp, expm1, inf, log, log1p
from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST
from topology.errors import BadParameterError


class Pareto:
    """A power law: the share of values above x falls as x^(−shape), from `least` on, and up to `most` if given.

        Q(u) = least · (1 − u · (1 − (least / most)^shape))^(−1 / shape)
        E X  = least · shape / (shape − 1)  without `most`, inf for shape ≤ 1

    Without `most` the inner factor of u is 1. With it the mean is finite for every shape. Few values make up most of
    the sum: sizes of files, lifetimes of peers.
    Source: [Crovella & Bestavros 1997, Self-Similarity in World Wide Web Traffic]; the mean of the bounded law by
    integration.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Where it begins, how fast it falls, where it ends."""

        least: Annotated[
            float, msgspec.Meta(gt=0, le=LARGEST, description="Smallest value, in the unit of what is drawn.")
        ]
        shape: Annotated[
            float,
            msgspec.Meta(
                ge=0.1,
                le=1000,
                description="Exponent of the tail, without unit. Smaller: more and larger outliers; at 1 or below the"
                " mean is infinite unless `most` is set.",
            ),
        ]
        most: Annotated[
            Annotated[float, msgspec.Meta(gt=0, le=LARGEST)] | None,
            msgspec.Meta(description="Largest value, in the same unit, above `least`. Not set: there is none."),
        ] = None

        def __post_init__(self) -> None:
            if self.most is not None and self.most <= self.least:
                raise BadParameterError(f"most must be above least = {self.least:g}, got {self.most:g}")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.least = config.least
        self._most = inf if config.most is None else config.most
        self._power = -1 / config.shape
        # least / most as a logarithm, so that shape = 1 and its neighbourhood lose no digits.
        ratio = inf if config.most is None else log(config.most / config.least)
        self._inside = -expm1(-config.shape * ratio)
        self.mean = config.least * _mean(config.shape, ratio)

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        return min(self.least * exp(self._power * log1p(-u * self._inside)), self._most)


def _mean(shape: float, ratio: float) -> float:
    """Return the mean in units of the least value; `ratio` = ln(most / least)."""
    excess = shape - 1
    if ratio == inf:
        return shape / excess if excess > 0 else inf
    integral = -expm1(-excess * ratio) / excess if excess else ratio
    return shape * integral / -expm1(-shape * ratio)
