"""How peers of a virtual world exchange: one file for each way, all of them shells around cores of the daemon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from topology.registry import Registry

if TYPE_CHECKING:
    from netsim.virtual.wire import Party
    from netsim.virtual.world import World


class Exchange(Protocol):
    """A way to exchange, at work in a world. Peers are numbers."""

    peers: Sequence[Party]
    """Whom the wire delivers to."""

    def come(self, peer: int) -> None:
        """A peer is there: with nothing, or with its checkpoint."""

    def begin(self, peer: int) -> None:
        """A peer may begin to learn: enough members are there."""

    def go(self, peer: int, *, says_goodbye: bool) -> None:
        """A peer is gone; its links break after this."""

    def neighbours_changed(self, peer: int) -> None:
        """The member list gives a peer other neighbours."""

    def dial(self, peer: int) -> None:
        """A peer dials whom it wants a link to and has none."""

    def measured(self, peers: Sequence[int]) -> list[int]:
        """Return those of `peers` whose models say how far learning is."""

    def rounds_of(self, peer: int) -> int:
        """Return the round that a peer is in."""

    def is_done(self, peer: int) -> bool:
        """Say whether a peer has done all its rounds."""

    def counters(self) -> Counter[str]:
        """Return what the cores counted, summed over all peers and lives."""

    def late_by(self, peer: int, now: float) -> float:
        """Return by how many seconds a peer is later than it may ever be; not above 0 when all is well."""


@runtime_checkable
class Conserving(Protocol):
    """An exchange under which a sum over all peers is kept, whatever befalls them."""

    def imbalance(self) -> float:
        """Return by how much of itself the sum is off, that of the first call being right; 0 where nothing is known."""


class ProtocolPiece(Protocol):
    """What a scenario names under `protocol`."""

    def play_in(self, world: World) -> Exchange:
        """Return it at work."""


protocols: Registry[Any] = Registry(
    "protocol",
    "murmuration.protocols",
    {
        "modest": "netsim.virtual.modest_protocol:Modest",
        "pairs": "netsim.virtual.pair_protocol:Pairs",
        "pushes": "netsim.virtual.push_protocol:Pushes",
        "rounds": "netsim.virtual.round_protocol:Rounds",
    },
)
