"""Who knows of whom in a virtual world: membership as a directory that all members share, and the graph over it.

A newcomer and a goodbye are known to all at once, a death after `timeout_s`; nothing is sent. Each peer's neighbours
follow from the member list as in a daemon. For thousands of peers, where heartbeats by flooding (what daemons do, and
`gossip.py` plays) would be all that is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netsim.virtual.event_queue import EventQueue
from netsim.virtual.stream import Stream
from peer.core.messages import Message, PeerId
from topology.digraph import Digraph
from topology.disruption.cut import within
from topology.families import Family
from topology.graph import Graph
from topology.samplers import Sampler

COALESCE_S = 0.05
"""Least time between two computations of the graph, as in `peer.node.VIEW_PAUSE_S`."""


class Directory:
    """Members and neighbours. `changed(peer)` is called for each peer whose neighbours are others now."""

    def __init__(
        self,
        queue: EventQueue,
        names: Sequence[PeerId],
        family: Family,
        sampler: Sampler,
        *,
        seed: int,
        upkeep: str,
        repair_below: int,
        timeout_s: float,
        changed: Callable[[int], None],
    ) -> None:
        self.whole: Graph[PeerId] = family.build(names, seed)
        """The graph over all peers, there or not."""
        self.graph: Graph[PeerId] = self.whole
        """The graph over the members."""
        self.members: set[int] = set()
        self._queue = queue
        self._names = names
        self._index = {name: i for i, name in enumerate(names)}
        self._family = family
        self._sampler = sampler
        self._seed = seed
        self._upkeep = upkeep
        self._repair_below = repair_below
        self._timeout_s = timeout_s
        self._changed = changed
        self._lives = [0] * len(names)
        self._is_stale = False
        self._drawn: dict[int, Digraph[PeerId]] = {}
        self._neighbours: list[tuple[PeerId, ...]] = [()] * len(names)
        self._chance = Stream(seed, "repair")
        self._extra: dict[int, set[int]] = {}

    @property
    def changes_by_round(self) -> bool:
        """Whether the neighbours are drawn anew in every round."""
        return self._sampler.changes

    def knows(self, peer: int) -> int:  # noqa: ARG002  everybody knows the same
        """Return how many members there are."""
        return len(self.members)

    def receive(self, peer: int, sender: int, message: Message) -> None:
        """Nothing is sent about members."""

    def link_up(self, peer: int, other: int) -> None:
        """Links say nothing about members."""

    def link_down(self, peer: int, other: int) -> None:
        """Links say nothing about members."""

    def heal(self) -> None:
        """Partitions say nothing about members."""

    def neighbours(self, peer: int) -> tuple[PeerId, ...]:
        """Return the peer's neighbours among the members."""
        return self._neighbours[peer]

    def exchange(self, peer: int, round: int) -> tuple[tuple[PeerId, ...], tuple[PeerId, ...]]:
        """Return from whom the peer takes in `round`, and to whom it gives."""
        name = self._names[peer]
        if not self._sampler.changes:
            return self._neighbours[peer], self._neighbours[peer]
        if peer not in self.members:
            return (), ()
        drawn = self._drawn.get(round)
        if drawn is None:
            for old in [known for known in self._drawn if known < round - 8]:
                del self._drawn[old]
            names = [self._names[i] for i in sorted(self.members)]
            drawn = self._sampler.draw(names, seed=self._seed, round=round, graph=self.graph)
            self._drawn[round] = drawn
        return drawn.senders(name), drawn.receivers(name)

    def come(self, peer: int) -> None:
        """A peer is there (again)."""
        self._lives[peer] += 1
        if peer not in self.members:
            self.members.add(peer)
            self._note_change()

    def go(self, peer: int, *, says_goodbye: bool) -> None:
        """A peer is gone."""
        self._lives[peer] += 1
        if says_goodbye:
            self._remove(peer, self._lives[peer])
        else:
            self._queue.after(self._timeout_s, self._remove, peer, self._lives[peer])

    def settle(self) -> None:
        """Compute what waits to be computed; at the beginning, when all are there."""
        if self._is_stale:
            self._compute()

    def _remove(self, peer: int, life: int) -> None:
        if life == self._lives[peer]:
            self.members.discard(peer)
            self._extra.pop(peer, None)
            for others in self._extra.values():
                others.discard(peer)
            self._note_change()

    def _note_change(self) -> None:
        self._drawn.clear()
        if not self._is_stale:
            self._is_stale = True
            self._queue.after(COALESCE_S, self._compute)

    def _compute(self) -> None:
        if not self._is_stale:
            return
        self._is_stale = False
        self._drawn.clear()  # drawn before the graph was known
        here = [self._names[i] for i in sorted(self.members)]
        if self._upkeep == "overlay":
            self.graph = self._family.build(here, self._seed)
        else:
            self.graph = self._repaired(within(self.whole, here))
        for peer, name in enumerate(self._names):
            found = self.graph.neighbours(name) if name in self.graph else ()
            if found != self._neighbours[peer]:
                self._neighbours[peer] = found
                self._changed(peer)

    def _repaired(self, graph: Graph[PeerId]) -> Graph[PeerId]:
        """Give peers with too few neighbours random ones more; links once made stay while both ends are members."""
        if self._upkeep != "repair":
            return graph
        here = sorted(self.members)
        around = {peer: {self._index[name] for name in graph.neighbours(self._names[peer])} for peer in here}
        for peer, others in self._extra.items():
            for other in others & self.members:
                around[peer].add(other)
                around[other].add(peer)
        for peer in here:
            wanted = min(self._repair_below, len(here) - 1)
            while len(around[peer]) < wanted:
                other = here[self._chance.below(len(here))]
                if other != peer and other not in around[peer]:
                    around[peer].add(other)
                    around[other].add(peer)
                    self._extra.setdefault(peer, set()).add(other)
        names = self._names
        return Graph({names[peer]: [names[other] for other in around[peer]] for peer in here})
