"""The MoDeST core: rounds of a small, ever changing sample of the swarm, without a server. No I/O.

Theory of operation
-------------------
In round k the sample S_k, the first s live peers of the round's hash order, trains; the results go to A_{k+1}, the
first a live peers of the next order, which average them and send the mean to S_{k+1}. Everybody computes the orders
from its own view (`modest_view.py`) and finds the live by pings (`modest_scan.py`). There is no clock: a round is
what the first model of that round starts.

    aggregated model k ─▶ participant: train ─▶ find(k+1, a) ─▶ trained model, labelled k+1
                                                                        │
    find(k, s) ◀─ mean ◀─ aggregator: max(1, ⌊s·sf⌋) models ◀────────────┘

*Participant* (`modest_participant.py`). A model of a later round cancels what is being trained; one of the current
round starts training unless it has started before, so that several aggregators, or several watchdogs, do no harm.

*Aggregator* (`modest_pools.py`). One model per sender and round. Enough of them complete the round; when T_agg is
over three will do, and fewer are dropped.

*What the paper leaves open is when a round is lost*: if all aggregators, or too many participants, die within one
round, nothing starts the next. So:

- *Watchdog* (`modest_watchdog.py`). Who hears of no progress asks the first live peer of the next order; if that one
  knows of nothing newer either, the next round is started with the newest model held.
- *Suspicion.* Who did not answer comes last in the orders of this peer, until it is heard of or the suspicion expires.
  Once all others are used up, one batch of suspects is tried, not all of them. Suspects are named to those a model is
  sent to (`Doubts`). Hearsay changes nobody's order, else a liar could shut others out; the doubted are only pinged
  together with the next candidates instead of before them, and waited for less long.
- *A shrunken swarm.* When fewer than s unsuspected peers are left, an aggregator expects models of those only (two at
  least, where there are two), so that two survivors of a large swarm go on learning.
- *Alone.* A peer that knows others and reaches none waits: its round number must not run ahead of the swarm's, since
  the higher number would win when they meet again.

Trust. Rounds, activity and membership are the sender's word, and so is the label of a model; a liar can drag the
swarm to a high round, but whatever it can make a peer remember is bounded. Who is a member at all is for `admits`.

Invariants (tests/core/modest/test_properties.py): each round is trained at most once and aggregated at most once per
peer, rounds only grow; at most MAX_POOLS rounds are gathered at once, of each at most s models; a search has at most
as many pings under way as it needs and `hedge` more; with a watchdog, two live peers that reach each other go on.

The five verbs are those of every core. Source: [de Vos et al. 2023, MoDeST, arXiv 2302.13837, §3]; the completion by
T_agg from its later version, Plexus; watchdog, suspicion, hedging and shrunken samples are ours.
"""

from __future__ import annotations

import enum
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from peer.core.backoff import Uniform
from peer.core.messages import Message, PeerId
from peer.core.modest_events import (
    AggregateModels,
    CancelTraining,
    ModestConfig,
    ModestEvent,
    RoundProgress,
    SampleServed,
    SendModel,
    TrainModel,
)
from peer.core.modest_messages import (
    FIRST_ROUND,
    MAX_DOUBTS,
    MAX_ENTRIES,
    MAX_ROUND,
    Advertise,
    AggAck,
    Doubts,
    ModelKind,
    ModelRef,
    Ping,
    Pong,
    Status,
    ViewDelta,
    ViewEntry,
    ViewRequest,
)
from peer.core.modest_participant import Act, ModelInput, Participant
from peer.core.modest_pools import Pools
from peer.core.modest_scan import Scan, ScanPace
from peer.core.modest_view import ModestView, anybody, utf8
from peer.core.modest_watchdog import Watchdog
from topology.samplers.hash_order import hash_position

ROUNDS_AHEAD = 4  # trained models labelled further ahead of the estimated round are refused
FEW_MODELS = 3  # enough for a mean when T_agg is over (Plexus)
MAX_ASKERS = 256  # peers of whom is remembered when they were last given the whole view
NUM_ASKED = 3  # peers that a newcomer asks for their view


class Purpose(enum.Enum):
    """What a search is for. There is at most one of each kind; what the earlier finds may start the later."""

    PROBE = enum.auto()  # the watchdog asks whether anybody knows more
    HAND_OVER = enum.auto()  # the trained model to the aggregators of the next round
    HAND_OUT = enum.auto()  # the aggregated model to the sample of its round


