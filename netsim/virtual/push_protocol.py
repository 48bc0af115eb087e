"""Push-sum in a virtual world: shells around the daemon's core for parcels of mass, for all peers.

A peer never waits: it mixes what has arrived, does its local steps, gives shares away, and begins again. Shares travel
as transfers, everything else as messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import msgspec

from netsim.virtual.learning import PushLearning, Version
from netsim.virtual.pair_protocol import unit_of
from netsim.virtual.push_peer import PushPeer, share_of
from netsim.virtual.stream import Stream
from peer.config.profiles import PROFILES
from peer.core.backoff import Backoff
from peer.core.mass import MassCore
from peer.core.mass_events import MassConfig, MassMisbehaved

if TYPE_CHECKING:
    from netsim.virtual.world import World

TIMING = PROFILES["wan"]


class Pushes:
    """Give shares away after each round of local steps, wait for nobody: for push-sum.

        mix what arrived ─▶ local steps ─▶ a share to each of `count` receivers ─▶ mix what arrived ...

    Receivers are those that the sampler draws; with sampler `static`, `count` of the linked neighbours at random. A
    share arrives exactly once or is refunded, see `peer/core/mass.py`. Pacing (`is_paced`) passes the right to give on
    with the shares, so that weights p do not run dry where shares get lost; the paper's rounds in step do so anyway.
    Source: [Assran, Loizou, Ballas & Rabbat 2019, Stochastic Gradient Push for Distributed Deep Learning], its
    asynchronous form; exactly once, or refunded, is ours.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """To how many, and how much of it may be on its way."""

        count: Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=1024,
                description="Receivers per round of local steps, unless a sampler draws them. Larger: more traffic.",
            ),
        ] = 1
        window: Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=1024,
                description="Shares to one receiver that it has not confirmed. Larger: receivers that went silent take"
                " more of the mass along, and whoever is left with little of it moves in large steps.",
            ),
        ] = 1
        is_paced: Annotated[
            bool,
            msgspec.Meta(
                description="Whether a peer gives only as many shares as arrive or come back, two rounds of them in"
                " advance, unless a sampler says to whom. true: somewhat less traffic. false: who gives and is given"
                " nothing, as among peers that are gone, may keep a thousandth, and its steps count a thousandfold."
            ),
        ] = True
        cancel_after_s: Annotated[
            float,
            msgspec.Meta(
                gt=0,
                le=1e6,
                description="Seconds until a share that nobody has confirmed is asked back. Larger: mass is away for"
                " longer when it got lost.",
            ),
        ] = 60.0

    def __init__(self, config: Config) -> None:
        self.config = config

    def play_in(self, world: World) -> PushProtocol:
        """Return it at work."""
        return PushProtocol(world, self.config)


