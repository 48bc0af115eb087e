"""Meetings of two in a virtual world: shells around the daemon's core for pair exchanges, for all peers.

Time of a peer passes in local steps, one round after the other without a pause; meetings come at random instants, and
neither waits for the other. Each edge of the graph has a Poisson clock; when it ticks, the end with the smaller number
proposes an exchange, if it is free. Vectors travel as transfers, everything else as messages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, cast

import msgspec

from netsim.virtual.cast import distribution
from netsim.virtual.learning import PairLearning
from netsim.virtual.pair_peer import PairPeer
from peer.config.profiles import PROFILES
from peer.core.pairing import PairCore
from peer.core.pairing_events import ExchangeId, PairConfig, PairMisbehaved
from topology.clocks import PoissonClock
from topology.optimal_rates import optimal_rates

if TYPE_CHECKING:
    from netsim.virtual.world import World

TIMING = PROFILES["wan"]


class Pairs:
    """Two at a time at random instants, training in between: for AD-PSGD, A²CiD², DADAO and NoLoCo.

        peer i:   local steps, again and again, each round in its modelled time
        edge e:   meetings at the instants of a Poisson clock of rate λ_e;   Σ_e λ_e = rate · n / 2

    The unit of time is the mean duration of a round of local steps. A meeting does not happen when the end with the
    smaller number is in another one that it began, or the other end answers somebody else: busy. Exchanges are atomic,
    see `peer/core/pairing.py`. `rounds.total` counts rounds of local steps.
    Source: [Lian, Zhang, Zhang & Liu 2018, Asynchronous Decentralized Parallel Stochastic Gradient Descent]; clocks of
    edges as in [Boyd, Ghosh, Prabhakar & Shah 2006, Randomized gossip algorithms].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How often who meets."""

        rate: Annotated[
            float,
            msgspec.Meta(
                gt=0,
                le=1e6,
                description="Meetings per peer and round of local steps, in the mean over the whole graph. Larger: more"
                " traffic, models closer together.",
            ),
        ] = 1.0
        rates: Annotated[
            Literal["uniform", "optimal"],
            msgspec.Meta(
                description="uniform: all edges alike. optimal: in the proportion that DADAO's condition needs least of"
                " (extra `optimal`; small graphs), found once for the whole graph; other edges as if uniform.",
            ),
        ] = "uniform"
        gradients_at: Annotated[
            Literal["start", "end"],
            msgspec.Meta(
                description="Which model local steps are computed from. start: as they begin, which is what a machine"
                " does; meetings in between make it stale. end: as they end, which is what theories of Poisson clocks"
                " assume.",
            ),
        ] = "start"
        max_answers: Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=64,
                description="Exchanges that a peer answers at once, besides one that it began. From 2 on, sums are kept"
                " and models may move apart.",
            ),
        ] = 1
        timeout_s: Annotated[
            float,
            msgspec.Meta(
                gt=0,
                le=1e6,
                description="Seconds until a peer gives up an exchange that it began. Larger: it begins no other one"
                " while its partner is silent. Smaller than two transfers: nothing is ever exchanged.",
            ),
        ] = TIMING.request_timeout_s + TIMING.stall_s
        is_exclusive: Annotated[
            bool,
            msgspec.Meta(description="Whether a peer is in one exchange at a time, as the paper of AD-PSGD has it."),
        ] = False

    def __init__(self, config: Config) -> None:
        self.config = config

    def play_in(self, world: World) -> PairProtocol:
        """Return it at work."""
        return PairProtocol(world, self.config)


class PairProtocol:
    """All shells of a world, and the clocks of the edges."""

    def __init__(self, world: World, config: Pairs.Config) -> None:
        scenario = world.scenario
        self.world = world
        self.queue = world.queue
        self.wire = world.wire
        self.learning = cast(PairLearning, world.learning)
        self.names = world.names
        self.index_of = world.index_of
        self.total_rounds = scenario.rounds.total
        self.gradients_at = config.gradients_at
        self.config = PairConfig(
            timeout_s=config.timeout_s,
            is_exclusive=config.is_exclusive or scenario.method.algorithm.name == "noloco",
            max_answers=config.max_answers,
            query_after_s=config.timeout_s,
        )
        self.unit_s = unit_of(world)
        self._uniform = config.rate * len(self.names) / max(1, 2 * len(world.directory.whole.edges))
        self._optimal = self._optimal_rates(config.rate) if config.rates == "optimal" else {}
        self._ticking: set[tuple[int, int]] = set()
        self._clocks: dict[tuple[int, int], PoissonClock[str]] = {}
        self._counted: Counter[str] = Counter()
        self.peers: Sequence[PairPeer] = [PairPeer(self, i, name) for i, name in enumerate(self.names)]

    def _optimal_rates(self, rate: float) -> dict[tuple[int, int], float]:
        found = optimal_rates(self.world.directory.whole)
        scale = rate * len(self.names) / 2 / sum(found.values())
        return {(self.index_of[a], self.index_of[b]): scale * value for (a, b), value in found.items()}

    # What the world tells -------------------------------------------------------------------------------------------

    def come(self, peer: int) -> None:
        """A peer is there."""
        self.peers[peer].start(self.queue.now)
        self.neighbours_changed(peer)

    def begin(self, peer: int) -> None:
        """Enough members are there: the peer trains."""
        self.peers[peer].begin_steps()

    def go(self, peer: int, *, says_goodbye: bool) -> None:  # noqa: ARG002  the member list hears of it
        """A peer is gone."""
        core = self.peers[peer].core
        if core is not None:
            self._counted.update(core.counters)
        self.peers[peer].stop()

    def neighbours_changed(self, peer: int) -> None:
        """The member list says that a peer has other neighbours."""
        if not self.peers[peer].is_there:
            return
        for name in self.world.directory.neighbours(peer):
            other = self.index_of[name]
            self.wire.connect(peer, other)
            edge = (peer, other) if peer < other else (other, peer)
            if edge not in self._ticking and self._plan_tick(edge):
                self._ticking.add(edge)

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
        """Say whether a peer has done all its local steps; it goes on meeting others."""
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
        """Return how far the sum over all peers, there or not, is off, with what one end only has added yet."""
        journals = [shell.journal if shell.core is None else shell.core.journal() for shell in self.peers]
        committed = {
            ExchangeId(name, nonce)
            for name, journal in zip(self.names, journals, strict=True)
            for _, nonce in journal.unconfirmed
        }
        return self.learning.imbalance(
            [
                (version_of(one.own), version_of(one.theirs))
                for journal in journals
                for one in journal.prepared
                if ExchangeId(one.initiator, one.nonce) in committed
            ]
        )

    # Clocks ---------------------------------------------------------------------------------------------------------

    def _plan_tick(self, edge: tuple[int, int]) -> bool:
        clock = self._clocks.get(edge)
        if clock is None:
            rate = self._optimal.get(edge, self._uniform) / self.unit_s
            if not rate > 0:
                return False
            ends = self.names[edge[0]], self.names[edge[1]]
            clock = self._clocks[edge] = PoissonClock(rate, self.world.seed, ends, "meetings")
        self.queue.at(clock.after(self.queue.now), self._tick, edge)
        return True

    def _tick(self, edge: tuple[int, int]) -> None:
        """Two neighbours meet; the clock stops when they are neighbours no more, or the proposer is gone."""
        peer, other = edge
        shell = self.peers[peer]
        if not shell.is_there or self.names[other] not in self.world.directory.neighbours(peer):
            self._ticking.discard(edge)
            return
        self._plan_tick(edge)
        shell.meet(other)

    # What the shells ask --------------------------------------------------------------------------------------------

    def make_core(self, shell: PairPeer) -> PairCore:
        """Return the core of a new life."""
        return PairCore(
            self.config, shell.name, life=shell.life, rng=shell.rng, now=self.queue.now, journal=shell.journal
        )

    def at(self) -> float:
        """Return the time in units of a round of local steps."""
        return self.queue.now / self.unit_s

    def training_time(self, shell: PairPeer) -> float:
        """Return how long the next round of local steps takes, in seconds; for a peer without data, one unit."""
        if not self.learning.num_steps(shell.index):
            return self.unit_s
        return self.world.training_time(shell.index, shell.round)

    def punish(self, peer: int, fault: PairMisbehaved) -> None:
        """A peer broke the rules."""
        self.world.punish(peer, self.index_of[fault.peer], fault.kind)


def unit_of(world: World) -> float:
    """Return the mean duration of a round of local steps over the peers that have data, in seconds."""
    step_s = distribution(world.scenario.world.step_s).mean
    durations = [
        steps * step_s / world.cast.speed[peer]
        for peer in world.everybody()
        if (steps := world.learning.num_steps(peer))
    ]
    return math.fsum(durations) / len(durations) if durations else step_s


def version_of(vectors: bytes) -> int:
    """Return the copy that is named so on the wire."""
    return int.from_bytes(vectors)
