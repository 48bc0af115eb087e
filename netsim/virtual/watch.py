"""Invariants of a virtual world, looked at while it runs: what the design promises of every daemon, whatever happens.

    admitted    what is mixed was admitted by the one who mixes, and was not mixed by it in an earlier round unless
                nothing newer of that author has come
    newest      of each author at most one snapshot is in a mix, and none older than one mixed before
    alive       whoever is there and not done ends its round, at the latest when local steps and deadline are over
    balanced    what pair exchanges and parcels of mass conserve is conserved, over all peers, there or not, and what is
                under way between them
    bounded     snapshots are held by those who may hold them, and by nobody else

A violation ends the run with the seed and the command that repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netsim.virtual.learning import Heard, Version
from netsim.virtual.protocol import Conserving
from peer.core.exchange_events import RoundReady
from peer.errors import MurmurationError

if TYPE_CHECKING:
    from netsim.virtual.world import World

SLACK_S = 1e-6
MAX_IMBALANCE = 1e-5  # relative; states are float32


class InvariantError(MurmurationError):
    """The code under simulation, or the simulator, broke a promise: a bug of ours."""


class Watch:
    """Looks on. `world` is what it looks at."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._admitted: list[dict[int, Version]] = [{} for _ in world.names]  # per peer: author -> newest admitted
        self._newest: list[dict[int, int]] = [{} for _ in world.names]  # per peer: author -> seq mixed last
        self.num_checked = 0

    def checked(self, peer: int, author: int, version: Version, reason: str) -> None:
        """Take note of what admission at `peer` said of a snapshot."""
        if not reason:
            self._admitted[peer][author] = version

    def forget(self, peer: int) -> None:
        """A peer is gone, with everything that it had received."""
        self._admitted[peer].clear()

    def mixed(self, peer: int, ready: RoundReady, heard: Sequence[Heard]) -> None:
        """Look at a mixing event."""
        self.num_checked += 1
        admitted, newest = self._admitted[peer], self._newest[peer]
        previous = -1
        for slot in heard:
            author = slot.author
            if author <= previous:
                self._fail(peer, f"round {ready.round}: author {author} has two snapshots in one mix")
            previous = author
            if admitted.get(author) != slot.version:
                self._fail(peer, f"round {ready.round}: snapshot {slot.version} of {author} was never admitted")
            if slot.seq < newest.get(author, -1):
                self._fail(peer, f"round {ready.round}: {author}'s snapshot is older than one mixed before")
            newest[author] = slot.seq

    def progress(self, now: float) -> None:
        """Look whether all who are there still move."""
        world = self._world
        for peer in world.there():
            late_s = world.protocol.late_by(peer, now) if world.has_begun(peer) else 0.0
            if late_s > SLACK_S:
                self._fail(peer, f"its round should have ended {late_s:.3f} s ago")

    def balance(self) -> None:
        """Look whether sums are what they were: at every measurement, and at the end."""
        protocol = self._world.protocol
        if isinstance(protocol, Conserving):
            off = protocol.imbalance()
            if not off <= MAX_IMBALANCE:
                self._fail(None, f"the sum over all peers is off by {off:.2g} of itself: an exchange was half done")

    def _fail(self, peer: int | None, what: str) -> None:
        world = self._world
        who = "" if peer is None else f"{world.names[peer]}: "
        raise InvariantError(f"{world.scenario.name}, seed {world.seed}, at {world.queue.now:.6f} s: {who}{what}")
