"""The mass core: what is given away arrives exactly once, or comes back (delivery MASS). No I/O.

Theory of operation
-------------------
A share of a conserved quantity leaves the state of its sender when it is given, and travels as a *parcel* with a
number.

    sender      OPEN ──Took──▶ settled
                  │ cancelled (nobody said Took for `cancel_after_s`, or the shell gave up)
                  ▼
                CANCELLED ──Took──▶ settled;   ──Void──▶ settled, and refunded
    receiver    unknown ──Parcel──▶ taken;   ──Cancel──▶ void;   then the same answer for ever

A parcel is repeated until it is answered, and taken once: the receiver knows which numbers it took. The sender never
takes a share back by itself. It asks, and the receiver, if it has not taken the parcel, promises that it never will
(Void); so a share is at one end or the other, never at both. While a receiver cannot be reached its parcels are in
doubt, which costs the sender the memory of the shares, and the mass is missing until the receiver is back. No protocol
can do better: whether a peer that is silent for good has taken a share, nobody can know.

What a receiver remembers is bounded: numbers grow, each message says up to where everything between the two is
settled, and a sender has at most `window` numbers to one receiver from the oldest open one on. So the receiver keeps
one watermark and at most `window` numbers above it per sender.

*Durability* as in `pairing.py`: before the shell lets go of what `messages_to_send` returned, `journal`, open shares
and the state with all that events asked for (and the giving of what was given) are on disk, as one.

A share that admission refuses is not handed over as a Parcel but by `refuse`, which answers Void: the sender keeps it.

Invariants (tests/core/test_mass_properties.py): the sum of all states and of all open shares that were not taken is
constant; no parcel is taken twice, or taken and refunded; when messages flow, everything settles.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from heapq import heappop

from peer.core.backoff import Uniform
from peer.core.mass_events import (
    Accounts,
    MassConfig,
    MassEvent,
    MassJournal,
    MassMisbehaved,
    Refund,
    SentParcel,
    Settled,
    Take,
)
from peer.core.mass_messages import Cancel, Parcel, ShareName, Took, Void
from peer.core.messages import Message, PeerId
from peer.core.timers import Timers


@dataclass(eq=False, slots=True)
class Sent:
    """A parcel that is not settled. `timer`: when to say it again, or to ask for it back."""

    receiver: PeerId
    number: int
    share: ShareName
    cancel_at: float
    is_cancelled: bool = False
    attempts: int = 0
    timer: float | None = None


@dataclass(slots=True)
class Received:
    """What is known of the numbers of one sender."""

    settled: int = 0
    taken: set[int] = field(default_factory=set)
    void: set[int] = field(default_factory=set)

    def knows(self, number: int) -> bool:
        """Say whether it is decided what becomes of the parcel."""
        return number in self.taken or number in self.void

    def settle(self, below: int) -> None:
        """Forget numbers that will not be heard again."""
        if below > self.settled:
            self.settled = below
            self.taken = {number for number in self.taken if number >= below}
            self.void = {number for number in self.void if number >= below}


class MassCore:
    """Parcels of one peer; see the module's theory of operation.

    `journal` is what the last life left. `rng` has one method, `uniform(a, b)`; it spreads repetitions.
    """

    def __init__(self, config: MassConfig, *, rng: Uniform, now: float, journal: MassJournal | None = None) -> None:
        self.config = config
        self.counters: Counter[str] = Counter()
        self._rng = rng
        self._next_number = 0
        self.num_open = 0  # parcels that are not settled
        # By receiver: its parcels from the oldest open one on, None for what is settled among them.
        self._runs: dict[PeerId, dict[int, Sent | None]] = {}
        self._received: OrderedDict[PeerId, Received] = OrderedDict()
        self._timers: Timers[Sent] = Timers()
        self._queue: list[tuple[PeerId, Message]] = []
        self._events: list[MassEvent] = []
        if journal is not None:
            self._restore(journal, now)

    def _restore(self, journal: MassJournal, now: float) -> None:
        self._next_number = journal.next_number
        for old in journal.sent:
            run = self._runs.setdefault(old.receiver, {})
            if old.is_settled:
                run[old.number] = None
                continue
            sent = Sent(old.receiver, old.number, old.share, now + self.config.cancel_after_s, old.is_cancelled)
            run[old.number] = sent
            self.num_open += 1
            self._timers.set(sent, now)
        for one in journal.received:
            self._received[one.sender] = Received(one.settled, set(one.taken), set(one.void))

    def journal(self) -> MassJournal:
        """Return what must survive a crash, in a fixed order."""
        return MassJournal(
            self._next_number,
            tuple(
                SentParcel(receiver, number, is_settled=True)
                if sent is None
                else SentParcel(receiver, number, sent.share, sent.is_cancelled)
                for receiver, run in sorted(self._runs.items())
                for number, sent in run.items()
            ),
            tuple(
                Accounts(sender, one.settled, tuple(sorted(one.taken)), tuple(sorted(one.void)))
                for sender, one in self._received.items()
            ),
        )

    # What the shell tells the core ----------------------------------------------------------------------------------

    def can_give(self, receiver: PeerId) -> bool:
        """Say whether a parcel may be given to `receiver` now."""
        return len(self._runs.get(receiver, ())) < self.config.window and self.num_open < self.config.max_open

    def give(self, receiver: PeerId, share: ShareName, now: float) -> int | None:
        """Send a share, which the shell takes out of the state; None, and nothing happens, when that cannot be now."""
        if not self.can_give(receiver):
            return None
        number = self._next_number
        self._next_number += 1
        sent = Sent(receiver, number, share, now + self.config.cancel_after_s)
        self._runs.setdefault(receiver, {})[number] = sent
        self.num_open += 1
        self.counters["parcels_given"] += 1
        self._repeat(sent, now)
        return number

    def cancel(self, receiver: PeerId, number: int, now: float) -> None:
        """Ask for an open parcel back."""
        sent = self._open(receiver, number)
        if sent is not None and not sent.is_cancelled:
            self._cancel(sent, now)

    def parcel_failed(self, receiver: PeerId, number: int, now: float) -> None:
        """The bytes of a parcel did not get through: send it again soon."""
        sent = self._open(receiver, number)
        if sent is not None and not sent.is_cancelled:
            self._timers.set(sent, now + self._rng.uniform(0.0, self.config.pause_s))

    def parcel_sent(self, receiver: PeerId, number: int, now: float) -> None:
        """The bytes of a parcel got through, or so the transport says: without an answer soon, ask what became of it.

        To ask is to cancel: whoever has taken the parcel says so again. So no bytes are sent twice for a lost Took.
        """
        sent = self._open(receiver, number)
        if sent is not None and not sent.is_cancelled:
            sent.cancel_at = min(sent.cancel_at, now + self.config.answer_s)
            self._timers.set(sent, sent.cancel_at)

    def refuse(self, sender: PeerId, parcel: Parcel) -> None:
        """Admission refuses the share of a parcel: unless it was taken before, it never will be."""
        self._decide(sender, parcel.number, parcel.settled, share=None)

    def link_up(self, peer: PeerId, now: float) -> None:
        """A link to `peer` stands: what is open is settled now."""
        for sent in list(self._runs.get(peer, {}).values()):
            if sent is not None:
                sent.attempts = 0
                self._repeat(sent, now)

    def link_down(self, peer: PeerId, now: float) -> None:
        """The link to `peer` is gone: what it has not taken is asked back, from when it is there again."""
        for sent in list(self._runs.get(peer, {}).values()):
            if sent is not None and not sent.is_cancelled:
                self._cancel(sent, now)

    # The five verbs -------------------------------------------------------------------------------------------------

    def receive_message(self, message: Message, sender: PeerId, now: float) -> None:  # noqa: ARG002  of cores
        """Take in a message of an authenticated sender; whatever it holds, this does not raise."""
        match message:
            case Parcel():
                self._decide(sender, message.number, message.settled, message.share)
            case Cancel():
                self._decide(sender, message.number, message.settled, share=None)
            case Took():
                self._settle(sender, message.number, is_void=False)
            case Void():
                self._settle(sender, message.number, is_void=True)
            case _:
                self._events.append(MassMisbehaved(sender, "unexpected_message"))

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
        """Do what is due: parcels that are repeated, or asked back."""
        for sent in self._timers.due(now):
            if not sent.is_cancelled and now >= sent.cancel_at:
                self._cancel(sent, now)
            else:
                self._repeat(sent, now)

    def next_event(self) -> MassEvent | None:
        """Return and forget the oldest event; None when there is none."""
        return self._events.pop(0) if self._events else None

    # As sender ------------------------------------------------------------------------------------------------------

    def _open(self, receiver: PeerId, number: int) -> Sent | None:
        return self._runs.get(receiver, {}).get(number)

    def _cancel(self, sent: Sent, now: float) -> None:
        sent.is_cancelled = True
        sent.attempts = 0
        self.counters["parcels_cancelled"] += 1
        self._repeat(sent, now)

    def _repeat(self, sent: Sent, now: float) -> None:
        settled = next(iter(self._runs[sent.receiver]))
        message = Cancel(sent.number, settled) if sent.is_cancelled else Parcel(sent.number, settled, sent.share)
        self._queue.append((sent.receiver, message))
        retry = self.config.cancel_retry if sent.is_cancelled else self.config.retry
        due = now + retry.delay(sent.attempts, self._rng)
        self._timers.set(sent, due if sent.is_cancelled else max(now, min(due, sent.cancel_at)))
        sent.attempts += 1

    def _settle(self, receiver: PeerId, number: int, *, is_void: bool) -> None:
        sent = self._open(receiver, number)
        if sent is None:
            return
        sent.timer = None
        self.num_open -= 1
        run = self._runs[receiver]
        run[number] = None
        while run and run[oldest := next(iter(run))] is None:
            del run[oldest]
        if not run:
            del self._runs[receiver]
        self.counters["parcels_refunded" if is_void else "parcels_delivered"] += 1
        self._events.append((Refund if is_void else Settled)(receiver, number, sent.share))

    # As receiver ----------------------------------------------------------------------------------------------------

    def _decide(self, sender: PeerId, number: int, settled: int, share: ShareName | None) -> None:
        """Take the share, or for None promise never to; what is decided already stays so."""
        if number < settled:
            self._events.append(MassMisbehaved(sender, "settled_number"))
            return
        one = self._accounts_of(sender)
        one.settle(settled)
        if number < one.settled:
            return  # late: the sender has its answer
        if not one.knows(number):
            if len(one.taken) + len(one.void) >= self.config.window:
                self._events.append(MassMisbehaved(sender, "window"))
                return
            if share is None:
                one.void.add(number)
                self.counters["parcels_voided"] += 1
            else:
                one.taken.add(number)
                self.counters["parcels_taken"] += 1
                self._events.append(Take(sender, number, share))
        self._queue.append((sender, Took(number) if number in one.taken else Void(number)))

    def _accounts_of(self, sender: PeerId) -> Received:
        one = self._received.get(sender)
        if one is None:
            one = self._received[sender] = Received()
            if len(self._received) > self.config.max_senders:
                self._received.popitem(last=False)
        self._received.move_to_end(sender)
        return one
