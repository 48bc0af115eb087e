"""Peers become slow."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.happenings.base import Event, For, Stage, Who, counted, target


class SlowDown(Event):
    """Local steps of peers take longer: thermal throttling, other work on the machine.

        step_s ← factor · step_s

    Source: stragglers as in [Dean & Barroso 2013, The Tail at Scale].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Who becomes slow, how much, and for how long."""

        who: Who
        factor: Annotated[
            float, msgspec.Meta(gt=0, le=1e6, description="How many times as long as in the beginning a step takes.")
        ] = 5.0
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config
        self._who = target(config.who)

    def happen(self, stage: Stage, number: int) -> None:
        """Slow them down."""
        peers = stage.choose(self._who, number)
        stage.note("slow-down", f"{counted(peers)} slow down {self._config.factor:g} times", peers)
        stage.slow(peers, self._config.factor)
        if self._config.for_s:
            stage.after(self._config.for_s, stage.slow, peers, 1.0)
