"""Newcomers: peers that are not there from the beginning."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from netsim.happenings.base import Over, Stage, Who, counted, one_by_one, target


class Join:
    """Peers come that were not there before: a flash crowd, or one after the other.

        alive ← alive ∪ who

    They are chosen among all peers of the scenario, and are absent until then. A newcomer starts from the common first
    model and catches up with the median of its neighbours' rounds.
    Source: flash crowds as in [Rhea et al. 2004, Handling Churn in a DHT].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Who comes, and how fast."""

        who: Who
        over_s: Over = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config
        self._who = target(config.who)
        self._newcomers: tuple[int, ...] = ()

    def absent_before(self, stage: Stage, number: int) -> Iterable[int]:
        """Return those who will come."""
        self._newcomers = stage.choose(self._who, number, among=stage.everybody())
        return self._newcomers

    def happen(self, stage: Stage, number: int) -> None:  # noqa: ARG002  the interface
        """Have them come."""
        stage.note("join", f"{counted(self._newcomers)} join", self._newcomers)
        one_by_one(stage, stage.come, self._newcomers, self._config.over_s)
