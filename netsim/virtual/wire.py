"""The network of a virtual world: links, messages and transfers between peers.

A message takes the latency of its pair of peers (drawn once, the same both ways) and, if so set, a jitter. A transfer
takes its bytes over the rate that both access links leave it (`fair_links.py`), and then the latency. Both may be
lost, and neither crosses a partition. A peer that is gone receives nothing; what it was sending breaks off.

A link is a connection that two peers hold open. It stands a round trip after one of them dialed. That it is gone is
noticed after `silence_s`, or at once when the other end said goodbye.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from netsim.distributions import Distribution, draw
from netsim.virtual.event_queue import EventQueue
from netsim.virtual.fair_links import FairLinks
from netsim.virtual.stream import Stream
from peer.core.messages import Message

LENGTH_BYTES = 4
"""In front of each message."""


class Party(Protocol):
    """What the wire knows of a peer."""

    is_there: bool

    def receive(self, sender: int, message: Message) -> None:
        """Take in a message."""

    def link_up(self, other: int) -> None:
        """A link stands."""

    def link_down(self, other: int) -> None:
        """A link is known to be gone."""


class Wire:
    """Between `parties`, n of them; they are set once they are there."""

    def __init__(
        self,
        queue: EventQueue,
        num_parties: int,
        *,
        seed: int,
        latency: Distribution,
        jitter: Distribution | None,
        loss: float,
        silence_s: float,
    ) -> None:
        n = num_parties
        self.parties: Sequence[Party] = ()
        self.loss = loss
        self.bytes_in = [0] * n
        self.bytes_out = [0] * n
        self.num_messages = 0
        self.num_lost = 0
        self.num_broken = 0
        self.links: list[set[int]] = [set() for _ in range(n)]
        self._queue = queue
        self._num_parties = n
        self._seed = seed
        self._latency = latency
        self._constant = latency.quantile(0.5) if latency.least == latency.mean else None
        self._jitter = jitter
        self._silence_s = silence_s
        self._sizes: dict[type, int] = {}
        self._banned: dict[tuple[int, int], float] = {}
        self._pairs: dict[int, float] = {}
        self._chance = Stream(seed, "wire")
        self._side: list[int] | None = None
        self._dialing: set[tuple[int, int]] = set()
        self._unnoticed: list[dict[int, int]] = [{} for _ in range(n)]  # per peer: whose link is gone -> which break
        self._num_breaks = 0
        self._fair: FairLinks | None = None
        self._transfers: dict[int, _Transfer] = {}
        self._count = 0
        self._pump_at = math.inf

    def limit(self, up_bytes_s: Sequence[float], down_bytes_s: Sequence[float]) -> None:
        """Give the access links capacities, inf where there is no limit; to be called before anything is sent."""
        self._fair = FairLinks(up_bytes_s, down_bytes_s)

    # Messages -------------------------------------------------------------------------------------------------------

    def latency_s(self, one: int, other: int) -> float:
        """Return the one-way latency between two peers."""
        if self._constant is not None:
            return self._constant
        a, b = (one, other) if one < other else (other, one)
        key = a * self._num_parties + b
        found = self._pairs.get(key)
        if found is None:
            found = self._pairs[key] = draw(self._latency, self._seed, "latency", a, b)
        return found

    def can_reach(self, one: int, other: int) -> bool:
        """Say whether no partition is between them."""
        return self._side is None or self._side[one] == self._side[other]

    def send(self, sender: int, receiver: int, message: Message) -> None:
        """Send a message."""
        size_bytes = self._sizes.get(type(message)) or self._size_of(message)
        self.num_messages += 1
        self.bytes_out[sender] += size_bytes
        if (self.loss and self._chance.random() < self.loss) or not self.can_reach(sender, receiver):
            self.num_lost += 1
            return
        delay_s = (
            self._constant if self._constant is not None and self._jitter is None else self._delay(sender, receiver)
        )
        queue = self._queue
        queue.at(queue.now + delay_s, self._deliver, sender, receiver, message, size_bytes)

    def _size_of(self, message: Message) -> int:
        """Return what a message weighs, as the first of its kind in this world did."""
        size = self._sizes[type(message)] = size_of(message)
        return size

    def _delay(self, sender: int, receiver: int) -> float:
        delay_s = self._constant if self._constant is not None else self.latency_s(sender, receiver)
        return delay_s if self._jitter is None else delay_s + self._jitter.quantile(self._chance.random())

    def _deliver(self, sender: int, receiver: int, message: Message, size_bytes: int) -> None:
        party = self.parties[receiver]
        if not party.is_there or (self._side is not None and self._side[sender] != self._side[receiver]):
            self.num_lost += 1
            return
        self.bytes_in[receiver] += size_bytes
        party.receive(sender, message)

    # Transfers ------------------------------------------------------------------------------------------------------

    def transfer(
        self,
        sender: int,
        receiver: int,
        size_bytes: int,
        ended: Callable[[], None],
        arrived: Callable[[], None],
        broke: Callable[[], None],
    ) -> None:
        """Send bytes in bulk. `ended`: the sender is done with it; then either `arrived` or `broke`, exactly once."""
        self._count += 1
        self.num_messages += 1
        transfer = _Transfer(sender, receiver, size_bytes, ended, arrived, broke)
        if (self.loss and self._chance.random() < self.loss) or not self.can_reach(sender, receiver):
            self.num_lost += 1
            self._queue.at(self._queue.now + self._silence_s, self._break, transfer)
            return
        if self._fair is None:
            self._queue.at(self._queue.now + self._delay(sender, receiver), self._arrive, transfer)
            return
        self._transfers[self._count] = transfer
        self._fair.begin(self._count, sender, receiver, float(size_bytes), self._queue.now)
        self._plan_pump()

    def _plan_pump(self) -> None:
        assert self._fair is not None
        due = self._fair.next_done()
        if due is not None and due < self._pump_at:
            self._pump_at = due
            self._queue.at(due, self._pump, due)

    def _pump(self, planned: float) -> None:
        if planned != self._pump_at:
            return
        assert self._fair is not None
        self._pump_at = math.inf
        now = self._queue.now
        for number in self._fair.take_done(now):
            transfer = self._transfers.pop(number)
            self._queue.at(now + self._delay(transfer.sender, transfer.receiver), self._arrive, transfer)
        self._plan_pump()

    def _arrive(self, transfer: _Transfer) -> None:
        if not self.parties[transfer.receiver].is_there or not self.can_reach(transfer.sender, transfer.receiver):
            self._break(transfer)
            return
        self.bytes_out[transfer.sender] += transfer.size_bytes
        self.bytes_in[transfer.receiver] += transfer.size_bytes
        transfer.ended()
        transfer.arrived()

    def _break(self, transfer: _Transfer) -> None:
        self.num_broken += 1
        transfer.ended()
        transfer.broke()

    def _break_all(self, numbers: Iterable[int]) -> None:
        assert self._fair is not None
        for number in numbers:
            transfer = self._transfers.pop(number)
            self._queue.at(self._queue.now, self._break, transfer)
        self._plan_pump()

    def set_capacity(self, peer: int, up_bytes_s: float, down_bytes_s: float) -> None:
        """Give a peer's access link another capacity; nothing happens where links are unlimited."""
        if self._fair is not None:
            self._fair.set_capacity(peer, up_bytes_s, down_bytes_s, self._queue.now)
            self._plan_pump()

    # Links ----------------------------------------------------------------------------------------------------------

    def connect(self, one: int, other: int, after_s: float = 0.0) -> None:
        """Dial: the link stands a round trip later, unless it stands, is being dialed, or nobody answers."""
        pair = (one, other) if one < other else (other, one)
        if other in self.links[one] or pair in self._dialing:
            return
        self._dialing.add(pair)
        self._queue.after(after_s + 2 * self.latency_s(one, other), self._answer, pair)

    def _answer(self, pair: tuple[int, int]) -> None:
        self._dialing.discard(pair)
        one, other = pair
        if not (self.parties[one].is_there and self.parties[other].is_there and self.can_reach(one, other)):
            return
        if other in self.links[one] or self._banned.get(pair, 0.0) > self._queue.now:
            return
        for peer, linked in (pair, (other, one)):
            self.links[peer].add(linked)
            self._unnoticed[peer].pop(linked, None)
        self.parties[one].link_up(other)
        self.parties[other].link_up(one)

    def go(self, peer: int, *, says_goodbye: bool) -> None:
        """A peer is gone: its links and transfers break."""
        for other in sorted(self.links[peer]):
            self.links[other].discard(peer)
            delay_s = self.latency_s(peer, other) if says_goodbye else self._silence_s
            self._break_link(other, peer, delay_s)
        self.links[peer].clear()
        self._unnoticed[peer].clear()
        if self._fair is not None:
            self._break_all(self._fair.cancel_peer(peer, self._queue.now))

    def ban(self, one: int, other: int, duration_s: float) -> None:
        """Break the link between two peers, and let none be made for a while."""
        self._banned[(one, other) if one < other else (other, one)] = self._queue.now + duration_s
        if other in self.links[one]:
            self._part(one, other, 0.0)

    def _part(self, one: int, other: int, delay_s: float) -> None:
        self.links[one].discard(other)
        self.links[other].discard(one)
        self._break_link(one, other, delay_s)
        self._break_link(other, one, delay_s)

    def _break_link(self, peer: int, gone: int, delay_s: float) -> None:
        """Let a peer notice later that a link is gone; unless until then it stands again, or its peer is gone too."""
        self._num_breaks += 1
        self._unnoticed[peer][gone] = self._num_breaks
        self._queue.after(delay_s, self._notice, peer, gone, self._num_breaks)

    def _notice(self, peer: int, gone: int, number: int) -> None:
        if self._unnoticed[peer].get(gone) == number:
            del self._unnoticed[peer][gone]
            self.parties[peer].link_down(gone)

    def partition(self, sides: Sequence[int] | None) -> None:
        """Peers with different `sides` cannot reach each other from now on; None: the partition is over."""
        self._side = None if sides is None else list(sides)
        if sides is None:
            return
        for one, others in enumerate(self.links):
            for other in sorted(others):
                if one < other and sides[one] != sides[other]:
                    self._part(one, other, self._silence_s)
        if self._fair is not None:
            crossing = [n for n, t in self._transfers.items() if sides[t.sender] != sides[t.receiver]]
            for number in crossing:
                self._fair.cancel(number, self._queue.now)
            self._break_all(crossing)


class _Transfer:
    __slots__ = ("arrived", "broke", "ended", "receiver", "sender", "size_bytes")

    def __init__(
        self,
        sender: int,
        receiver: int,
        size_bytes: int,
        ended: Callable[[], None],
        arrived: Callable[[], None],
        broke: Callable[[], None],
    ) -> None:
        self.sender = sender
        self.receiver = receiver
        self.size_bytes = size_bytes
        self.ended = ended
        self.arrived = arrived
        self.broke = broke


def size_of(message: Message) -> int:
    """Return what a message weighs on the wire in bytes: its MessagePack and its length."""
    return len(msgspec.msgpack.encode(message)) + LENGTH_BYTES
