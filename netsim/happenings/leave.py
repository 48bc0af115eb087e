"""Peers say goodbye and go."""

from __future__ import annotations

import msgspec

from netsim.happenings.base import Event, For, Over, Stage, Who, counted, one_by_one, target


class Leave(Event):
    """Peers say goodbye and go: everybody knows at once.

        alive ← alive ∖ who,   and with `for_s`:  alive ← alive ∪ who  that much later

    Source: graceful departures as in [Rhea et al. 2004, Handling Churn in a DHT].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Who goes, how fast, and for how long."""

        who: Who
        over_s: Over = 0.0
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config
        self._who = target(config.who)

    def happen(self, stage: Stage, number: int) -> None:
        """Have them go, and come back if that is meant."""
        peers = stage.choose(self._who, number)
        stage.note("leave", f"{counted(peers)} leave", peers)
        one_by_one(stage, stage.leave, peers, self._config.over_s)
        if self._config.for_s:
            stage.after(self._config.over_s + self._config.for_s, stage.come, peers)
