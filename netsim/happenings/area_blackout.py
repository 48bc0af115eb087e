"""Power and network fail in an area."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netsim.happenings.base import Event, For, Stage, counted
from topology.registry import Piece

_Place = Annotated[float, msgspec.Meta(ge=-1, le=2, description="Place on the map, which is the unit square.")]


class AreaBlackout(Event):
    """Everybody within a circle on the map vanishes at once: a flood, an earthquake, a power cut.

        alive ← alive ∖ {i : ‖p_i − (x, y)‖ < radius}

    Peers of graph families without places (all but geometric, torus, clustered) are scattered at random.
    Source: correlated failures by area as in [Neumayer, Zussman, Cohen & Modiano 2011, Assessing the Vulnerability of
    the Fiber Infrastructure to Disasters].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Where, how far, and for how long."""

        x: _Place = 0.5
        y: _Place = 0.5
        radius: Annotated[float, msgspec.Meta(gt=0, le=2, description="Of the circle.")] = 0.25
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config

    def happen(self, stage: Stage, number: int) -> None:
        """Crash them, and start them again if that is meant."""
        config = self._config
        peers = stage.choose(Piece("area", {"x": config.x, "y": config.y, "radius": config.radius}), number)
        stage.note("area-blackout", f"blackout around ({config.x:g}, {config.y:g}): {counted(peers)} crash", peers)
        stage.crash(peers)
        if config.for_s:
            stage.after(config.for_s, stage.come, peers)
