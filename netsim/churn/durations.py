"""Knobs of durations: distributions of seconds, nested in the parameters of a churn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from aggregation.nested import build_nested
from netsim.distributions import Distribution
from netsim.distributions import registry as distributions
from topology.errors import BadParameterError, PieceError

SHORTEST_MEAN_S = 1e-3

SessionTable = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description='How long a peer stays, in seconds: a distribution, e.g. { name = "exponential", mean = 600 }, with'
        " a mean of 0.001 or more, drawn for each session. Longer: fewer changes, more peers there."
    ),
]
AbsenceTable = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="How long a peer stays away in between, in seconds: a distribution, with a mean of 0.001 or more,"
        " drawn for each absence. Longer: fewer changes, fewer peers there."
    ),
]
Start = Annotated[
    Literal["present", "settled"],
    msgspec.Meta(
        description="How it begins. present: everybody is there at 0 s and begins a session. settled: as if it had gone"
        " on for ever, some are there and some are not."
    ),
]


def durations(table: Mapping[str, Any], knob: str) -> Distribution:
    """Build the distribution of seconds that `knob` gives. Raises `BadParameterError`, which names the knob."""
    try:
        found = build_nested(distributions, table)
    except PieceError as error:
        raise BadParameterError(f"{knob}: {error}") from None
    if not found.mean >= SHORTEST_MEAN_S:
        raise BadParameterError(
            f"{knob}: expected durations of {SHORTEST_MEAN_S:g} s or more in the mean, got {found.mean:g} s"
        )
    return found
