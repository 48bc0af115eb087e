"""Who is in the swarm, as one peer sees it: signed heartbeats, spread by flooding over the links. No I/O.

Theory of operation
-------------------
Each peer signs a `PeerRecord` of itself: addresses, and a pair (incarnation, heartbeat) that only grows: the first
counts its starts, the second its signs of life. Peers pass on what is news to them, and only the author can make a
newer record, so any path may carry it. A member whose record has not grown for `timeout_s` of *our* clock is taken
for gone; no two clocks are ever compared. This is gossip-style failure detection [van Renesse, Minsky, Hayden 1998].

*News now, heartbeats with the tick.* A record that changes what peers must do (a newcomer, a new incarnation, new
addresses, a departure) is passed on at once; mere signs of life wait for the next heartbeat tick and travel together.

*Coming back.* A peer that hears of itself with a larger (incarnation, heartbeat) than its own has lost its state:
it asks the shell (`IncarnationBehind`) to start a larger incarnation, as in SWIM's refutation.

*After a partition* both sides have timed each other out. Those that went without a word stay known as `lost` for
`forget_s`, so that the shell goes on dialing them; those that said goodbye do not.

Invariants (tests/core/test_membership.py): records merge by taking the larger pair, so that merging is commutative,
idempotent and associative; nobody but its author can change a member's entry; neither the table nor what is
remembered of a link ever exceeds `max_members`.

Bounds: one record per author; of more than `max_members` authors the newcomers are refused (an open swarm has no
better criterion; admission by invitation comes with the swarm's shared state).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from peer.core.messages import MAX_RECORDS, Digest, Message, PeerId, PeerRecord, Records


@dataclass(frozen=True)
class MembershipConfig:
    """Knobs of the membership; see `swarm.toml`."""

    swarm: Digest
    heartbeat_s: float = 5.0
    timeout_s: float = 30.0
    forget_s: float = 3600.0
    max_members: int = 1024


@dataclass(frozen=True)
class ViewChanged:
    """The set of live members, or what is known of one of them, is another now."""


@dataclass(frozen=True)
class IncarnationBehind:
    """Others know this peer under a larger incarnation: start again above `seen`."""

    seen: int


@dataclass(frozen=True)
class BadRecord:
    """`peer` passed on a record that its author did not sign, or one of another swarm."""

    peer: PeerId
    kind: str


MembershipEvent = ViewChanged | IncarnationBehind | BadRecord


@dataclass
class _Member:
    record: PeerRecord
    grew_at: float
    is_alive: bool


def _age(record: PeerRecord) -> tuple[int, int]:
    return (record.incarnation, record.heartbeat)


def _is_news(old: PeerRecord | None, new: PeerRecord) -> bool:
    """Whether `new` says more than that its author still lives."""
    return old is None or (new.incarnation, new.addresses, new.has_left, new.trains) != (
        old.incarnation,
        old.addresses,
        old.has_left,
        old.trains,
    )


class MembershipCore:
    """The member table of one peer; see the module's theory of operation.

    `sign` turns an unsigned own record into a signed one; `author_of` returns whose peer id a record belongs to, or
    None when its signature does not hold. Both must be pure functions.
    """

    def __init__(
        self,
        config: MembershipConfig,
        own: PeerRecord,
        *,
        own_id: PeerId,
        sign: Callable[[PeerRecord], PeerRecord],
        author_of: Callable[[PeerRecord], PeerId | None],
        peer_id_of: Callable[[bytes], PeerId],
        now: float,
    ) -> None:
        self.config = config
        self.own_id = own_id
        self.counters: Counter[str] = Counter()
        self._own = own
        self._sign = sign
        self._author_of = author_of
        self._peer_id_of = peer_id_of
        self._signed: PeerRecord | None = None
        self._members: dict[PeerId, _Member] = {}
        self._links: dict[PeerId, dict[PeerId, tuple[int, int]]] = {}  # per link: what it already has of whom
        self._next_tick = now + config.heartbeat_s
        self._queue: deque[tuple[PeerId, Message]] = deque()
        self._events: deque[MembershipEvent] = deque([ViewChanged()])

    # What the shell tells the core -------------------------------------------------------------------------

    def link_up(self, peer: PeerId, now: float) -> None:
        """A link to `peer` stands: tell it all that is known."""
        self._links[peer] = {}
        self._send_news(self._known(now), [peer])

    def link_down(self, peer: PeerId) -> None:
        """The link to `peer` is gone."""
        self._links.pop(peer, None)

    def update_own(self, **changes: object) -> None:
        """Change the own record (`addresses`, `incarnation`, `trains`) and spread it."""
        self._own = msgspec.structs.replace(self._own, **changes, heartbeat=self._own.heartbeat + 1)
        self._signed = None
        self._send_news([self.own_record], self._links)

    def leave(self) -> None:
        """Say goodbye to the swarm: the own record says so from now on."""
        self.update_own(has_left=True)

    # The five verbs ------------------------------------------------------------------------------------------

    def receive_message(self, message: Message, sender: PeerId, now: float) -> None:
        """Take in `Records` of an authenticated sender; whatever they hold, this does not raise."""
        if not isinstance(message, Records):
            return
        news = []
        for record in message.records:
            peer = self._merge(record, sender, now)
            if peer is not None:
                news.append(record)
        if news:
            self._send_news(news, [peer for peer in self._links if peer != sender])

    def messages_to_send(self, now: float) -> list[tuple[PeerId, Message]]:  # noqa: ARG002  the verbs have one form
        """Return and forget what is to be sent now."""
        messages = list(self._queue)
        self._queue.clear()
        return messages

    def get_timer(self) -> float | None:
        """When the next heartbeat is due."""
        return self._next_tick

    def handle_timer(self, now: float) -> None:
        """Give a sign of life, pass on those of others, and notice who has given none."""
        if now < self._next_tick:
            return
        self._next_tick = now + self.config.heartbeat_s
        self._own = msgspec.structs.replace(self._own, heartbeat=self._own.heartbeat + 1)
        self._signed = None
        changed = False
        for peer, member in sorted(self._members.items()):
            silent_s = now - member.grew_at
            if member.is_alive and silent_s > self.config.timeout_s:
                member.is_alive, changed = False, True
                self.counters["members_lost"] += 1
            elif not member.is_alive and silent_s > self.config.forget_s:
                del self._members[peer]
                for has in self._links.values():
                    has.pop(peer, None)
        if changed:
            self._events.append(ViewChanged())
        self._send_news(self._known(now), self._links)

    def next_event(self) -> MembershipEvent | None:
        """Return the next thing that the shell has to do, or None."""
        return self._events.popleft() if self._events else None

    # The view ------------------------------------------------------------------------------------------------

    @property
    def own_record(self) -> PeerRecord:
        """The own record, signed."""
        if self._signed is None:
            self._signed = self._sign(self._own)
        return self._signed

    def members(self) -> dict[PeerId, PeerRecord]:
        """Live members, this peer included (unless it has left), sorted."""
        alive = {peer: member.record for peer, member in self._members.items() if member.is_alive}
        if not self._own.has_left:
            alive[self.own_id] = self.own_record
        return dict(sorted(alive.items()))

    def learners(self) -> list[PeerId]:
        """Live members with a trainer: the nodes of the swarm's graph, sorted."""
        return [peer for peer, record in self.members().items() if record.trains]

    def lost(self) -> dict[PeerId, PeerRecord]:
        """Members that fell silent without a goodbye and are not yet forgotten, those heard last first."""
        gone = [(-m.grew_at, p) for p, m in self._members.items() if not m.is_alive and not m.record.has_left]
        return {peer: self._members[peer].record for _, peer in sorted(gone)}

    # Inside ----------------------------------------------------------------------------------------------------

    def _merge(self, record: PeerRecord, sender: PeerId, now: float) -> PeerId | None:
        """Take the record in if it is newer; return its author if others must hear of it at once."""
        claimed = self._peer_id_of(record.author)
        known = self._members.get(claimed)
        if claimed == self.own_id:
            self._note_told(sender, claimed, record)
            self._hear_of_self(record)
            return None
        if known is not None and _age(record) <= _age(known.record):
            self._note_told(sender, claimed, record)
            return None
        if record.swarm != self.config.swarm:
            self._events.append(BadRecord(sender, "wrong_swarm"))
            return None
        if self._author_of(record) != claimed:
            self._events.append(BadRecord(sender, "bad_record"))
            return None
        if known is None and record.has_left:
            return None
        if known is None and len(self._members) >= self.config.max_members - 1:
            self.counters["members_refused"] += 1
            return None
        is_news = _is_news(known.record if known else None, record) or (known is not None and not known.is_alive)
        self._members[claimed] = _Member(record, grew_at=now, is_alive=not record.has_left)
        self._note_told(sender, claimed, record)
        if is_news:
            self._events.append(ViewChanged())
        return claimed if is_news else None

    def _note_told(self, sender: PeerId, author: PeerId, record: PeerRecord) -> None:
        """Remember that `sender` has this record. Of members only: else strangers' names would fill the memory."""
        if (has := self._links.get(sender)) is not None:
            has[author] = max(has.get(author, (-1, -1)), _age(record))

    def _hear_of_self(self, record: PeerRecord) -> None:
        if _age(record) > _age(self._own) and self._author_of(record) == self.own_id:
            self._events.append(IncarnationBehind(record.incarnation))

    def _known(self, now: float) -> list[PeerRecord]:
        # Departures are passed on for a while only: two peers must not keep a forgotten one alive between them.
        worth_telling = [
            member.record
            for _, member in sorted(self._members.items())
            if member.is_alive or (member.record.has_left and now - member.grew_at <= self.config.timeout_s)
        ]
        return [self.own_record, *worth_telling]

    def _send_news(self, records: Sequence[PeerRecord], peers: Iterable[PeerId]) -> None:
        for peer in sorted(peers):
            has = self._links[peer]
            fresh = []
            for record in records:
                author = self._peer_id_of(record.author)
                if has.get(author, (-1, -1)) < _age(record):
                    has[author] = _age(record)
                    fresh.append(record)
            for start in range(0, len(fresh), MAX_RECORDS):
                self._queue.append((peer, Records(tuple(fresh[start : start + MAX_RECORDS]))))