class PushProtocol:
    """All shells of a world."""

    def __init__(self, world: World, config: Pushes.Config) -> None:
        self.world = world
        self.queue = world.queue
        self.wire = world.wire
        self.learning = cast(PushLearning, world.learning)
        self.names = world.names
        self.index_of = world.index_of
        self.count = config.count
        self.is_paced = config.is_paced and not world.directory.changes_by_round  # samplers pace by themselves
        self.total_rounds = world.scenario.rounds.total
        timeout_s = TIMING.request_timeout_s + TIMING.stall_s
        self.config = MassConfig(
            cancel_after_s=config.cancel_after_s, window=config.window, retry=Backoff(2 * timeout_s, 20 * timeout_s)
        )
        self.unit_s = unit_of(world)
        self._counted: Counter[str] = Counter()
        self.peers: Sequence[PushPeer] = [PushPeer(self, i, name) for i, name in enumerate(self.names)]

    # What the world tells -------------------------------------------------------------------------------------------

    def come(self, peer: int) -> None:
        """A peer is there."""
        self.peers[peer].start(self.queue.now)
        self.neighbours_changed(peer)

    def begin(self, peer: int) -> None:
        """Enough members are there: the peer trains."""
        self.peers[peer].begin_round()

    def go(self, peer: int, *, says_goodbye: bool) -> None:  # noqa: ARG002  the member list hears of it
        """A peer is gone."""
        core = self.peers[peer].core
        if core is not None:
            self._counted.update(core.counters)
        self.peers[peer].stop()

    def neighbours_changed(self, peer: int) -> None:
        """The member list says that a peer has other neighbours."""
        if self.peers[peer].is_there and not self.world.directory.changes_by_round:
            self.dial(peer)

    def dial(self, peer: int) -> None:
        """Dial the neighbours to which there is no link."""
        for name in self.world.directory.neighbours(peer):
            self.wire.connect(peer, self.index_of[name])

    def measured(self, peers: Sequence[int]) -> list[int]:
        """Return all of them."""
        return list(peers)

    def rounds_of(self, peer: int) -> int:
        """Return how many rounds of local steps a peer has done."""
        return self.peers[peer].round

    def is_done(self, peer: int) -> bool:
        """Say whether a peer has done all its local steps; it still mixes what arrives."""
        return bool(self.total_rounds) and self.peers[peer].round >= self.total_rounds

    def counters(self) -> Counter[str]:
        """Return what the cores counted, those of earlier lives too."""
        counted = Counter(self._counted)
        for shell in self.peers:
            if shell.core is not None:
                counted.update(shell.core.counters)
        return counted

    def late_by(self, peer: int, now: float) -> float:
        """Return by how much the peer's local steps have outlived their time."""
        return 0.0 if self.is_done(peer) else now - self.peers[peer].trained_at

    def imbalance(self) -> float:
        """Return how far the sum over all peers, there or not, is off, with the shares that are in nobody's state."""
        return self.learning.imbalance(self.under_way())

    def under_way(self) -> list[Version]:
        """Return the shares that were given and not taken, and those that were taken and not mixed."""
        journals = [shell.journal if shell.core is None else shell.core.journal() for shell in self.peers]
        taken = {
            (one.sender, name, number)
            for name, journal in zip(self.names, journals, strict=True)
            for one in journal.received
            for number in one.taken
        }
        flying = [
            share_of(one.share)
            for name, journal in zip(self.names, journals, strict=True)
            for one in journal.sent
            if not one.is_settled and (name, one.receiver, one.number) not in taken
        ]
        return [*flying, *(share for shell in self.peers for share in shell.arrived)]

    # What the shells ask --------------------------------------------------------------------------------------------

    def make_core(self, shell: PushPeer) -> MassCore:
        """Return the core of a new life."""
        return MassCore(self.config, rng=shell.rng, now=self.queue.now, journal=shell.journal)

    def receivers(self, shell: PushPeer) -> list[int]:
        """Return to whom the peer gives in this round."""
        directory, links = self.world.directory, self.wire.links[shell.index]
        if directory.changes_by_round:
            _, drawn = directory.exchange(shell.index, shell.round)
            return [self.index_of[name] for name in drawn]
        near = [other for name in directory.neighbours(shell.index) if (other := self.index_of[name]) in links]
        chance = Stream(self.world.seed, shell.name, "receivers", shell.round)
        for place in range(min(self.count, len(near))):
            other = place + chance.below(len(near) - place)
            near[place], near[other] = near[other], near[place]
        return sorted(near[: self.count])

    def at(self) -> float:
        """Return the time in units of a round of local steps."""
        return self.queue.now / self.unit_s

    def training_time(self, shell: PushPeer) -> float:
        """Return how long the next round of local steps takes, in seconds; for a peer without data, one unit."""
        if not self.learning.num_steps(shell.index):
            return self.unit_s
        return self.world.training_time(shell.index, shell.round)

    def punish(self, peer: int, fault: MassMisbehaved) -> None:
        """A peer broke the rules."""
        self.world.punish(peer, self.index_of[fault.peer], fault.kind)
