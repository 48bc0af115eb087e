"""The network loses messages."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.happenings.base import Event, For, Stage


class LinkLoss(Event):
    """Messages and transfers are lost at random, everywhere.

        P(lost) = share,   for each message on its own

    Source: ours.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How many, and for how long."""

        share: Annotated[float, msgspec.Meta(ge=0, le=0.99, description="Share of messages that never arrive.")] = 0.1
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config

    def happen(self, stage: Stage, number: int) -> None:  # noqa: ARG002  the interface
        """Lose messages from now on."""
        stage.note("link-loss", f"{100 * self._config.share:g} % of messages are lost")
        stage.lose(self._config.share)
        if self._config.for_s:
            stage.after(self._config.for_s, stage.lose, -1.0)
