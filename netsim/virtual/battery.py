"""Charge: peers on a battery use it up by being there, by training and by talking, and are gone when it is empty.

    charge(t) = capacity − idle_w · (time there) − train_w · (time training) − joules_per_mb · (megabytes in and out)

Looked at every `LOOK_S`: a peer is gone at most so much later than it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.distributions import draw
from netsim.distributions import registry as distributions

if TYPE_CHECKING:
    from netsim.virtual.world import World

LOOK_S = 5.0


class Batteries:
    """The charges of those whom `battery.who` names; nobody's, when it is not set."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._settings = world.scenario.battery
        self._left_j: dict[int, float] = {}
        self._since_s: dict[int, float] = {}
        self._bytes: dict[int, int] = {}
        self._is_looking = False
        if self._settings.who is not None:
            capacity = distributions.build(self._settings.capacity_j.name, self._settings.capacity_j.params)
            for peer in world.choose(self._settings.who, -1, among=world.everybody()):
                self._left_j[peer] = draw(capacity, world.seed, "battery", peer)
                self._bytes[peer] = 0

    def is_empty(self, peer: int) -> bool:
        """Say whether the peer's charge is used up."""
        return self._left_j.get(peer, 1.0) <= 0.0

    def come(self, peer: int) -> None:
        """A peer is there: its charge runs."""
        if peer in self._left_j:
            self._since_s[peer] = self._world.queue.now
            if not self._is_looking:
                self._is_looking = True
                self._world.queue.after(LOOK_S, self._look)

    def go(self, peer: int) -> None:
        """A peer is gone: nothing runs any more."""
        if peer in self._since_s:
            self._settle(peer)
            del self._since_s[peer]

    def train(self, peer: int, duration_s: float) -> None:
        """The peer trains for so long."""
        if peer in self._left_j:
            self._left_j[peer] -= self._settings.train_w * duration_s

    def _settle(self, peer: int) -> None:
        world = self._world
        now, moved = world.queue.now, world.wire.bytes_in[peer] + world.wire.bytes_out[peer]
        used_j = self._settings.idle_w * (now - self._since_s[peer])
        used_j += self._settings.joules_per_mb * (moved - self._bytes[peer]) / 1e6
        self._left_j[peer] -= used_j
        self._since_s[peer], self._bytes[peer] = now, moved

    def _look(self) -> None:
        for peer in sorted(self._since_s):
            self._settle(peer)
        empty = [peer for peer in sorted(self._since_s) if self._left_j[peer] <= 0.0]
        if empty:
            self._world.note("battery", f"{len(empty)} batteries are empty", empty)
            self._world.counters["batteries_empty"] += len(empty)
            self._world.crash(empty)
        self._is_looking = bool(self._since_s)
        if self._is_looking:
            self._world.queue.after(LOOK_S, self._look)
