"""The best connected peers vanish."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.happenings.base import Event, For, Stage, counted
from topology.registry import Piece


class HubLoss(Event):
    """The peers with the most neighbours vanish at once.

        alive ← alive ∖ {the ⌈share·n⌋ peers of the largest degree}

    The attack that scale-free graphs do not survive; a `crash` of target `hubs`.
    Source: [Albert, Jeong & Barabási 2000, Error and attack tolerance of complex networks].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How many, and for how long."""

        share: Annotated[float, msgspec.Meta(gt=0, le=1, description="Share of the peers that are there.")] = 0.1
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config

    def happen(self, stage: Stage, number: int) -> None:
        """Crash them, and start them again if that is meant."""
        peers = stage.choose(Piece("hubs", {"share": self._config.share}), number)
        stage.note("hub-loss", f"the {counted(peers)} with most neighbours crash", peers)
        stage.crash(peers)
        if self._config.for_s:
            stage.after(self._config.for_s, stage.come, peers)
