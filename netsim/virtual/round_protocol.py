"""The daemon's way to exchange, for all peers of a virtual world: rounds of train, publish, gather, mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from netsim.virtual.learning import Learning, Version
from netsim.virtual.round_peer import RoundPeer
from peer.config.profiles import PROFILES, ProfileName
from peer.core.backoff import Backoff
from peer.core.exchange import ExchangeCore
from peer.core.exchange_events import ExchangeConfig, Misbehaved
from peer.core.messages import Manifest, PeerId
from peer.core.offers import KEPT

if TYPE_CHECKING:
    from netsim.virtual.world import World

SIGNATURE = bytes(64)
PROFILE: ProfileName = "wan"
REDIAL_S = 2.0


class Rounds:
    """Rounds as the daemon does them: local steps, publish, gather until quorum or deadline, mix.

        train ─▶ publish ─▶ (quorum · linked neighbours are fresh, or deadline_s) ─▶ mix ─▶ train ...

    Every peer is driven by the daemon's own exchange core; see `rounds` for its knobs.
    Source: `peer/core/exchange.py`.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Its knobs are in the table `rounds`."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def play_in(self, world: World) -> RoundProtocol:
        """Return it at work."""
        return RoundProtocol(world, world.learning)


class RoundProtocol:
    """Makes the shells and gives them what they need; `world` is where they live."""

    def __init__(self, world: World, learning: Learning) -> None:
        scenario = world.scenario
        self.world = world
        self.learning = learning
        self.queue = world.queue
        self.wire = world.wire
        self.watch = world.watch
        self.names = world.names
        self.index_of = world.index_of
        self.gossip_steps = scenario.method.gossip_steps
        self.interval_s = scenario.rounds.interval_s
        # where each round has a graph of its own, peers that are not neighbours drift apart by rounds, unnoticed
        self.kept_snapshots = KEPT + (len(self.names).bit_length() if world.directory.changes_by_round else 0)
        timing = PROFILES[PROFILE]
        self._config = ExchangeConfig(
            world.swarm,
            learning.space_hash,
            max_model_bytes=max(scenario.limits.model_max_bytes, learning.model_bytes),
            total_rounds=scenario.rounds.total * self.gossip_steps,
            quorum=scenario.rounds.quorum,
            deadline_s=scenario.rounds.deadline_s,
            max_age_rounds=scenario.rounds.max_age_rounds,
            request_timeout_s=timing.request_timeout_s + timing.stall_s,
            fetch_retry=Backoff(timing.dial_backoff_s, timing.dial_backoff_max_s),
            kept_snapshots=self.kept_snapshots,
        )
        self._counted: Counter[str] = Counter()
        self._authors = [world.authors[name] for name in self.names]
        self._by_author = {author: i for i, author in enumerate(self._authors)}
        self.peers: Sequence[RoundPeer] = [RoundPeer(self, i, name) for i, name in enumerate(self.names)]

    # What the world tells -------------------------------------------------------------------------------------------

    def come(self, peer: int) -> None:
        """A peer is there: it learns who its neighbours are, and begins."""
        shell = self.peers[peer]
        shell.start()
        self.neighbours_changed(peer)

    def begin(self, peer: int) -> None:
        """Enough members are there for the peer to begin its first round."""
        self.peers[peer].go()

    def go(self, peer: int, *, says_goodbye: bool) -> None:  # noqa: ARG002  the member list hears of it
        """A peer is gone."""
        core = self.peers[peer].core
        if core is not None:
            self._counted.update(core.counters)
        self.peers[peer].stop()

    def counters(self) -> Counter[str]:
        """Return what the cores counted, those of earlier lives too."""
        counted = Counter(self._counted)
        for shell in self.peers:
            if shell.core is not None:
                counted.update(shell.core.counters)
        return counted

    def neighbours_changed(self, peer: int) -> None:
        """The member list says that a peer has other neighbours."""
        shell, directory = self.peers[peer], self.world.directory
        if shell.core is None or directory.changes_by_round:
            return
        self._set_neighbours(shell, directory.neighbours(peer), None)

    def wire_round(self, shell: RoundPeer, now: float) -> None:  # noqa: ARG002  the time of the queue
        """Tell the core with whom it exchanges in this round, where that changes."""
        directory = self.world.directory
        if directory.changes_by_round and shell.core is not None:
            senders, receivers = directory.exchange(shell.index, shell.core.round)
            self._set_neighbours(shell, senders, receivers)

    def _set_neighbours(
        self, shell: RoundPeer, senders: tuple[PeerId, ...], receivers: tuple[PeerId, ...] | None
    ) -> None:
        now = self.queue.now
        assert shell.core is not None
        shell.core.set_neighbours(senders, now, receivers=receivers)
        for other in dict.fromkeys((*senders, *(receivers or ()))):
            self.wire.connect(shell.index, self.index_of[other])
        shell.flush(now)

    def dial(self, peer: int) -> None:
        """Dial the neighbours to which there is no link, one after the other within `REDIAL_S`."""
        shell = self.peers[peer]
        if shell.core is not None:
            for other in shell.core.neighbours:
                self.wire.connect(peer, self.index_of[other], shell.rng.uniform(0.0, REDIAL_S))

    def measured(self, peers: Sequence[int]) -> list[int]:
        """Return all of them: everybody has a model of its own."""
        return list(peers)

    def rounds_of(self, peer: int) -> int:
        """Return the round (of the method) that a peer is in."""
        return self.peers[peer].round // self.gossip_steps

    def is_done(self, peer: int) -> bool:
        """Say whether a peer has done all its rounds."""
        return self.peers[peer].is_done

    def late_by(self, peer: int, now: float) -> float:
        """Return by how much the peer's round has outlived its local steps and its deadline, or its interval."""
        shell = self.peers[peer]
        return 0.0 if shell.is_done else now - shell.ends_by(self._config.deadline_s, self.interval_s)

    # What the shells ask --------------------------------------------------------------------------------------------

    def make_core(self, shell: RoundPeer) -> ExchangeCore:
        """Return the core of a new life."""
        return ExchangeCore(self._config, first_round=shell.round, is_authentic=self._is_authentic, rng=shell.rng)

    def _is_authentic(self, manifest: Manifest, sender: PeerId) -> bool:
        return self._by_author.get(manifest.author) == self.index_of[sender]

    def manifest(self, shell: RoundPeer, version: Version, degree: int) -> Manifest:
        """Return the header of a snapshot; its hash is its number."""
        core = shell.core
        assert core is not None
        return Manifest(
            self.world.swarm,
            self.learning.space_hash,
            self._authors[shell.index],
            shell.seq,
            core.round,
            shell.steps_done,
            self.learning.samples(shell.index),
            degree,
            self.learning.model_bytes,
            version.to_bytes(32),
            signature=SIGNATURE,
        )

    def version_of(self, sha256: bytes) -> Version:
        """Return the snapshot with this hash."""
        return int.from_bytes(sha256)

    def training_time(self, shell: RoundPeer) -> float:
        """Return how long the local steps of the round take, in seconds."""
        return self.world.training_time(shell.index, shell.core.round if shell.core else 0)

    def round_done(self, shell: RoundPeer) -> None:
        """A peer has mixed."""
        self.world.round_done(shell.index, shell.round // self.gossip_steps)

    def punish(self, peer: int, fault: Misbehaved) -> None:
        """A peer broke the rules: its link is cut, and not made again for a while."""
        self.world.punish(peer, self.index_of[fault.peer], fault.kind)
