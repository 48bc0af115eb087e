"""A virtual world: everything of one run of a scenario, in one process, in virtual time.

    cast ── who is there ──▶ directory ── neighbours ──▶ protocol (shells around peer/core) ──▶ wire
                                │                               │
    timeline, churn, battery ───┘                               └──▶ learning (aggregation/)        watch, measures

The world is the stage on which a scenario's timeline plays: `crash`, `come`, `leave`, `partition` and so on are the
verbs that `netsim.happenings` calls; other worlds (real daemons) have the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

from netsim.churn import registry as churns
from netsim.distributions import draw, uniform_of
from netsim.experiments.run_folder import EventRecord
from netsim.happenings import registry as happenings
from netsim.scenario.reading import swarm_of
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.battery import Batteries
from netsim.virtual.cast import Cast, cast_of, chosen, distribution, key_of, names_of
from netsim.virtual.directory import Directory
from netsim.virtual.event_queue import EventQueue
from netsim.virtual.gossip import Gossip
from netsim.virtual.learning import Learning
from netsim.virtual.membership import Membership
from netsim.virtual.protocol import Exchange, protocols
from netsim.virtual.watch import Watch
from netsim.virtual.wire import Wire
from peer.core.messages import PeerId
from topology.families import Family
from topology.families import registry as families
from topology.families.placed import Placed, scatter
from topology.registry import Piece
from topology.samplers import registry as samplers

BAN_S = 600.0
GOODBYES = 0.5
"""Share of the sessions of churn that end with a goodbye; the others end without a word."""
PROGRESS_EVERY_S = 60.0

MakeLearning = Callable[["World"], Learning]


class World:
    """One run. `make_learning(world)` gives the models; `play` runs it to its end.

    `identities` are the peers' ids and public keys; made up, if there are none to be like real ones.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        make_learning: MakeLearning,
        *,
        identities: Mapping[PeerId, bytes] | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.swarm = swarm_of(scenario)
        self.queue = EventQueue()
        self.authors = dict(identities or {name: key_of(name) for name in names_of(scenario.peers.count)})
        self.names: tuple[PeerId, ...] = tuple(sorted(self.authors))
        self.index_of = {name: i for i, name in enumerate(self.names)}
        self.counters: Counter[str] = Counter()
        self.events: list[EventRecord] = []
        self.stop_reason = ""
        family = families.build(scenario.topology.family.name, scenario.topology.family.params)
        self.wire = Wire(
            self.queue,
            len(self.names),
            seed=seed,
            latency=distribution(scenario.links.latency_s),
            jitter=distribution(scenario.links.jitter_s) if scenario.links.jitter_s is not None else None,
            loss=scenario.links.loss,
            silence_s=scenario.links.silence_s,
        )
        self.directory = self._membership(family)
        place = family.positions if isinstance(family, Placed) else scatter
        self.cast: Cast = cast_of(scenario, seed, self.names, self.directory.whole, place(self.names, seed))
        self._is_there = [False] * len(self.names)
        self._has_begun = [False] * len(self.names)
        self._slowness = [1.0] * len(self.names)
        self._step_time = distribution(scenario.world.step_s)
        self._step_s = self._step_time.mean if self._step_time.least == self._step_time.mean else None
        self._reached = 0  # round of the median peer
        self._rounds = [0] * len(self.names)
        self._num_there = self._num_ahead = self._num_done = 0  # of those there: beyond `_reached`; done
        self._is_done = [False] * len(self.names)
        self._at_round: list[tuple[int, Callable[[], None]]] = []
        self._on_round: list[Callable[[int], None]] = []
        self.watch = Watch(self)
        if self.cast.is_limited:
            self.wire.limit(self.cast.up_bytes_s, self.cast.down_bytes_s)
        self.learning = make_learning(self)
        self.protocol: Exchange = protocols.build(scenario.protocol.name, scenario.protocol.params).play_in(self)
        self.wire.parties = self.protocol.peers
        self.batteries = Batteries(self)
        self._plan()

    def _membership(self, family: Family) -> Membership:
        topology, settings = self.scenario.topology, self.scenario.membership
        sampler = samplers.build(topology.sampler.name, topology.sampler.params)
        if self.scenario.world.membership == "gossip":
            return Gossip(
                self.queue,
                self.wire,
                self.authors,
                self.swarm,
                family,
                sampler,
                seed=self.seed,
                upkeep=topology.upkeep,
                heartbeat_s=settings.heartbeat_s,
                timeout_s=settings.timeout_s,
                max_members=self.scenario.limits.max_members,
                changed=self._neighbours_changed,
            )
        return Directory(
            self.queue,
            self.names,
            family,
            sampler,
            seed=self.seed,
            upkeep=topology.upkeep,
            repair_below=topology.repair_below,
            timeout_s=settings.timeout_s,
            changed=self._neighbours_changed,
        )

    # Running --------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Run until everybody is done, a stop rule holds, or nothing can happen any more."""
        self.watch.balance()
        self.queue.run(self.scenario.stop.time_s or math.inf)
        if not self.stop_reason:
            self.stop_reason = "time" if len(self.queue) else "nothing left to happen"
        self.watch.progress(self.queue.now)
        self.watch.balance()

    def stop(self, reason: str) -> None:
        """End the run after this event."""
        if not self.stop_reason:
            self.stop_reason = reason
            self.queue.stop()

    def _plan(self) -> None:
        timeline = [happenings.build(entry.event.name, entry.event.params) for entry in self.scenario.timeline]
        absent = {peer for number, one in enumerate(timeline) for peer in one.absent_before(self, number)}
        churn = self.scenario.churn
        piece = churns.build(churn.name, churn.params) if churn is not None else None
        for peer in range(len(self.names)):
            if piece is not None and self.cast.churns[peer]:
                until_s = self.scenario.stop.time_s or math.inf
                self._follow(peer, piece.presence(self.names[peer], peer, seed=self.seed, until_s=until_s))
            elif peer not in absent:
                self.queue.at(0.0, self.come, [peer])
        self.queue.at(0.0, self.directory.settle)
        self.queue.at(0.0, self._begin_all)
        for number, (entry, one) in enumerate(zip(self.scenario.timeline, timeline, strict=True)):
            if entry.at_round:
                self.when_round(entry.at_round, partial(one.happen, self, number))
            else:
                self.queue.at(entry.at_s or 0.0, one.happen, self, number)
        self.queue.at(PROGRESS_EVERY_S, self._look)

    def _follow(self, peer: int, presence: Iterator[tuple[float, float]]) -> None:
        """Plan the next session of a peer; the one after it when that ends."""
        session = next(presence, None)
        if session is None:
            return
        start_s, end_s = session
        self.queue.at(start_s, self.come, [peer])
        if math.isfinite(end_s):
            self.queue.at(end_s, self._session_ended, peer, presence)

    def _session_ended(self, peer: int, presence: Iterator[tuple[float, float]]) -> None:
        says_goodbye = uniform_of(self.seed, "goodbye", peer, self.queue.now.hex()) < GOODBYES
        self._go([peer], says_goodbye=says_goodbye)
        self._follow(peer, presence)

    def _look(self) -> None:
        self.watch.progress(self.queue.now)
        if len(self.queue):
            self.queue.after(PROGRESS_EVERY_S, self._look)

    # Who is there ---------------------------------------------------------------------------------------------------

    def there(self) -> list[int]:
        """Peers that are there, in order."""
        return [peer for peer, there in enumerate(self._is_there) if there]

    def is_there(self, peer: int) -> bool:
        """Say whether a peer is there."""
        return self._is_there[peer]

    def everybody(self) -> list[int]:
        """Return all peers of the scenario, there or not."""
        return list(range(len(self.names)))

    def round_of(self, peer: int) -> int:
        """Return the round that a peer is in, or was in when it went."""
        return self._rounds[peer]

    def has_begun(self, peer: int) -> bool:
        """Say whether a peer that is there has begun to learn."""
        return self._has_begun[peer]

    def _begin_all(self) -> None:
        """Have everybody begin who waits for enough members."""
        for peer in self.there():
            self._begin_if_ready(peer)

    def _begin_if_ready(self, peer: int) -> None:
        """Have a peer begin that knows enough members, or that resumes."""
        needed = min(self.scenario.rounds.start_members, len(self.names))
        if not self._has_begun[peer] and (self._rounds[peer] or self.directory.knows(peer) >= needed):
            self._has_begun[peer] = True
            self.protocol.begin(peer)

    def _neighbours_changed(self, peer: int) -> None:
        if self._is_there[peer]:
            self.protocol.neighbours_changed(peer)
            if self.queue.now > 0.0:
                self._begin_if_ready(peer)

    # The verbs of the stage -----------------------------------------------------------------------------------------

    def come(self, peers: Iterable[int]) -> None:
        """Peers are there: for the first time, or again, from their checkpoints."""
        for peer in peers:
            if self._is_there[peer] or self.batteries.is_empty(peer):
                continue
            self._is_there[peer] = True
            self._count(peer, +1)
            self.counters["arrivals"] += 1
            self.directory.come(peer)
            self.batteries.come(peer)
            self.protocol.come(peer)
            if self.queue.now > 0.0:
                self._begin_all()

    def crash(self, peers: Iterable[int]) -> None:
        """Peers vanish without a word, as by kill -9 or a power cut."""
        self._go(peers, says_goodbye=False)

    def leave(self, peers: Iterable[int]) -> None:
        """Peers say goodbye and go."""
        self._go(peers, says_goodbye=True)

    def _go(self, peers: Iterable[int], *, says_goodbye: bool) -> None:
        for peer in peers:
            if not self._is_there[peer]:
                continue
            self._is_there[peer] = self._has_begun[peer] = False
            self._count(peer, -1)
            self.counters["departures" if says_goodbye else "crashes"] += 1
            self.protocol.go(peer, says_goodbye=says_goodbye)
            self.directory.go(peer, says_goodbye=says_goodbye)
            self.wire.go(peer, says_goodbye=says_goodbye)
            self.batteries.go(peer)
            self.watch.forget(peer)
        self._look_at_rounds()

    def partition(self, groups: Sequence[Iterable[int]]) -> None:
        """Peers of different groups cannot reach each other; those in no group make one more."""
        sides = [0] * len(self.names)
        for number, group in enumerate(groups, start=1):
            for peer in group:
                sides[peer] = number
        self.wire.partition(sides)
        self._dial_all()  # after an earlier partition some can reach each other again

    def heal(self) -> None:
        """The partition is over: neighbours dial each other again."""
        self.wire.partition(None)
        self.directory.heal()
        self._dial_all()

    def _dial_all(self) -> None:
        for peer in self.there():
            self.protocol.dial(peer)

    def slow(self, peers: Iterable[int], factor: float) -> None:
        """Peers take `factor` times as long for their local steps as they did in the beginning."""
        for peer in peers:
            self._slowness[peer] = factor

    def lose(self, share: float) -> None:
        """Set the share of messages that are lost; negative: as the scenario began."""
        self.wire.loss = self.scenario.links.loss if share < 0 else share

    def throttle(self, peers: Iterable[int], factor: float) -> None:
        """Give the access links of peers `factor` times the capacity that they had in the beginning."""
        for peer in peers:
            self.wire.set_capacity(peer, self.cast.up_bytes_s[peer] * factor, self.cast.down_bytes_s[peer] * factor)

    def forget_data(self, peers: Iterable[int]) -> None:
        """Peers lose their training sets; they go on mixing and passing models on."""
        for peer in peers:
            self.learning.forget_data(peer)

    def choose(self, who: Piece, number: int, *, among: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return whom a target hits: of those who are there, on the graph as it is, drawn for entry `number`."""
        candidates = self.there() if among is None else among
        graph = self.directory.whole if self.queue.now == 0.0 else self.directory.graph
        names = [self.names[peer] for peer in candidates if self.names[peer] in graph]
        seed = self.seed * 1_000_003 + number
        hit = chosen(who, graph, names, seed=seed, positions=self.cast.positions)
        return tuple(sorted(self.index_of[name] for name in hit))

    def split(self, how: str, shares: Sequence[float], number: int) -> list[tuple[int, ...]]:
        """Return groups of all peers, there or not: drawn at random, or strips of the map from west to east."""
        here = self.everybody()
        if how == "area":
            here.sort(key=lambda peer: self.cast.positions[self.names[peer]])
        else:
            here.sort(key=lambda peer: uniform_of(self.seed, "split", number, peer))
        bounds = [round(sum(shares[:place]) * len(here)) for place in range(len(shares) + 1)]
        return [tuple(sorted(here[a:b])) for a, b in pairwise(bounds)]

    def after(self, delay_s: float, verb: Callable[..., None], *args: object) -> None:
        """Call a verb later."""
        self.queue.after(delay_s, verb, *args)

    def note(self, name: str, text: str, peers: Sequence[int] = ()) -> None:
        """Write an event into the record of the run."""
        self.events.append(EventRecord(at_s=self.queue.now, name=name, text=text, peers=list(peers)))

    def all_counters(self) -> Counter[str]:
        """Return what was counted: here, on the wire and in the cores."""
        counted = Counter(self.counters)
        counted.update(self.protocol.counters())
        counted.update(
            messages_sent=self.wire.num_messages,
            messages_lost=self.wire.num_lost,
            transfers_broken=self.wire.num_broken,
        )
        return counted

    # What the protocol tells and asks -------------------------------------------------------------------------------

    def training_time(self, peer: int, round: int) -> float:
        """Return how long the local steps of `round` take, in seconds."""
        steps = self.learning.num_steps(peer)
        step_s = self._step_s
        if step_s is None:
            step_s = draw(self._step_time, self.seed, "step", peer, round)
        duration_s = steps * step_s * self._slowness[peer] / self.cast.speed[peer]
        self.batteries.train(peer, duration_s)
        return duration_s

    def punish(self, peer: int, culprit: int, kind: str) -> None:
        """A peer caught another one breaking a rule: it hangs up, and takes no calls of it for a while."""
        self.counters[f"fault_{kind}"] += 1
        self.wire.ban(peer, culprit, BAN_S)
        self.queue.after(BAN_S, self.protocol.dial, peer)

    def when_round(self, round: int, action: Callable[[], None]) -> None:
        """Call `action` when the median of the peers that are there begins `round`."""
        self._at_round.append((round, action))
        self._at_round.sort(key=lambda entry: entry[0])

    def on_round(self, action: Callable[[int], None]) -> None:
        """Call `action(round)` each time the median peer begins a round."""
        self._on_round.append(action)

    def round_done(self, peer: int, round: int) -> None:
        """A peer begins `round`."""
        self.counters["node_rounds"] += 1
        if self._rounds[peer] <= self._reached < round:
            self._num_ahead += 1
        self._rounds[peer] = round
        if not self._is_done[peer] and self.protocol.is_done(peer):
            self._is_done[peer] = True
            self._num_done += 1
        if 2 * self._num_ahead > self._num_there or self._num_done == self._num_there:
            self._look_at_rounds()

    def all_in_round(self, round: int) -> None:
        """Everybody is in `round`, though few do its work."""
        self._rounds = [round] * len(self.names)
        self._num_ahead = self._num_there
        if self.protocol.is_done(0):
            self._is_done = [True] * len(self.names)
            self._num_done = self._num_there
        self._look_at_rounds()

    def _count(self, peer: int, change: int) -> None:
        """Take a peer into account, or out of it."""
        self._num_there += change
        self._num_ahead += change * (self._rounds[peer] > self._reached)
        self._num_done += change * self._is_done[peer]

    def _look_at_rounds(self) -> None:
        """Notice that the median peer begins another round, and that everybody is done."""
        while 2 * self._num_ahead > self._num_there > 0:
            self._reached += 1
            self._num_ahead = sum(
                there and r > self._reached for there, r in zip(self._is_there, self._rounds, strict=True)
            )
            while self._at_round and self._at_round[0][0] <= self._reached:
                self.queue.at(self.queue.now, self._at_round.pop(0)[1])
            for action in self._on_round:
                self.queue.at(self.queue.now, action, self._reached)
        if self._num_done == self._num_there > 0:
            self.queue.at(self.queue.now, self._perhaps_done)

    def _perhaps_done(self) -> None:
        if self._num_done == self._num_there > 0:
            self.stop("rounds")

    @property
    def rounds_there(self) -> list[int]:
        """The rounds of those who are there."""
        return [self._rounds[peer] for peer in self.there()]
