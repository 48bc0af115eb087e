"""The network is whole again."""

from __future__ import annotations

import msgspec

from netsim.happenings.base import Event, Stage
from netsim.happenings.partition import healed


class Heal(Event):
    """The partition is over: everybody can reach everybody.

        (i, j) can talk  for all i, j

    Source: see `partition`.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Healing has no parameters."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def happen(self, stage: Stage, number: int) -> None:  # noqa: ARG002  the interface
        """Heal."""
        healed(stage)
