"""The network falls apart."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from netsim.happenings.base import Event, For, Stage
from topology.errors import BadParameterError


class Partition(Event):
    """The network falls into parts that cannot reach each other.

        (i, j) can talk  iff  part(i) = part(j)

    Links across stay silent until their ends notice; members of other parts are timed out. When it heals, lost members
    are dialed again. How parts are drawn: at random, or by place (vertical strips of the map).
    Source: network partitions as in [Gilbert & Lynch 2002, Brewer's Conjecture and the Feasibility of Consistent,
    Available, Partition-Tolerant Web Services].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """The parts, and how long it lasts."""

        shares: Annotated[
            tuple[float, ...],
            msgspec.Meta(min_length=2, max_length=64, description="Size of each part as a share; they sum to 1."),
        ] = (0.5, 0.5)
        how: Annotated[
            Literal["random", "area"],
            msgspec.Meta(description="Who is in which part: random, or by place on the map."),
        ] = "random"
        for_s: For = 0.0

        def __post_init__(self) -> None:
            if min(self.shares) <= 0 or abs(sum(self.shares) - 1.0) > 1e-6:
                raise ValueError(f"shares must be positive and sum to 1, got {list(self.shares)}")

    def __init__(self, config: Config) -> None:
        if min(config.shares) <= 0:
            raise BadParameterError("partition: shares must be positive")
        self._config = config

    def happen(self, stage: Stage, number: int) -> None:
        """Draw the parts and cut them apart."""
        groups = stage.split(self._config.how, self._config.shares, number)
        sizes = " + ".join(str(len(group)) for group in groups)
        stage.note("partition", f"partition {sizes}", groups[-1])
        stage.partition(groups)
        if self._config.for_s:
            stage.after(self._config.for_s, healed, stage)


def healed(stage: Stage) -> None:
    """End the partition, and say so."""
    stage.note("heal", "the partition heals")
    stage.heal()
