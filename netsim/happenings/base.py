"""What an event is: a few verbs that it calls on the stage of a world, be that virtual or made of real daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec

from topology.disruption import registry as targets
from topology.errors import BadParameterError, PieceError
from topology.registry import Piece

Who = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description='Which of the peers that are there: a target, e.g. { name = "random", share = 0.1 }. See the '
        "targets in docs/pieces.md."
    ),
]
Over = Annotated[
    float,
    msgspec.Meta(ge=0, le=1e9, description="Seconds over which the peers are hit one after the other; 0: all at once."),
]
For = Annotated[
    float,
    msgspec.Meta(
        ge=0,
        le=1e9,
        description="Seconds after which it is over and all is as before; 0: never. Of two that overlap, the first that"
        " is over ends both.",
    ),
]


class Stage(Protocol):
    """The verbs of a world. Peers are numbers 0 .. n − 1."""

    def everybody(self) -> list[int]:
        """Return all peers of the scenario, there or not."""

    def there(self) -> list[int]:
        """Return the peers that are there, in order."""

    def come(self, peers: Iterable[int]) -> None:
        """Have peers start, for the first time or again from their checkpoints."""

    def crash(self, peers: Iterable[int]) -> None:
        """Have peers vanish without a word."""

    def leave(self, peers: Iterable[int]) -> None:
        """Have peers say goodbye and go."""

    def partition(self, groups: Sequence[Iterable[int]]) -> None:
        """Let peers of different groups not reach each other; those in no group make one more."""

    def heal(self) -> None:
        """End the partition."""

    def slow(self, peers: Iterable[int], factor: float) -> None:
        """Let local steps of peers take `factor` times as long as in the beginning."""

    def throttle(self, peers: Iterable[int], factor: float) -> None:
        """Give the access links of peers `factor` times the capacity of the beginning."""

    def lose(self, share: float) -> None:
        """Set the share of messages that are lost; negative: that of the beginning."""

    def forget_data(self, peers: Iterable[int]) -> None:
        """Let peers lose their training sets."""

    def choose(self, who: Piece, number: int, *, among: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return whom a target hits among those who are there (or `among`); `number` makes the draw one of its own."""

    def after(self, delay_s: float, verb: Callable[..., None], *args: object) -> None:
        """Call a verb later."""

    def note(self, name: str, text: str, peers: Sequence[int] = ()) -> None:
        """Write into the record of the run what happened."""

    def split(self, how: str, shares: Sequence[float], number: int) -> list[tuple[int, ...]]:
        """Return groups of all peers, there or not, for a partition: `how` is "random" or "area"."""


class Happening(Protocol):
    """An event of a timeline. `number` is its place there: two entries that say the same draw different peers."""

    def happen(self, stage: Stage, number: int) -> None:
        """Let it happen now."""

    def absent_before(self, stage: Stage, number: int) -> Iterable[int]:
        """Return the peers that are not there until this event brings them."""


class Event:
    """Base of our events: nobody waits for them."""

    def absent_before(self, stage: Stage, number: int) -> Iterable[int]:  # noqa: ARG002  the interface
        """Return nobody."""
        return ()


def target(who: Mapping[str, Any]) -> Piece:
    """Return the target that a table names. Raises `PieceError` for one that does not exist or has no such knobs."""
    name = who.get("name")
    if not isinstance(name, str):
        raise BadParameterError(f"who: each target needs a name, got {dict(who)}")
    params = {key: value for key, value in who.items() if key != "name"}
    try:
        targets.build(name, params)
    except PieceError as error:
        raise BadParameterError(f"who: {error}") from error
    return Piece(name, params)


def one_by_one(stage: Stage, verb: Callable[[Iterable[int]], None], peers: Sequence[int], over_s: float) -> None:
    """Call the verb for each peer in turn, evenly over `over_s`; or for all at once."""
    if not over_s or len(peers) < 2:
        verb(peers)
        return
    for place, peer in enumerate(peers):
        stage.after(place * over_s / (len(peers) - 1), verb, [peer])


def counted(peers: Sequence[int]) -> str:
    """Say how many peers."""
    return f"{len(peers)} peer" + ("" if len(peers) == 1 else "s")