@dataclass
class _Task:
    scan: Scan
    ref: ModelRef
    num_models: int = 0
    is_restart: bool = False
    sent: set[PeerId] = field(default_factory=set)


class ModestCore:
    """One peer under MoDeST; see the module's theory of operation.

    `first_idx` is the membership index to begin with (larger than before a restart, if that is known). `rng` starts
    nonces and draws the peers that are told of a join or leave. `id_bytes` and `admits` are those of `ModestView`.
    """

    def __init__(
        self,
        config: ModestConfig,
        own_id: PeerId,
        *,
        rng: Uniform,
        now: float,
        first_idx: int = 0,
        id_bytes: Callable[[PeerId], bytes] = utf8,
        admits: Callable[[PeerId], bool] = anybody,
    ) -> None:
        self.config = config
        self.own_id = own_id
        self.is_member = False
        self.newest: ModelRef | None = None  # aggregated model
        self.participant = Participant()
        self.counters: Counter[str] = Counter()
        self.view = ModestView(
            own_id,
            activity_window=config.activity_window,
            max_members=config.max_members,
            first_idx=first_idx,
            id_bytes=id_bytes,
            admits=admits,
        )
        self._rng = rng
        self._pace = ScanPace(config.hedge, config.reping_s, config.ping_timeout_s)
        self._pools = Pools(config.aggregation_timeout_s)
        self._watchdog = Watchdog(
            config.watchdog_s,
            total_rounds=config.total_rounds,
            place=lambda round: int.from_bytes(hash_position(id_bytes(own_id), round)[:4], "big") / 2**32,
        )
        self._tasks: dict[Purpose, _Task] = {}
        self._suspects: dict[PeerId, float] = {}  # until when, in this order
        self._doubted: dict[PeerId, float] = {}  # by others; until when, in this order
        self._pending: dict[PeerId, int] = {}  # who joins with the next model that is sent, under which index
        self._answered_at: OrderedDict[PeerId, float] = OrderedDict()
        self._advertised_idx = self.view.own.idx
        self._may_advertise_at = now
        self._queue: deque[tuple[PeerId, Message]] = deque()
        self._events: deque[ModestEvent] = deque()

    # What the shell tells the core -------------------------------------------------------------------------

    def start(self, members: Iterable[PeerId], first_model: ModelRef, now: float) -> None:
        """Begin a swarm whose initial members and common initial model are known to all of them.

        The first sample starts round 1. The others hold the initial model, too, and can start from it if that is lost.
        """
        self._enter(members, first_model, now)
        assert self.newest is not None
        if self.own_id in self.view.ordered(FIRST_ROUND)[: self.config.sample_size]:
            self._participate(self.newest)
        self._settle(now)

    def join(self, members: Iterable[PeerId], first_model: ModelRef | None, now: float) -> None:
        """Enter a running swarm of which some members are known (or return to it, with none to add).

        They sample this peer after the next model that those send who have heard of it. `first_model` is the common
        initial model, if it is at hand: what the watchdog starts from should everything else be lost.
        """
        self._enter(members, first_model, now)
        self.view.change_own(Status.JOIN)
        self._advertise(now)
        for peer in self._draw_others(NUM_ASKED):
            self._queue.append((peer, ViewRequest(self.view.digest())))
        self._settle(now)

    def leave(self, now: float) -> None:
        """Leave the swarm: participants of a round that is being gathered here are told to go elsewhere."""
        if not self.is_member:
            return
        for round in self._pools.rounds():
            expected = self.view.ordered(round - 1)[: self.config.sample_size]
            for peer in sorted({*expected, *self._pools.senders(round)} - {self.own_id}):
                self._queue.append((peer, AggAck(round, success=False)))
        self._move(ModelInput.LEAVE)
        self.view.change_own(Status.LEAVE)
        self._advertise(now)
        self.is_member = False
        self._tasks.clear()
        self._pools.clear()
        self._pending.clear()
        self._watchdog.rest()

    def trained(self, round: int, ref: ModelRef, now: float) -> None:
        """The training that `TrainModel` asked for is over. An answer to a cancelled one is ignored."""
        is_asked_for = self.is_member and round == self.participant.round
        if not is_asked_for or self._move(ModelInput.TRAINED) is not Act.HAND_OVER:
            self.counters["trained_in_vain"] += 1
            return
        labelled = msgspec.structs.replace(ref, round=round + 1, kind="trained")
        self._search(Purpose.HAND_OVER, labelled, self.config.aggregators)
        self._settle(now)

    def aggregated(self, round: int, ref: ModelRef, now: float) -> None:
        """The mean that `AggregateModels` asked for is there. An answer that was overtaken is ignored."""
        senders = self._pools.averaged(round)
        if senders is None:
            self.counters["aggregated_in_vain"] += 1
            return
        labelled = msgspec.structs.replace(ref, round=round, kind="aggregated")
        self._take_newest(labelled)
        self._queue.extend((peer, AggAck(round, success=True)) for peer in senders if peer != self.own_id)
        self._search(Purpose.HAND_OUT, labelled, self.config.sample_size, num_models=len(senders))
        self._settle(now)

    def receive_model(self, ref: ModelRef, view_delta: Iterable[ViewEntry], sender: PeerId, now: float) -> None:
        """A model with this header is here, from an authenticated sender, and was admitted."""
        if not self.is_member:
            return
        self._hear(sender)
        self.view.merge(view_delta, sender)
        if FIRST_ROUND <= ref.round <= self._last_label():
            self._take_model(ref, sender, now)
        else:
            self.counters["models_out_of_range"] += 1
        self._settle(now)

    def send_failed(self, to: PeerId, ref: ModelRef, now: float) -> None:
        """The transfer that `SendModel` asked for came to nothing: `to` is passed over."""
        self.counters["sends_failed"] += 1
        self.view.forget_told(to)
        self._suspect([to], now)
        for task in self._tasks.values():
            if task.ref == ref and to in task.sent:
                task.scan.lost(to)
        self._settle(now)

    # The five verbs ------------------------------------------------------------------------------------------

    def receive_message(self, message: Message, sender: PeerId, now: float) -> None:
        """Take in a message of an authenticated sender; whatever it holds, this does not raise."""
        if not self.is_member or sender == self.own_id:
            return
        self._hear(sender)
        match message:
            case Ping():
                self._receive_ping(message, sender)
            case Pong():
                self._receive_pong(message, sender)
            case Advertise():
                self._receive_advertise(message, sender)
            case AggAck():
                self._receive_ack(message, sender)
            case ViewRequest():
                self._receive_view_request(message, sender, now)
            case ViewDelta(entries=entries):
                self.view.merge(entries, sender)
            case Doubts(peers=peers):
                self._receive_doubts(peers, now)
            case _:
                self.counters["messages_unexpected"] += 1
        self._settle(now)

    def messages_to_send(self, now: float) -> list[tuple[PeerId, Message]]:  # noqa: ARG002  the verbs have one form
        """Return and forget what is to be sent now."""
        messages = list(self._queue)
        self._queue.clear()
        return messages

    def get_timer(self) -> float | None:
        """When `handle_timer` has something to do, if nothing else happens."""
        if not self.is_member:
            return None
        timers = [self._watchdog.timer, self._pools.next_deadline()]
        timers += [task.scan.next_timer() for task in self._tasks.values()]
        if self.view.own.idx > self._advertised_idx:
            timers.append(self._may_advertise_at)
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due: silent candidates, late rounds, the watchdog."""
        if not self.is_member:
            return
        for task in self._tasks.values():
            repinged, dead = task.scan.expire(now)
            self._ping(repinged, task.scan.nonce)
            self._suspect(dead, now)
        for round in self._pools.late(now):
            self._close_late(round)
        if self._watchdog.timer is not None and self._watchdog.timer <= now:
            self._wake(now)
        self._settle(now)

    def next_event(self) -> ModestEvent | None:
        """Return the next thing that the shell has to do, or None."""
        return self._events.popleft() if self._events else None

    # What the shell and the status can ask -----------------------------------------------------------------------

    @property
    def round_estimate(self) -> int:
        """The newest round that this peer knows of: its own, those it gathers models of, or anybody's activity."""
        return max(self.participant.round, self.view.highest_round, self._newest_round(), *self._pools.rounds())

    def models_in_use(self) -> set[ModelRef]:
        """Models whose bytes the core may still ask for; others can be deleted once they are sent."""
        kept = {self.newest, self.participant.started_from, *(task.ref for task in self._tasks.values())}
        return self._pools.refs() | {ref for ref in kept if ref is not None}

    def num_pings_under_way(self) -> int:
        """Candidates whose answer is awaited, over all searches."""
        return sum(task.scan.num_waiting() for task in self._tasks.values())

    def suspects(self) -> list[PeerId]:
        """Who is taken for dead at present, sorted."""
        return sorted(self._suspects)

    # Messages ------------------------------------------------------------------------------------------------------

    def _receive_ping(self, ping: Ping, sender: PeerId) -> None:
        self._note_alive(sender, ping.round, ping.idx)
        self._queue.append((sender, Pong(self.round_estimate, self.view.own.idx, ping.nonce)))

    def _receive_pong(self, pong: Pong, sender: PeerId) -> None:
        self._note_alive(sender, pong.round, pong.idx)
        for task in self._tasks.values():
            if task.scan.nonce == pong.nonce:
                task.scan.pong(sender)

    def _receive_advertise(self, advertise: Advertise, sender: PeerId) -> None:
        if advertise.change is Status.LEAVE:
            self._pending.pop(sender, None)
            self.view.note_membership(sender, advertise.round, advertise.idx, Status.LEAVE)
        elif len(self._pending) < self.config.max_members:
            self._pending[sender] = max(advertise.idx, self._pending.get(sender, 0))

    def _receive_ack(self, ack: AggAck, sender: PeerId) -> None:
        entry = self.view.get(sender)
        if not ack.success and entry is not None:
            self.view.note_membership(sender, entry.last_round, entry.idx, Status.LEAVE)
        task = self._tasks.get(Purpose.HAND_OVER)
        if task is None or task.ref.round != ack.round:
            return
        if not ack.success:
            task.scan.lost(sender)
        elif sender in task.sent:
            del self._tasks[Purpose.HAND_OVER]

    def _receive_view_request(self, request: ViewRequest, sender: PeerId, now: float) -> None:
        answered_at = self._answered_at.get(sender)
        if answered_at is not None and now < answered_at + self.config.ping_timeout_s:
            self.counters["view_requests_refused"] += 1
            return
        self._answered_at[sender] = now
        self._answered_at.move_to_end(sender)
        if len(self._answered_at) > MAX_ASKERS:
            self._answered_at.popitem(last=False)
        if request.digest == self.view.digest():
            return
        entries = self.view.entries()
        for start in range(0, len(entries), MAX_ENTRIES):
            self._queue.append((sender, ViewDelta(entries[start : start + MAX_ENTRIES])))

    def _receive_doubts(self, peers: Iterable[PeerId], now: float) -> None:
        for peer in peers:
            if self.config.suspicion_s and peer in self.view and peer != self.own_id:
                self._doubted.pop(peer, None)
                self._doubted[peer] = now + self.config.suspicion_s

    def _hear(self, sender: PeerId) -> None:
        """Whoever says anything is alive."""
        self._suspects.pop(sender, None)
        self._doubted.pop(sender, None)

    def _note_alive(self, sender: PeerId, round: int, idx: int) -> None:
        """A ping or pong says how far its sender is, and that it takes part under this index."""
        estimate = self.round_estimate
        if round > estimate + self.config.activity_window // 2 and estimate > FIRST_ROUND:
            # So far behind, most of what is known of others' activity is too old to choose aggregators by.
            self._queue.append((sender, ViewRequest(self.view.digest())))
        self.view.note_membership(sender, max(estimate, round), idx, Status.JOIN)

    # Models --------------------------------------------------------------------------------------------------------

    def _take_model(self, ref: ModelRef, sender: PeerId, now: float) -> None:
        takers: dict[ModelKind, Callable[[ModelRef, PeerId, float], None]] = {
            "aggregated": self._take_aggregated,
            "trained": self._take_trained,
        }
        takers[ref.kind](ref, sender, now)

    def _take_aggregated(self, ref: ModelRef, sender: PeerId, now: float) -> None:  # noqa: ARG002  takers have one form
        self.view.touch(sender, ref.round)
        self._take_newest(ref)
        self._participate(ref)

    def _take_trained(self, ref: ModelRef, sender: PeerId, now: float) -> None:
        round = ref.round
        is_wanted = self._newest_round() <= round <= self.round_estimate + ROUNDS_AHEAD
        if not is_wanted or not self._pools.put(round, sender, ref, now):
            self.counters["models_ignored"] += 1
            return
        self.view.touch(sender, round - 1)
        if len(self._pools.senders(round)) >= self._num_needed(round):
            self._average(round)

    def _participate(self, ref: ModelRef) -> None:
        move = self.participant.classify(ref.round, self._newest_round(), self.config.total_rounds)
        act = self._move(move)
        if move in (ModelInput.AHEAD, ModelInput.FINAL):
            self.participant.round = ref.round
            self._drop_overtaken(ref.round)
        if act in (Act.START, Act.CANCEL_AND_START):
            self.participant.started_from = ref
            self.view.touch(self.own_id, ref.round)
            self._events.append(TrainModel(ref.round, ref))

    def _move(self, happened: ModelInput) -> Act:
        """Move along the participant's table; the training that this ends is cancelled before anything else."""
        act = self.participant.apply(happened)
        if act in (Act.CANCEL, Act.CANCEL_AND_START):
            self.counters["trainings_cancelled"] += 1
            self._events.append(CancelTraining(self.participant.round))
        return act

    def _take_newest(self, ref: ModelRef) -> None:
        if ref.round > self._newest_round():
            self.newest = ref
            self._events.append(RoundProgress(ref.round, ref))
            self._drop_overtaken(ref.round)

    def _newest_round(self) -> int:
        return self.newest.round if self.newest is not None else 0

    def _drop_overtaken(self, round: int) -> None:
        """An aggregated model of `round` exists: what earlier rounds were still waiting for is not needed any more."""
        self._pools.drop_below(round)
        self._tasks = {purpose: task for purpose, task in self._tasks.items() if task.ref.round >= round}

    def _last_label(self) -> int:
        """Return the highest round that a model may be labelled with."""
        return self.config.total_rounds + 1 if self.config.total_rounds else MAX_ROUND - 1

    # Aggregating ---------------------------------------------------------------------------------------------------

    def _num_needed(self, round: int) -> int:
        """Models that complete the round: those of a full sample, or of as many peers as seem to be left."""
        num_left = self.view.num_active(round, without=self._suspects)
        if num_left >= self.config.sample_size:
            return self.config.num_needed
        return min(self.config.num_needed, max(min(2, num_left), self.config.needed_of(num_left)))

    def _average(self, round: int) -> None:
        self.counters["rounds_aggregated"] += 1
        self._events.append(AggregateModels(round, self._pools.average(round)))

    def _close_late(self, round: int) -> None:
        """T_agg is over: go on with what is there if it is not too little."""
        num_models = len(self._pools.senders(round))
        if num_models >= min(FEW_MODELS, self._num_needed(round)):
            self._average(round)
        elif num_models:
            self.counters["rounds_dropped"] += 1
            self._pools.drop(round)

    # Searching -----------------------------------------------------------------------------------------------------

    def _search(
        self, purpose: Purpose, ref: ModelRef, wanted: int, *, num_models: int = 0, is_restart: bool = False
    ) -> None:
        """Begin find(k, wanted), k the round of `ref`, in place of an earlier search for the same purpose."""
        candidates = self._candidates(ref.round, wanted)
        if purpose is Purpose.PROBE:
            candidates = [peer for peer in candidates if peer != self.own_id]
        nonce = int(self._rng.uniform(0, 2**52))
        scan = Scan(
            wanted, candidates, own_id=self.own_id, doubted=frozenset(self._doubted), nonce=nonce, pace=self._pace
        )
        self._tasks[purpose] = _Task(scan, ref, num_models, is_restart)

    def _candidates(self, round: int, wanted: int) -> list[PeerId]:
        """Return the order of the round, suspects last; of those one batch, unless there is nobody else."""
        ordered = self.view.ordered(round)
        fresh = [peer for peer in ordered if peer not in self._suspects]
        suspects = [peer for peer in ordered if peer in self._suspects]
        if any(peer != self.own_id for peer in fresh):
            suspects = suspects[: wanted + self.config.hedge]
        return fresh + suspects

    def _advance(self, purpose: Purpose, now: float) -> None:
        task = self._tasks.get(purpose)
        if task is None:
            return
        self._ping(task.scan.advance(now), task.scan.nonce)
        found = task.scan.result()
        if found is None:
            return
        if purpose is Purpose.PROBE:
            del self._tasks[purpose]
            if found:
                self._search(Purpose.HAND_OUT, task.ref, self.config.sample_size, is_restart=True)
        elif purpose is Purpose.HAND_OUT and self._is_alone(found):
            del self._tasks[purpose]
            self.counters["rounds_alone"] += 1
        else:
            self._deliver(purpose, task, found, now)

    def _is_alone(self, found: tuple[PeerId, ...]) -> bool:
        return not set(found) - {self.own_id} and self.view.num_active(None) > 1

    def _deliver(self, purpose: Purpose, task: _Task, found: tuple[PeerId, ...], now: float) -> None:
        """Send the model to those found who do not have it yet; to this peer itself last, as that starts new things."""
        receivers = [peer for peer in found if peer not in task.sent]
        if not receivers:
            return
        if purpose is Purpose.HAND_OUT and not task.sent:
            self.counters["rounds_restarted"] += task.is_restart
            self._events.append(SampleServed(task.ref.round, found, task.num_models, task.is_restart))
        self._flush_pending()
        task.sent.update(receivers)
        doubts = Doubts(tuple(itertools.islice(reversed(self._suspects), MAX_DOUBTS)))
        for peer in receivers:
            if peer != self.own_id:
                if doubts.peers:
                    self._queue.append((peer, doubts))
                delta = self.view.delta_for(peer, self.config.delta_entries)
                self._events.append(SendModel(peer, task.ref, delta))
        if self.own_id in receivers:
            self._take_model(task.ref, self.own_id, now)

    def _ping(self, peers: Iterable[PeerId], nonce: int) -> None:
        for peer in peers:
            self.counters["pings_sent"] += 1
            self._queue.append((peer, Ping(self.round_estimate, self.view.own.idx, nonce)))

    def _suspect(self, peers: Iterable[PeerId], now: float) -> None:
        for peer in peers:
            if self.config.suspicion_s and peer in self.view:
                self._suspects.pop(peer, None)
                self._suspects[peer] = now + self.config.suspicion_s

    # Membership ----------------------------------------------------------------------------------------------------

    def _enter(self, members: Iterable[PeerId], first_model: ModelRef | None, now: float) -> None:
        self.is_member = True
        self.view.merge(ViewEntry(peer) for peer in members)
        if first_model is not None:
            self._take_newest(msgspec.structs.replace(first_model, round=FIRST_ROUND, kind="aggregated"))
        self._watchdog.arm(now)

    def _flush_pending(self) -> None:
        """Let those in who have asked to join, now that the sample they must not be in is chosen."""
        for peer, idx in sorted(self._pending.items()):
            self.view.note_membership(peer, self.round_estimate, idx, Status.JOIN)
        self._pending.clear()

    def _advertise(self, now: float) -> None:
        own = self.view.own
        self._advertised_idx = own.idx
        self._may_advertise_at = now + self.config.ping_timeout_s
        for peer in self._draw_others(self.config.advertise_fanout * self.config.sample_size):
            self._queue.append((peer, Advertise(self.round_estimate, own.idx, own.status)))

    def _draw_others(self, number: int) -> list[PeerId]:
        others = [peer for peer in self.view.active(None) if peer != self.own_id]
        return [peer for _, peer in sorted((self._rng.uniform(0, 1), peer) for peer in others)[:number]]

    # Liveness ------------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """After whatever happened: forget old suspicions, note progress, go on with the searches."""
        for doubts in (self._suspects, self._doubted):
            while doubts and next(iter(doubts.values())) <= now:
                del doubts[next(iter(doubts))]
        self._note_progress(now)
        for purpose in Purpose:
            self._advance(purpose, now)
        self._note_progress(now)
        if self.view.own.idx > self._advertised_idx and now >= self._may_advertise_at:
            self._advertise(now)

    def _note_progress(self, now: float) -> None:
        if not self._watchdog.note(self.round_estimate, now):
            return
        self._tasks.pop(Purpose.PROBE, None)
        hand_out = self._tasks.get(Purpose.HAND_OUT)
        if hand_out is not None and hand_out.is_restart and not hand_out.sent:
            del self._tasks[Purpose.HAND_OUT]

    def _wake(self, now: float) -> None:
        """No progress for the watchdog's time: ask whether anybody knows more, unless a search is under way."""
        hand_out = self._tasks.get(Purpose.HAND_OUT)
        if self.newest is None or Purpose.PROBE in self._tasks or (hand_out and hand_out.scan.result() is None):
            self._watchdog.arm(now)
            return
        round = self._watchdog.wake(self.newest.round, now)
        if round is not None and round <= self._last_label():
            self.counters["watchdog_probes"] += 1
            self._search(Purpose.PROBE, msgspec.structs.replace(self.newest, round=round), 1)
