"""What churn is: for each peer the times at which it is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

Session = tuple[float, float]
"""From when to when a peer is there, [start_s, end_s) in seconds of virtual time; the end may be inf."""


class Churn(Protocol):
    """A rule that says when each peer is there.

    What one peer does depends on the seed and on that peer only: not on the others, and not on the order of asking.
    """

    def presence(self, peer: str, index: int, *, seed: int, until_s: float) -> Iterator[Session]:
        """Yield the sessions of a peer that begin before `until_s` (which may be inf), in order.

        Each is longer than nothing, and begins at the end of the one before or later: at the same time is a restart.
        The last one may go on beyond `until_s`. `peer` is its name, `index` its number in the population, from 0.
        """

    def require(self, peers: Sequence[str]) -> None:
        """Raise `BadParameterError` when this churn cannot be that of a population, given by its names in order."""


class AnyPopulation:
    """Base of churn that fits whatever population there is."""

    def require(self, peers: Sequence[str]) -> None:
        """Do nothing."""
