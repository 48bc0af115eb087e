"""The pairing core: exchanges of two of which both ends apply all or nothing (delivery PAIR). No I/O.

Theory of operation
-------------------
An exchange is a two-phase commit whose coordinator is the initiator. It is named by its initiator and a nonce that
the initiator never uses again, in no life.

    initiator    FREEZING ──frozen──▶ PROPOSED ──Accept──▶ COMMITTED ──Done──▶ forgotten
                     └───────────────────┴── refused, given up, asked about ──▶ forgotten, that is: aborted
    responder    FREEZING ──frozen──▶ PREPARED ──Commit──▶ applied, forgotten
                     └───────────────────┴──Abort──▶ dropped, forgotten

*Frozen copies.* Each end sends a copy of its vectors and keeps that copy. What the exchange does to an end is a
difference, computed from the two copies, and it is *added* to whatever the state is when the end commits. So nobody
waits: local steps and other exchanges go on meanwhile, and a commit is as right after a day as after a millisecond.
For rules that are linear in the two copies, and the same with both ends swapped but for the sign (pair averaging,
A²CiD², DADAO's edge events), what both ends add sums to zero whatever the states are by then. So sums are conserved
under any number of exchanges that overlap. Agreement is another matter: who goes halfway to m others at once from one
copy moves by m/2 of the differences, which diverges from m = 3 on; so there is one exchange as initiator and, unless
said otherwise, one as responder. Rules that are not linear in the copies (NoLoCo, whose progress would be counted
twice) set `is_exclusive`: one exchange in all.

*Who decides.* The initiator alone, when it hears Accept; from then on it repeats Commit until it hears Done. What it
does not know as committed is aborted (presumed abort [Mohan, Lindsay & Obermarck 1986]): so timeouts and crashes
before the commit need no record. Whoever is PREPARED never decides alone; it asks (`Query`), for as long as it takes.
Such a doubt holds no slot, so a peer that is gone for good costs its partner the memory of two copies and nothing
else; doubts are bounded, and whoever has as many as it may accepts nothing new.

*Why a responder need not remember what it committed.* A Commit is only ever sent for what was accepted, and what was
accepted is forgotten only upon Commit or Abort. So a Commit for something unknown is a repetition: the answer is Done,
nothing is applied. What it must remember is the newest nonce of each initiator, so that a repeated Propose is not
accepted a second time. An initiator proposes nothing new to a peer that has not confirmed its last Commit; hence a
newer Propose tells that an older one is off.

*Durability.* `journal` is what must survive a crash. The shell's duty: before it lets go of what `messages_to_send`
returned, journal, frozen copies and the state with all that events asked for are on disk, as one. Then an end that
crashes anywhere comes back before or after a step, never inside it.

What the shell hands over of Propose and Accept are names of vectors; it has received and admitted the bytes before.
What admission refuses it does not hand over: it calls `abandon` for an Accept, and lets a Propose time out.

Invariants (tests/core/test_pairing_properties.py): never is one end committed and the other aborted; each end applies
an exchange at most once; when messages flow, every doubt ends; the sum of all states, with what is committed at one
end only, is constant.

Source: two-phase commit [Gray 1978, Notes on Data Base Operating Systems].
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from dataclasses import dataclass
from heapq import heappop

from peer.core.backoff import Uniform
from peer.core.messages import Count, Message, PeerId
from peer.core.pairing_events import (
    Aborted,
    Committed,
    ExchangeId,
    FreezeCopy,
    PairConfig,
    PairEvent,
    PairJournal,
    PairMisbehaved,
    Prepared,
)
from peer.core.pairing_messages import Abort, Accept, Busy, Commit, Done, Propose, Query, VectorName
from peer.core.timers import Timers

NONCES_PER_LIFE = 2**32
MAX_LIVES = 2**21  # nonces fit `Count`


class Stage(enum.Enum):
    """Where an exchange stands at one end."""

    __hash__ = object.__hash__  # an enum's own one is a Python function

    FREEZING = enum.auto()  # the shell makes the copy
    PROPOSED = enum.auto()  # initiator: sent, not answered
    COMMITTED = enum.auto()  # initiator: applied here; the other end may not know it yet
    PREPARED = enum.auto()  # responder: accepted; the initiator decides
    OVER = enum.auto()  # nothing of it is left here


class Step(enum.Enum):
    """What can happen to an exchange."""

    __hash__ = object.__hash__  # ditto

    FROZEN = enum.auto()  # the copy is there
    ACCEPTED = enum.auto()
    CONFIRMED = enum.auto()  # Done
    COMMIT = enum.auto()
    OFF = enum.auto()  # refused, timed out, given up, asked about; or Abort has come


_S, _I = Stage, Step

INITIATOR: dict[tuple[Stage, Step], Stage] = {
    (_S.FREEZING, _I.FROZEN): _S.PROPOSED,
    (_S.FREEZING, _I.OFF): _S.OVER,
    (_S.PROPOSED, _I.ACCEPTED): _S.COMMITTED,
    (_S.PROPOSED, _I.OFF): _S.OVER,
    (_S.COMMITTED, _I.CONFIRMED): _S.OVER,
}
RESPONDER: dict[tuple[Stage, Step], Stage] = {
    (_S.FREEZING, _I.FROZEN): _S.PREPARED,
    (_S.FREEZING, _I.OFF): _S.OVER,
    (_S.PREPARED, _I.COMMIT): _S.OVER,
    (_S.PREPARED, _I.OFF): _S.OVER,
}


@dataclass(eq=False, slots=True)
class Exchange:
    """One end of one exchange. `partner`: the other end; `timer`: when to give up, or to say something again."""

    id: ExchangeId
    partner: PeerId
    table: dict[tuple[Stage, Step], Stage]
    own: VectorName = b""
    theirs: VectorName = b""
    stage: Stage = Stage.FREEZING
    attempts: int = 0
    is_doubt: bool = False
    timer: float | None = None

    def take(self, step: Step) -> bool:
        """Go to the next stage; False, and nothing happens, where the table has none."""
        after = self.table.get((self.stage, step))
        if after is None:
            return False
        self.stage = after
        if after is Stage.OVER:
            self.timer = None
        return True


class PairCore:
    """Exchanges of one peer; see the module's theory of operation.

    `life` is larger than in every earlier life of the peer; `journal` is what the last one left. `rng` has one method,
    `uniform(a, b)`; it spreads repetitions.
    """

    def __init__(
        self,
        config: PairConfig,
        own_id: PeerId,
        *,
        life: int,
        rng: Uniform,
        now: float,
        journal: PairJournal | None = None,
    ) -> None:
        if not 0 <= life < MAX_LIVES:
            raise ValueError(f"life {life} is not in 0 .. {MAX_LIVES - 1}")
        self.config = config
        self.own_id = own_id
        self.counters: Counter[str] = Counter()
        self._rng = rng
        self._next_nonce = life * NONCES_PER_LIFE
        self._own: Exchange | None = None  # FREEZING or PROPOSED
        self._unconfirmed: dict[PeerId, Exchange] = {}  # COMMITTED, by responder
        self._answers: dict[PeerId, Exchange] = {}  # FREEZING or PREPARED, by initiator
        self._newest: OrderedDict[PeerId, int] = OrderedDict()  # newest nonce taken of each initiator
        self._timers: Timers[Exchange] = Timers()
        self._queue: list[tuple[PeerId, Message]] = []
        self._events: list[PairEvent] = []
        if journal is not None:
            self._restore(journal, now)

    def _restore(self, journal: PairJournal, now: float) -> None:
        for peer, nonce in journal.newest:
            self._newest[peer] = nonce
        for peer, nonce in journal.unconfirmed:
            one = Exchange(ExchangeId(self.own_id, nonce), peer, INITIATOR, stage=Stage.COMMITTED)
            self._unconfirmed[peer] = one
            self._timers.set(one, now)
        for prepared in journal.prepared:
            key = ExchangeId(prepared.initiator, prepared.nonce)
            one = Exchange(key, key.initiator, RESPONDER, prepared.own, prepared.theirs, Stage.PREPARED, is_doubt=True)
            self._answers[key.initiator] = one
            self._timers.set(one, now)

    def journal(self) -> PairJournal:
        """Return what must survive a crash, in a fixed order."""
        return PairJournal(
            prepared=tuple(
                Prepared(one.id.initiator, one.id.nonce, one.own, one.theirs)
                for _, one in sorted(self._answers.items())
                if one.stage is Stage.PREPARED
            ),
            unconfirmed=tuple((peer, one.id.nonce) for peer, one in sorted(self._unconfirmed.items())),
            newest=tuple(self._newest.items()),
        )

    @property
    def num_doubts(self) -> int:
        """Exchanges of which this peer does not know how they ended, and holds no slot for."""
        return sum(one.is_doubt for one in self._answers.values())

    # What the shell tells the core ----------------------------------------------------------------------------------

    def propose(self, peer: PeerId, now: float) -> ExchangeId | None:  # noqa: ARG002  the interface of cores
        """Begin an exchange with `peer`; None, and nothing happens, when that cannot be now.

        One at a time, none with a peer that has not confirmed the last one, none when too many have not.
        """
        is_taken = self._own is not None or peer in self._unconfirmed or peer == self.own_id
        if is_taken or len(self._unconfirmed) >= self.config.max_unconfirmed:
            return None
        if self.config.is_exclusive and self._num_active_answers():
            return None
        key = ExchangeId(self.own_id, self._next_nonce)
        self._next_nonce += 1
        self._own = Exchange(key, peer, INITIATOR)
        self._events.append(FreezeCopy(key, peer))
        self.counters["pairs_proposed"] += 1
        return key

    def frozen(self, key: ExchangeId, vectors: VectorName, now: float) -> bool:
        """The copy that `FreezeCopy` asked for is there. False: it is not wanted any more."""
        one = self._own if key.initiator == self.own_id else self._answers.get(key.initiator)
        if one is None or one.id != key or not one.take(Step.FROZEN):
            return False
        one.own = vectors
        if one.stage is Stage.PROPOSED:
            self._send(one.partner, Propose(key.nonce, vectors))
            self._timers.set(one, now + self.config.timeout_s)
        else:
            self._send(one.partner, Accept(key.nonce, vectors))
            self._timers.set(one, now + self.config.query_after_s)
        return True

    def abandon(self, key: ExchangeId, now: float) -> None:  # noqa: ARG002  the interface of cores
        """An initiator gives up what is not committed: its vectors did not get through, or the others' are refused.

        A responder that could not freeze its copy says so; once it has accepted it has no say.
        """
        if key.initiator == self.own_id:
            own = self._own
            if own is not None and own.id == key:
                if own.stage is Stage.PROPOSED:
                    self._send(own.partner, Abort(key.nonce))
                self._call_off(own)
            return
        one = self._answers.get(key.initiator)
        if one is not None and one.id == key and one.stage is Stage.FREEZING:
            self._drop(one)
            self._send(one.partner, Busy(key.nonce))

    def accept_failed(self, key: ExchangeId, now: float) -> None:
        """The vectors of an Accept did not get through: the initiator may wait in vain, so ask at once."""
        one = self._answers.get(key.initiator)
        if one is not None and one.id == key and one.stage is Stage.PREPARED:
            self._ask(one, now)

    def link_up(self, peer: PeerId, now: float) -> None:
        """A link to `peer` stands: what is open with it is settled now."""
        for one in (self._unconfirmed.get(peer), self._answers.get(peer)):
            if one is not None and one.stage is not Stage.FREEZING:
                one.attempts = 0
                self._repeat(one, now)

    def link_down(self, peer: PeerId, now: float) -> None:  # noqa: ARG002  the interface of cores
        """The link to `peer` is gone: a proposal is off, an accepted one is in doubt and holds no slot."""
        if self._own is not None and self._own.partner == peer:
            self._call_off(self._own)
        one = self._answers.get(peer)
        if one is not None and one.stage is Stage.PREPARED:
            self._doubt(one)

    # The five verbs -------------------------------------------------------------------------------------------------

    def receive_message(self, message: Message, sender: PeerId, now: float) -> None:
        """Take in a message of an authenticated sender; whatever it holds, this does not raise."""
        match message:
            case Propose():
                self._receive_propose(message, sender)
            case Accept():
                self._receive_accept(message, sender, now)
            case Busy():
                if self._is_own(message.nonce, sender):
                    self.counters["pairs_refused"] += 1
                    assert self._own is not None
                    self._call_off(self._own)
            case Commit():
                self._receive_commit(message, sender)
            case Abort():
                one = self._answers.get(sender)
                if one is not None and one.id.nonce == message.nonce:
                    self._drop(one)
            case Query():
                self._receive_query(message, sender)
            case Done():
                one = self._unconfirmed.get(sender)
                if one is not None and one.id.nonce == message.nonce:
                    one.take(Step.CONFIRMED)
                    del self._unconfirmed[sender]
            case _:
                self._events.append(PairMisbehaved(sender, "unexpected_message"))

    def messages_to_send(self, now: float) -> list[tuple[PeerId, Message]]:  # noqa: ARG002  the interface of cores
        """Return and forget what is to be sent: after the journal is safe, see the module."""
        messages, self._queue = self._queue, []
        return messages

    def get_timer(self) -> float | None:
        """When `handle_timer` has something to do, if nothing else happens."""
        heap = self._timers.heap
        while heap and heap[0][2].timer != heap[0][0]:
            heappop(heap)  # stale, see `Timers`
        return heap[0][0] if heap else None

    def handle_timer(self, now: float) -> None:
        """Do what is due: proposals that time out, commits and queries that are repeated."""
        for one in self._timers.due(now):
            if one.stage is Stage.PROPOSED:
                self.counters["pairs_timed_out"] += 1
                self._call_off(one)
                self._send(one.partner, Abort(one.id.nonce))
            else:
                self._repeat(one, now)

    def next_event(self) -> PairEvent | None:
        """Return and forget the oldest event; None when there is none."""
        return self._events.pop(0) if self._events else None

    # Messages -------------------------------------------------------------------------------------------------------

    def _receive_propose(self, propose: Propose, sender: PeerId) -> None:
        newest, nonce = self._newest.get(sender, -1), propose.nonce
        before = self._answers.get(sender)
        if nonce <= newest:
            if before is not None and before.id.nonce == nonce and before.stage is Stage.PREPARED:
                if before.theirs != propose.vectors:
                    self._events.append(PairMisbehaved(sender, "equivocation"))
                else:
                    self._send(sender, Accept(nonce, before.own))
            return
        if before is not None:
            self._drop(before)  # it would not propose anew unless that was off
        if not self._is_free() or sender == self.own_id:
            self._send(sender, Busy(nonce))
            self.counters["pairs_turned_down"] += 1
            return
        self._newest[sender] = nonce
        self._newest.move_to_end(sender)
        self._forget_initiators()
        key = ExchangeId(sender, nonce)
        self._answers[sender] = Exchange(key, sender, RESPONDER, theirs=propose.vectors)
        self._events.append(FreezeCopy(key, sender, propose.vectors))

    def _receive_accept(self, accept: Accept, sender: PeerId, now: float) -> None:
        nonce, own = accept.nonce, self._own
        committed = self._unconfirmed.get(sender)
        if own is not None and own.id.nonce == nonce and own.partner != sender:
            self._events.append(PairMisbehaved(sender, "forged_accept"))
        elif own is not None and own.id.nonce == nonce and own.take(Step.ACCEPTED):
            self._own = None
            own.theirs = accept.vectors
            self._unconfirmed[sender] = own
            self.counters["pairs_committed"] += 1
            self._events.append(Committed(own.id, sender, own.own, own.theirs))
            self._repeat(own, now)
        elif committed is not None and committed.id.nonce == nonce:
            self._send(sender, Commit(nonce))
        else:
            self._send(sender, Abort(nonce))

    def _receive_commit(self, commit: Commit, sender: PeerId) -> None:
        one = self._answers.get(sender)
        if one is not None and one.id.nonce == commit.nonce:
            if not one.take(Step.COMMIT):
                self._events.append(PairMisbehaved(sender, "commit_unasked"))
                return
            del self._answers[sender]
            self.counters["pairs_answered"] += 1
            self.counters["doubts_committed"] += one.is_doubt
            self._events.append(Committed(one.id, sender, one.own, one.theirs))
        elif commit.nonce > self._newest.get(sender, commit.nonce):
            self._events.append(PairMisbehaved(sender, "commit_unasked"))
            return
        self._send(sender, Done(commit.nonce))

    def _receive_query(self, query: Query, sender: PeerId) -> None:
        committed = self._unconfirmed.get(sender)
        if committed is not None and committed.id.nonce == query.nonce:
            self._send(sender, Commit(query.nonce))
            return
        if self._is_own(query.nonce, sender):
            assert self._own is not None
            self._call_off(self._own)  # its Accept is lost, or this would be no query
        self._send(sender, Abort(query.nonce))

    def _is_own(self, nonce: Count, partner: PeerId) -> bool:
        own = self._own
        return own is not None and own.id.nonce == nonce and own.partner == partner

    # Exchanges ------------------------------------------------------------------------------------------------------

    def _num_active_answers(self) -> int:
        return len(self._answers) - self.num_doubts

    def _is_free(self) -> bool:
        config = self.config
        if config.is_exclusive and self._own is not None:
            return False
        return self._num_active_answers() < config.max_answers and len(self._answers) < config.max_doubts

    def _call_off(self, own: Exchange) -> None:
        own.take(Step.OFF)
        self._own = None
        self.counters["pairs_called_off"] += 1
        self._events.append(Aborted(own.id, own.partner, own.own, own.theirs))

    def _drop(self, answer: Exchange) -> None:
        answer.take(Step.OFF)
        del self._answers[answer.partner]
        self._events.append(Aborted(answer.id, answer.partner, answer.own, answer.theirs))

    def _doubt(self, answer: Exchange) -> None:
        if not answer.is_doubt:
            answer.is_doubt = True
            self.counters["doubts"] += 1

    def _ask(self, answer: Exchange, now: float) -> None:
        self._doubt(answer)
        self._repeat(answer, now)

    def _repeat(self, one: Exchange, now: float) -> None:
        """Say what this end has to say again, and plan the next time."""
        if one.stage is Stage.COMMITTED:
            self._send(one.partner, Commit(one.id.nonce))
            self._timers.set(one, now + self.config.commit_retry.delay(one.attempts, self._rng))
        elif one.stage is Stage.PREPARED:
            self._doubt(one)
            self._send(one.partner, Query(one.id.nonce))
            self._timers.set(one, now + self.config.query_retry.delay(one.attempts, self._rng))
        one.attempts += 1

    def _send(self, peer: PeerId, message: Message) -> None:
        self._queue.append((peer, message))

    def _forget_initiators(self) -> None:
        """Keep the newest nonces of so many initiators, least recently heard first out; of none that is not over."""
        spare = len(self._newest) - self.config.max_initiators
        if spare > 0:
            for peer in [peer for peer in self._newest if peer not in self._answers][:spare]:
                del self._newest[peer]
