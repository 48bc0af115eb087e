"""Membership as daemons do it, message by message: each peer's own `MembershipCore` over the wire of a virtual world.

A newcomer dials one peer that is there; records spread by flooding over links; who is silent is timed out. Views differ
for a moment, and each peer computes the graph from its own. Costs as in reality: every heartbeat of everybody
reaches everybody. For hundreds of peers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec

from netsim.virtual.directory import COALESCE_S
from netsim.virtual.event_queue import EventQueue
from netsim.virtual.stream import Stream
from netsim.virtual.wire import Wire
from peer.core.membership import BadRecord, IncarnationBehind, MembershipConfig, MembershipCore, ViewChanged
from peer.core.messages import Digest, Message, PeerId, PeerRecord
from peer.node import MAX_LOST_DIALED
from topology.digraph import Digraph
from topology.disruption.cut import within
from topology.families import Family
from topology.graph import Graph
from topology.samplers import Sampler

REDIAL_S = 3.0
"""Mean pause between two dials of peers that are wanted and not linked."""

SIGNATURE = bytes(64)


class Gossip:
    """`Membership` of all peers; `authors` are their keys. `changed(peer)`: its neighbours are others now."""

    def __init__(
        self,
        queue: EventQueue,
        wire: Wire,
        authors: Mapping[PeerId, bytes],
        swarm: Digest,
        family: Family,
        sampler: Sampler,
        *,
        seed: int,
        upkeep: str,
        heartbeat_s: float,
        timeout_s: float,
        max_members: int,
        changed: Callable[[int], None],
    ) -> None:
        self._names: Sequence[PeerId] = tuple(authors)
        self.whole: Graph[PeerId] = family.build(self._names, seed)
        self._queue = queue
        self._wire = wire
        self._authors = authors
        self._name_of = {author: name for name, author in authors.items()}
        self._index = {name: i for i, name in enumerate(self._names)}
        self._family = family
        self._sampler = sampler
        self._seed = seed
        self._upkeep = upkeep
        self._config = MembershipConfig(swarm, heartbeat_s, timeout_s, max_members=max(max_members, len(authors)))
        self._changed = changed
        self._cores: dict[int, MembershipCore] = {}
        self._lives = [0] * len(self._names)
        self._neighbours: list[tuple[PeerId, ...]] = [()] * len(self._names)
        self._armed_at: dict[int, float] = {}
        self._stale: set[int] = set()
        self._graphs: dict[tuple[PeerId, ...], Graph[PeerId]] = {}
        self._drawn: dict[tuple[tuple[PeerId, ...], int], Digraph[PeerId]] = {}
        self._chance = Stream(seed, "gossip")

    # What the world asks --------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph[PeerId]:
        """The graph as those who are there have it: an edge needs both its ends to see it."""
        adjacency = {self._names[peer]: set(self._neighbours[peer]) for peer in sorted(self._cores)}
        return Graph({n: [o for o in around if n in adjacency.get(o, ())] for n, around in adjacency.items()})

    @property
    def members(self) -> list[int]:
        """Who is there."""
        return sorted(self._cores)

    @property
    def changes_by_round(self) -> bool:
        """Whether the neighbours are drawn anew in every round."""
        return self._sampler.changes

    def knows(self, peer: int) -> int:
        """Return of how many members a peer has heard."""
        core = self._cores.get(peer)
        return 0 if core is None else len(core.learners())

    def neighbours(self, peer: int) -> tuple[PeerId, ...]:
        """Return the peer's neighbours by its own view."""
        return self._neighbours[peer]

    def exchange(self, peer: int, round: int) -> tuple[tuple[PeerId, ...], tuple[PeerId, ...]]:
        """Return from whom the peer takes in `round`, and to whom it gives, by its own view."""
        core, name = self._cores.get(peer), self._names[peer]
        if core is None:
            return (), ()
        view = tuple(core.learners())
        drawn = self._drawn.get((view, round))
        if drawn is None:
            if len(self._drawn) > 64:
                self._drawn.clear()
            drawn = self._sampler.draw(view, seed=self._seed, round=round, graph=self._graph_of(view))
            self._drawn[view, round] = drawn
        return drawn.senders(name), drawn.receivers(name)

    def come(self, peer: int) -> None:
        """A peer starts a life: it knows itself, and dials somebody."""
        self._lives[peer] += 1
        name = self._names[peer]
        self._cores[peer] = MembershipCore(
            self._config,
            PeerRecord(self._authors[name], self._config.swarm, self._lives[peer], 0),
            own_id=name,
            sign=_signed,
            author_of=lambda record: self._name_of.get(record.author),
            peer_id_of=lambda author: self._name_of[author],
            now=self._queue.now,
        )
        self._flush(peer)
        self._redial(peer, self._lives[peer])

    def go(self, peer: int, *, says_goodbye: bool) -> None:
        """A peer is gone, perhaps with a word."""
        core = self._cores.pop(peer)
        self._lives[peer] += 1
        self._armed_at.pop(peer, None)
        self._neighbours[peer] = ()
        if says_goodbye:
            core.leave()
            for to, message in core.messages_to_send(self._queue.now):
                self._wire.send(peer, self._index[to], message)

    def settle(self) -> None:
        """Nothing waits: everybody learns from messages."""

    def heal(self) -> None:
        """A partition is over: nobody is told."""

    # Messages and links ---------------------------------------------------------------------------------------------

    def receive(self, peer: int, sender: int, message: Message) -> None:
        """Records have come."""
        core = self._cores.get(peer)
        if core is not None:
            core.receive_message(message, self._names[sender], self._queue.now)
            self._flush(peer)

    def link_up(self, peer: int, other: int) -> None:
        """A link stands."""
        core = self._cores.get(peer)
        if core is not None:
            core.link_up(self._names[other], self._queue.now)
            self._flush(peer)

    def link_down(self, peer: int, other: int) -> None:
        """A link is gone."""
        core = self._cores.get(peer)
        if core is not None:
            core.link_down(self._names[other])

    def _wake(self, peer: int, planned: float) -> None:
        core = self._cores.get(peer)
        if core is not None and self._armed_at.get(peer) == planned:
            del self._armed_at[peer]
            core.handle_timer(planned)
            self._flush(peer)

    def _flush(self, peer: int) -> None:
        core = self._cores[peer]
        while (event := core.next_event()) is not None:
            match event:
                case ViewChanged():
                    if peer not in self._stale:
                        self._stale.add(peer)
                        self._queue.after(COALESCE_S, self._compute, peer)
                case IncarnationBehind(seen=seen):
                    self._lives[peer] = seen + 1
                    core.update_own(incarnation=seen + 1)
                case BadRecord():
                    raise AssertionError("no peer forges records here")
        for to, message in core.messages_to_send(self._queue.now):
            self._wire.send(peer, self._index[to], message)
        due = core.get_timer()
        if due is not None and due < self._armed_at.get(peer, float("inf")):
            self._armed_at[peer] = due
            self._queue.at(due, self._wake, peer, due)

    # Neighbours -----------------------------------------------------------------------------------------------------

    def _graph_of(self, view: tuple[PeerId, ...]) -> Graph[PeerId]:
        graph = self._graphs.get(view)
        if graph is None:
            if len(self._graphs) > 64:
                self._graphs.clear()
            is_overlay = self._upkeep == "overlay"
            graph = self._family.build(view, self._seed) if is_overlay else within(self.whole, view)
            self._graphs[view] = graph
        return graph

    def _compute(self, peer: int) -> None:
        self._stale.discard(peer)
        core = self._cores.get(peer)
        if core is None:
            return
        graph = self._graph_of(tuple(core.learners()))
        name = self._names[peer]
        self._neighbours[peer] = graph.neighbours(name) if name in graph else ()
        self._dial(peer, core)
        self._changed(peer)

    def _dial(self, peer: int, core: MembershipCore) -> None:
        wanted = [*self._neighbours[peer], *islice(core.lost(), MAX_LOST_DIALED)]
        for other in wanted:
            self._wire.connect(peer, self._index[other])

    def _redial(self, peer: int, life: int) -> None:
        """Dial those that are wanted, now and then; somebody who is there, as long as there is no link at all."""
        core = self._cores.get(peer)
        if core is None or life != self._lives[peer]:
            return
        if not self._wire.links[peer]:
            others = [other for other in sorted(self._cores) if other != peer]
            if others:
                self._wire.connect(peer, others[self._chance.below(len(others))])
        self._dial(peer, core)
        self._queue.after(self._chance.uniform(0.5 * REDIAL_S, 1.5 * REDIAL_S), self._redial, peer, life)


def _signed(record: PeerRecord) -> PeerRecord:
    return msgspec.structs.replace(record, signature=SIGNATURE)
