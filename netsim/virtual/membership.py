"""Who knows of whom in a virtual world, and so who is whose neighbour: what a world asks of its membership."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from peer.core.messages import Message, PeerId
from topology.graph import Graph


class Membership(Protocol):
    """Members and neighbours of all peers, which are numbers; the owner is told when a peer's neighbours change."""

    whole: Graph[PeerId]
    """The graph over all peers of the scenario, there or not."""

    @property
    def graph(self) -> Graph[PeerId]:
        """The graph over the members."""

    @property
    def members(self) -> Collection[int]:
        """Who is a member, for those who know everything."""

    @property
    def changes_by_round(self) -> bool:
        """Whether the neighbours are drawn anew in every round."""

    def knows(self, peer: int) -> int:
        """Return of how many members, itself included, a peer knows."""

    def neighbours(self, peer: int) -> tuple[PeerId, ...]:
        """Return the peer's neighbours among the members that it knows."""

    def exchange(self, peer: int, round: int) -> tuple[tuple[PeerId, ...], tuple[PeerId, ...]]:
        """Return from whom the peer takes in `round`, and to whom it gives."""

    def come(self, peer: int) -> None:
        """A peer is there (again)."""

    def go(self, peer: int, *, says_goodbye: bool) -> None:
        """A peer is gone; its links still stand."""

    def settle(self) -> None:
        """Compute what waits to be computed; at the beginning, when all are there."""

    def receive(self, peer: int, sender: int, message: Message) -> None:
        """A message about members has come."""

    def link_up(self, peer: int, other: int) -> None:
        """A link stands."""

    def link_down(self, peer: int, other: int) -> None:
        """A link is known to be gone."""

    def heal(self) -> None:
        """A partition is over."""
