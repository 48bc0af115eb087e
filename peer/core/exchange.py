"""The exchange core: who gets my snapshot, whose I take, and when a round may be mixed. No I/O.

Theory of operation
-------------------
Each peer counts its own rounds. A round is: train, `publish` the result, gather the neighbours' results, mix.

    TRAINING ──publish──▶ GATHERING ──quorum or deadline──▶ MIXING ──mixed──▶ TRAINING (next round) ... DONE

*Sending.* A published snapshot is offered to every linked neighbour and offered again, with growing pauses, until the
neighbour has said `Seen` or a newer one has taken its place. Bytes move only when the receiver asks (`Want`).

*Receiving.* Per author there is one `Feed` (see `feed.py`): at most one request under way, the newest offer remembered.
Requests have ids; an answer under an id that was never given to that author is a forgery, a late one is ignored.
Offers carry a `seq` that only grows: what is not newer is a repetition (answered with `Seen`, otherwise ignored), and
two snapshots under one `seq` are an equivocation.

*Mixing.* A neighbour's snapshot is fresh when its round is not behind ours. The round closes when the quorum of the
linked neighbours is fresh, or at the deadline; what is stale by at most `max_age_rounds` takes part all the same
(delivery LATEST), what is missing leaves its weight to self. A peer with no linked neighbour waits for the deadline,
so that an isolated device does not run away.

*Catching up.* When the lower median of the rounds heard is more than `max_age_rounds` ahead, this peer was away:
after mixing it goes on from the round after that median (a logical clock, [Lamport 1978]; the median, so that a
minority of liars cannot move it).

Invariants (tests/core/test_exchange_properties.py): a `seq` is admitted at most once and in growing order; the inbox
holds at most one snapshot per neighbour; requests under way never exceed `max_requests`; whatever is lost, repeated
or reordered, every round ends at its deadline at the latest, and rounds only grow.

The five verbs are those of every core: `receive_message`, `messages_to_send`, `get_timer`, `handle_timer`,
`next_event`. `now` is seconds of any monotonic clock.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable

from peer.core.backoff import Uniform
from peer.core.exchange_events import (
    CheckModel,
    ExchangeConfig,
    ExchangeEvent,
    Misbehaved,
    MixSlot,
    ModelDropped,
    RoundReady,
)
from peer.core.feed import Feed, FeedInput, FeedState
from peer.core.inbox import Entry, Inbox
from peer.core.messages import Manifest, Message, Model, Offer, PeerId, Refuse, Seen, Want
from peer.core.offers import Offers

MAX_OUTSIDERS = 256  # linked peers that are not neighbours and whose newest offer is remembered
MAX_AUTHORS = 4096  # authors whose newest `seq` is remembered, least recently heard forgotten first


class Phase(enum.Enum):
    """What the current round is at."""

    TRAINING = "training"
    GATHERING = "gathering"
    MIXING = "mixing"
    DONE = "done"


class ExchangeCore:
    """Rounds over a changing set of neighbours; see the module's theory of operation.

    `is_authentic(manifest, sender)` says whether `sender` signed the manifest as its author; it must be a pure
    function. `rng` has one method, `uniform(a, b)`; it spreads retries and starts the request ids.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        *,
        first_round: int,
        is_authentic: Callable[[Manifest, PeerId], bool],
        rng: Uniform,
    ) -> None:
        self.config = config
        self.round = first_round
        self.phase = Phase.DONE if config.total_rounds and first_round >= config.total_rounds else Phase.TRAINING
        self.neighbours: tuple[PeerId, ...] = ()
        self.counters: Counter[str] = Counter()
        self._is_authentic = is_authentic
        self._rng = rng
        self._linked: set[PeerId] = set()
        self._feeds: dict[PeerId, Feed] = {}
        self._outsiders: OrderedDict[PeerId, Manifest] = OrderedDict()
        self._newest_seq: OrderedDict[PeerId, tuple[int, bytes]] = OrderedDict()
        self._turns = 0
        self._inbox = Inbox()
        self._offers = Offers(config.offer_retry, rng)
        self._deadline: float | None = None
        self._next_round = first_round
        self._queue: deque[tuple[PeerId, Message]] = deque()
        self._events: deque[ExchangeEvent] = deque()

    # What the shell tells the core -------------------------------------------------------------------------

    def set_neighbours(self, neighbours: Iterable[PeerId], now: float) -> None:
        """Replace the set of peers that this one exchanges with."""
        wanted = tuple(sorted(set(neighbours)))
        for peer in set(self.neighbours) - set(wanted):
            self._forget(peer)
        self.neighbours = wanted
        for peer in wanted:
            if peer not in self._feeds:
                self._feeds[peer] = Feed(first_id=int(self._rng.uniform(1, 2**52)))
                offered = self._outsiders.pop(peer, None)
                if offered is not None:
                    self._take_offer(peer, offered, now)
            self._offer_to(peer, now)
        self._grant_requests(now)
        self._close_round_if_ready(now)

    def link_up(self, peer: PeerId, now: float) -> None:
        """A link to `peer` stands: it can be sent messages."""
        self._linked.add(peer)
        self._offers.forget(peer)  # whatever was seen before the link broke, say it again
        self._offer_to(peer, now)

    def link_down(self, peer: PeerId, now: float) -> None:
        """The link to `peer` is gone; it is not waited for until it is back."""
        self._linked.discard(peer)
        self._offers.forget(peer)
        self._outsiders.pop(peer, None)
        feed = self._feeds.get(peer)
        if feed is not None and feed.apply(FeedInput.LOST) is FeedState.IDLE:
            feed.timer, feed.current, feed.attempts = None, None, 0
        self._grant_requests(now)
        self._close_round_if_ready(now)

    def publish(self, manifest: Manifest, now: float) -> None:
        """Offer the result of this round's training and start to gather. Phase must be TRAINING."""
        if self.phase is not Phase.TRAINING:
            raise ValueError(f"publish in phase {self.phase.value}")
        self._offers.publish(manifest)
        self.phase = Phase.GATHERING
        self._deadline = now + self.config.deadline_s
        for peer in self.neighbours:
            self._offer_to(peer, now)
        self._close_round_if_ready(now)

    def publish_final(self, manifest: Manifest, now: float) -> None:
        """Offer the model that is left when all rounds are done: latecomers catch up with it. Phase must be DONE."""
        if self.phase is not Phase.DONE:
            raise ValueError(f"publish_final in phase {self.phase.value}")
        self._offers.publish(manifest)
        for peer in self.neighbours:
            self._offer_to(peer, now)

    def fetch_failed(self, peer: PeerId, request_id: int, now: float) -> None:
        """The request came to nothing (broken, refused, stalled); it is tried again after a pause."""
        feed = self._feeds.get(peer)
        if feed is None or feed.state is not FeedState.WANTED or feed.last_id != request_id:
            return
        self._fail(feed, now)
        self._grant_requests(now)

    def checked(self, peer: PeerId, manifest: Manifest, reason: str, now: float) -> None:
        """Admission has decided: `reason` is empty, or why the snapshot is refused and its author misbehaved."""
        feed = self._checking(peer, manifest)
        if feed is not None and not reason:
            feed.apply(FeedInput.PASS)
            self.counters["models_admitted"] += 1
            self._inbox.put(peer, manifest, feed.current_at)
            self._finish(feed, manifest)
            self._after_check(now)
            return
        if feed is not None:
            self.counters["models_refused"] += 1
            self._events.append(Misbehaved(peer, reason))
        self.abandon(peer, manifest, now)

    def abandon(self, peer: PeerId, manifest: Manifest, now: float) -> None:
        """Admission will not look at this snapshot (too many wait for it); that is no fault of its author."""
        feed = self._checking(peer, manifest)
        self._inbox.discard(manifest)
        if feed is not None:
            feed.apply(FeedInput.REJECT)
            self._finish(feed, manifest)
        self._after_check(now)

    def _checking(self, peer: PeerId, manifest: Manifest) -> Feed | None:
        """Return the feed that waits for this check; None when its author stopped being a neighbour meanwhile."""
        feed = self._feeds.get(peer)
        return feed if feed is not None and feed.state is FeedState.CHECKING and feed.current == manifest else None

    def _after_check(self, now: float) -> None:
        self._emit_dropped()
        self._grant_requests(now)
        self._close_round_if_ready(now)

    def mixed(self) -> None:
        """The mixing event of `RoundReady` is over: the next round begins. Phase must be MIXING."""
        if self.phase is not Phase.MIXING:
            raise ValueError(f"mixed in phase {self.phase.value}")
        self.round = self._next_round
        self._inbox.unpin()
        self._emit_dropped()
        total = self.config.total_rounds
        self.phase = Phase.DONE if total and self.round >= total else Phase.TRAINING

    # The five verbs ------------------------------------------------------------------------------------------

    def receive_message(self, message: Message, sender: PeerId, now: float) -> None:
        """Take in a message of an authenticated sender; whatever it holds, this does not raise."""
        match message:
            case Offer(manifest=manifest):
                self._receive_offer(manifest, sender, now)
            case Seen(seq=seq):
                self._offers.seen(sender, seq)
            case Want():
                self._receive_want(message, sender)
            case Model():
                self._receive_model(message, sender, now)
            case Refuse(request_id=request_id):
                self.counters["requests_refused"] += 1
                self.fetch_failed(sender, request_id, now)
            case _:
                self._events.append(Misbehaved(sender, "unexpected_message"))

    def messages_to_send(self, now: float) -> list[tuple[PeerId, Message]]:
        """Return and forget what is to be sent now."""
        offers = self._offers.due(now)
        self.counters["offers_sent"] += len(offers)
        self._queue.extend(offers)
        messages = list(self._queue)
        self._queue.clear()
        return messages

    def get_timer(self) -> float | None:
        """When `handle_timer` (or `messages_to_send`) has something to do, if nothing else happens."""
        timers = [feed.timer for feed in self._feeds.values()] + [self._offers.next_due()]
        if self.phase is Phase.GATHERING:
            timers.append(self._deadline)
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due: retries, timed-out requests, the deadline of the round."""
        for _, feed in sorted(self._feeds.items()):
            if feed.timer is None or feed.timer > now:
                continue
            if feed.state is FeedState.WANTED:
                self.counters["requests_timed_out"] += 1
                self._fail(feed, now)
            elif feed.state is FeedState.WAITING:
                feed.timer = None
                feed.apply(FeedInput.EXPIRE)
                self._turns += 1
                feed.turn = self._turns
        self._grant_requests(now)
        self._close_round_if_ready(now)

    def next_event(self) -> ExchangeEvent | None:
        """Return the next thing that the shell has to do, or None."""
        return self._events.popleft() if self._events else None

    # What the status shows -------------------------------------------------------------------------------------

    def linked_neighbours(self) -> tuple[PeerId, ...]:
        """Neighbours that can be reached now, sorted."""
        return tuple(peer for peer in self.neighbours if peer in self._linked)

    def wanted_size(self, peer: PeerId, want: Want) -> int | None:
        """Return the length in bytes of what `want` asks of `peer`; None when that is not wanted any more."""
        feed = self._feeds.get(peer)
        if feed is None or feed.current is None or feed.last_id != want.request_id:
            return None
        return feed.current.size_bytes

    def newest_of(self, peer: PeerId) -> Entry | None:
        """Return the neighbour's newest admitted snapshot."""
        return self._inbox.get(peer)

    # Sending -----------------------------------------------------------------------------------------------------

    def _offer_to(self, peer: PeerId, now: float) -> None:
        if peer in self._linked and peer in self.neighbours:
            self._offers.begin(peer, now)

    def _receive_want(self, want: Want, sender: PeerId) -> None:
        manifest = self._offers.find(want.sha256)
        if manifest is not None and want.offset <= manifest.size_bytes:
            self.counters["models_served"] += 1
            self._queue.append((sender, Model(want.request_id, want.sha256, manifest.size_bytes, want.offset)))
            return
        self.counters["requests_unknown"] += 1
        self._queue.append((sender, Refuse(want.request_id, "unknown")))

    # Receiving ---------------------------------------------------------------------------------------------------

    def _receive_offer(self, manifest: Manifest, sender: PeerId, now: float) -> None:
        if fault := self._fault_of(manifest, sender):
            self._events.append(Misbehaved(sender, fault))
            return
        self._queue.append((sender, Seen(manifest.seq)))
        newest_seq, newest_sha = self._newest_seq.get(sender, (-1, b""))
        if manifest.seq == newest_seq and manifest.sha256 != newest_sha:
            self._events.append(Misbehaved(sender, "equivocation"))
            return
        if manifest.seq < newest_seq:
            self.counters["offers_replayed"] += 1
            return
        if manifest.seq == newest_seq:
            self.counters["offers_repeated"] += 1
        else:
            self.counters["offers_received"] += 1
            self._newest_seq[sender] = (manifest.seq, manifest.sha256)
            self._newest_seq.move_to_end(sender)
            if len(self._newest_seq) > MAX_AUTHORS:
                self._newest_seq.popitem(last=False)
        if sender in self._feeds:
            self._take_offer(sender, manifest, now)
            self._grant_requests(now)
        elif sender in self._linked:
            # It counts us as a neighbour, we do not (yet): our views of the membership differ for a moment.
            self._outsiders[sender] = manifest
            self._outsiders.move_to_end(sender)
            if len(self._outsiders) > MAX_OUTSIDERS:
                self._outsiders.popitem(last=False)

    def _fault_of(self, manifest: Manifest, sender: PeerId) -> str:
        if manifest.swarm != self.config.swarm:
            return "wrong_swarm"
        if manifest.space != self.config.space:
            return "wrong_space"
        if manifest.size_bytes > self.config.max_model_bytes:
            return "model_too_large"
        if manifest.channel != "x" or manifest.codec != "f32":
            return "unknown_channel"
        return "" if self._is_authentic(manifest, sender) else "not_authentic"

    def _take_offer(self, peer: PeerId, manifest: Manifest, now: float) -> None:
        feed = self._feeds[peer]
        if feed.newest != manifest:
            feed.newest, feed.newest_at = manifest, now
        self._queue_if_news(feed)

    def _queue_if_news(self, feed: Feed) -> None:
        if feed.has_news:
            was = feed.state
            if feed.apply(FeedInput.OFFER) is FeedState.QUEUED and was is not FeedState.QUEUED:
                self._turns += 1
                feed.turn = self._turns

    def _grant_requests(self, now: float) -> None:
        """Turn queued feeds into requests, first come first served. Who is done takes nothing more."""
        if self.phase is Phase.DONE:
            return
        under_way = sum(feed.state is FeedState.WANTED for feed in self._feeds.values())
        queued = [(feed.turn, peer) for peer, feed in self._feeds.items() if feed.state is FeedState.QUEUED]
        for _, peer in sorted(queued)[: max(0, self.config.max_requests - under_way)]:
            feed = self._feeds[peer]
            assert feed.newest is not None
            feed.apply(FeedInput.GRANT)
            if feed.current is not feed.newest:
                feed.current, feed.current_at, feed.attempts = feed.newest, feed.newest_at, 0
            feed.last_id += 1
            patience = self.config.request_timeout_s + feed.current.size_bytes / self.config.min_rate_bytes_s
            feed.timer = now + patience
            self.counters["requests_sent"] += 1
            self._queue.append((peer, Want(feed.last_id, feed.current.sha256)))

    def _receive_model(self, model: Model, sender: PeerId, now: float) -> None:
        feed = self._feeds.get(sender)
        if feed is None or (feed.was_issued(model.request_id) and model.request_id != feed.last_id):
            self.counters["models_late"] += 1
            return
        if not feed.was_issued(model.request_id):
            self._events.append(Misbehaved(sender, "wrong_request_id"))
            return
        if feed.current is None or feed.state is FeedState.CHECKING:
            self.counters["models_late"] += 1
            return
        if (model.sha256, model.size_bytes) != (feed.current.sha256, feed.current.size_bytes):
            self._events.append(Misbehaved(sender, "wrong_model"))
            if feed.state is FeedState.WANTED:
                self._fail(feed, now)
            return
        feed.timer = None
        feed.apply(FeedInput.MODEL)
        self.counters["models_received"] += 1
        self._events.append(CheckModel(sender, feed.current, model.request_id))
        self._grant_requests(now)

    def _fail(self, feed: Feed, now: float) -> None:
        feed.attempts += 1
        self.counters["requests_failed"] += 1
        if feed.attempts < self.config.max_attempts:
            feed.apply(FeedInput.FAIL)
            feed.timer = now + self.config.fetch_retry.delay(feed.attempts - 1, self._rng)
        else:
            assert feed.current is not None
            feed.apply(FeedInput.GIVE_UP)
            self._finish(feed, feed.current)

    def _finish(self, feed: Feed, manifest: Manifest) -> None:
        feed.timer, feed.current, feed.attempts = None, None, 0
        feed.taken_seq = max(feed.taken_seq, manifest.seq)
        self._queue_if_news(feed)

    def _forget(self, peer: PeerId) -> None:
        self._feeds.pop(peer, None)
        self._offers.forget(peer)
        self._inbox.remove(peer)
        self._emit_dropped()

    # Rounds --------------------------------------------------------------------------------------------------------

    def _close_round_if_ready(self, now: float) -> None:
        if self.phase is not Phase.GATHERING or self._deadline is None:
            return
        expected = self.linked_neighbours()
        newest = (self._inbox.get(peer) for peer in expected)
        fresh = sum(entry is not None and entry.manifest.round >= self.round for entry in newest)
        met_quorum = bool(expected) and fresh >= math.ceil(self.config.quorum * len(expected))
        if not met_quorum and now < self._deadline:
            return
        slots = self._slots(now)
        self._next_round = self._round_after(slots)
        self._inbox.pin({slot.manifest for slot in slots})
        self.phase = Phase.MIXING
        self._deadline = None
        self._events.append(RoundReady(self.round, self._next_round, slots, len(expected), met_quorum))

    def _slots(self, now: float) -> tuple[MixSlot, ...]:
        return tuple(
            MixSlot(peer, entry.manifest, age, now - entry.offered_at)
            for peer, entry in self._inbox.items()
            if (age := max(0, self.round - entry.manifest.round)) <= self.config.max_age_rounds
        )

    def _round_after(self, slots: Collection[MixSlot]) -> int:
        rounds = sorted(slot.manifest.round for slot in slots)
        median = rounds[(len(rounds) - 1) // 2] if rounds else self.round
        if median <= self.round + self.config.max_age_rounds:
            return self.round + 1
        self.counters["rounds_skipped"] += median - self.round
        after = median + 1
        return min(after, self.config.total_rounds) if self.config.total_rounds else after

    def _emit_dropped(self) -> None:
        self._events.extend(ModelDropped(manifest) for manifest in self._inbox.take_dropped())
