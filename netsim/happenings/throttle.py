"""Access links become narrow."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.happenings.base import Event, For, Stage, Who, counted, target


class Throttle(Event):
    """The access links of peers get another capacity: a congested cell, a tethered phone.

        (up, down) ← factor · (up, down)

    Nothing happens to links that are unlimited (`links.up_bytes_s`, `links.down_bytes_s`).
    Source: ours.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Whose links, how much, and for how long."""

        who: Who
        factor: Annotated[float, msgspec.Meta(gt=0, le=1e6, description="Times the capacity of the beginning.")] = 0.1
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config
        self._who = target(config.who)

    def happen(self, stage: Stage, number: int) -> None:
        """Throttle them."""
        peers = stage.choose(self._who, number)
        stage.note("throttle", f"links of {counted(peers)} at {self._config.factor:g} times the capacity", peers)
        stage.throttle(peers, self._config.factor)
        if self._config.for_s:
            stage.after(self._config.for_s, stage.throttle, peers, 1.0)
