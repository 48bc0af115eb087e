"""The exchange core: who gets my snapshot, whose I take, and when a round may be mixed. No I/O.

Theory of operation
-------------------
Each peer counts its own rounds. A round is: train, `publish` the result, gather the neighbours' results, mix.

    TRAINING ──publish──▶ GATHERING ──quorum or deadline──▶ MIXING ──mixed──▶ TRAINING (next round) ... DONE

*Who.* `neighbours` are the senders: whose snapshots this peer takes, waits for and mixes. `receivers` are told of its
own ones. In an undirected graph they are the same set. In a directed one they are two, and where each round has a graph
of its own, both are set at the beginning of a round, before `publish`. See `set_neighbours`. A sender does not wait for
its receivers there and may be rounds ahead of one: `kept_snapshots` says how many of its rounds can be asked for.

*Sending.* A published snapshot is offered to every linked receiver and offered again, with growing pauses, until the
receiver has it on record or a newer one has taken its place. Bytes move only when the receiver asks (`Want`).

*Receiving.* Per author there is one `Feed` (see `feed.py`): at most one request under way, the newest offer remembered.
Requests have ids; an answer under an id that was never given to that author is a forgery, a late one is ignored.
Offers carry a `seq` that only grows: what is not newer is a repetition (answered with `Seen`, otherwise ignored), and
two snapshots under one `seq` are an equivocation.

*Two messages in one.* An offer that is granted at once is answered by its `Want` alone; every other one by `Seen`: it
has to queue, was heard before, comes from somebody who is no sender yet, or will not be asked for. If the `Want` is
lost, the offer is repeated, and the repetition is answered by `Seen`. When a `Want` counts as seen: see `offers.py`.

*Mixing.* A neighbour's snapshot is fresh when its round is not behind ours. The round closes when the quorum of the
linked neighbours is fresh, or at the deadline; what is stale by at most `max_age_rounds` takes part all the same
(delivery LATEST), what is missing leaves its weight to self. A peer with no linked neighbour waits for the deadline,
so that an isolated device does not run away.

*Catching up.* When the lower median of the rounds heard is more than `max_age_rounds` ahead, this peer was away:
after mixing it goes on from the round after that median (a logical clock, [Lamport 1978]; the median, so that a
minority of liars cannot move it).

*Cost.* A message or timer costs the same however many neighbours there are, but for the logarithm of a heap: who is
fresh, linked and asked is counted as it changes, timers lie in heaps (`timers.py`). What costs a step per neighbour
happens once per round, or when the neighbours change. A simulator lives on this (`benchmarks/core_events.py`).

Invariants (tests/core/test_exchange_properties.py): a `seq` is admitted at most once and in growing order; the inbox
holds at most one snapshot per neighbour; requests under way never exceed `max_requests`; whatever is lost, repeated
or reordered, every round ends at its deadline at the latest, and rounds only grow; every count that is kept is what
counting anew would give.

The five verbs are those of every core: `receive_message`, `messages_to_send`, `get_timer`, `handle_timer`,
`next_event`. `now` is seconds of any monotonic clock.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable
from heapq import heappop
from operator import attrgetter
from typing import NamedTuple

from peer.core.backoff import Uniform
from peer.core.exchange_counts import ExchangeCounts
from peer.core.exchange_events import (
    CheckModel,
    ExchangeConfig,
    ExchangeEvent,
    Misbehaved,
    MixSlot,
    ModelDropped,
    RoundReady,
)
from peer.core.feed import Feed, FeedInput, FeedState, after
from peer.core.inbox import Entry, Inbox
from peer.core.messages import Manifest, Message, Model, Offer, PeerId, Refuse, Seen, Want
from peer.core.offers import Offers, Receiver
from peer.core.timers import Timers

MAX_OUTSIDERS = 256  # linked peers that are not neighbours and whose newest offer is remembered
MAX_AUTHORS = 4096  # others than neighbours that something is known of; the least recently heard is forgotten first


class Known(NamedTuple):
    """What is remembered of an author that is not a neighbour (now): what would be a replay, and what a late answer."""

    seq: int = -1  # of the newest snapshot that it offered, ...
    sha256: bytes = b""  # ... and the hash
    first_id: int = 0  # of the requests to it; 0: there was none
    last_id: int = -1


_NOTHING = Known()


class Phase(enum.Enum):
    """What the current round is at."""

    TRAINING = "training"
    GATHERING = "gathering"
    MIXING = "mixing"
    DONE = "done"


# An attribute of a class is looked up by name each time, a global once.
_TRAINING, _GATHERING, _MIXING, _DONE = Phase
_IDLE, _QUEUED, _WANTED, _CHECKING, _WAITING = FeedState
_FAIL, _GIVE_UP, _EXPIRE = FeedInput.FAIL, FeedInput.GIVE_UP, FeedInput.EXPIRE
_REJECT, _LOST = FeedInput.REJECT, FeedInput.LOST
# What happens for every snapshot is looked up in a column of the table.
_AFTER_OFFER, _AFTER_GRANT = after(FeedInput.OFFER), after(FeedInput.GRANT)
_AFTER_MODEL, _AFTER_PASS = after(FeedInput.MODEL), after(FeedInput.PASS)
_peer = attrgetter("peer")


class ExchangeCore:
    """Rounds over a changing set of neighbours; see the module's theory of operation.

    `is_authentic(manifest, sender)` says whether `sender` signed the manifest as its author; it must be a pure
    function. `rng` has one method, `uniform(a, b)`; it spreads retries and starts the request ids.
    """

    __slots__ = (
        "_counts",
        "_deadline",
        "_feeds",
        "_inbox",
        "_is_authentic",
        "_known",
        "_linked",
        "_next_round",
        "_num_fresh",
        "_num_linked",
        "_num_needed",
        "_num_wanted",
        "_offers",
        "_outsiders",
        "_queue",
        "_queued",
        "_rng",
        "_timers",
        "config",
        "events",
        "neighbours",
        "phase",
        "round",
    )

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
        self._counts = ExchangeCounts()
        self._is_authentic = is_authentic
        self._rng = rng
        self._linked: set[PeerId] = set()
        self._feeds: dict[PeerId, Feed] = {}
        self._queued: OrderedDict[PeerId, Feed] | None = None  # first come, first served; made when it is needed first
        self._timers: Timers[Feed | Receiver] = Timers()
        self._outsiders: dict[PeerId, Manifest] = {}
        self._known: dict[PeerId, Known] = {}
        self._num_wanted = 0  # feeds that are WANTED
        self._num_linked = 0  # neighbours that are linked, ...
        self._num_fresh = 0  # ... and of those, whose newest snapshot is not behind our round
        self._num_needed = 1  # as many have to be fresh for the quorum
        self._inbox = Inbox()
        self._offers = Offers(config.offer_retry, rng, self._timers, kept=config.kept_snapshots)
        self._deadline: float | None = None  # of the round, while GATHERING
        self._next_round = first_round
        self._queue: list[tuple[PeerId, Message]] = []
        self.events: list[ExchangeEvent] = []  # for `next_event`; a shell in a hurry looks whether there is one

    @property
    def counters(self) -> Counter[str]:
        """How often what happened: a copy, those that are not zero."""
        return self._counts.as_counter()

    @property
    def receivers(self) -> tuple[PeerId, ...]:
        """Who is told of this peer's snapshots."""
        return self._offers.receivers()

    # What the shell tells the core -------------------------------------------------------------------------

    def set_neighbours(
        self, neighbours: Iterable[PeerId], now: float, receivers: Iterable[PeerId] | None = None
    ) -> None:
        """Replace the peers whose snapshots this one takes, and those (default: the same) who are told of its own.

        Without `receivers`, a new neighbour is told of what is on offer, whatever round that is of. With them, the
        graph is taken to belong to a round: while TRAINING, what is on offer is of the round before and for the
        receivers of that, so a new one is told nothing until the next snapshot is published.

        The snapshot of a neighbour that is none any more is not mixed, whenever it was admitted: in a round's mix are
        snapshots of the senders of that round, and no others. Its newest offer is kept as that of an outsider, if it
        is of this round or a later one and could still be mixed: should the peer be a neighbour again, as happens
        where rounds differ in their graphs, the snapshot is asked for (again). An outsider's offer is taken when it
        becomes a neighbour, so who is early in a round that is not ours yet loses nothing.
        """
        wanted = tuple(sorted(set(neighbours)))
        if wanted != self.neighbours:
            self._replace_neighbours(wanted, now)
        told = wanted if receivers is None else tuple(sorted(set(receivers)))
        if told != self._offers.receivers():
            from_next = receivers is not None and self.phase is _TRAINING
            self._say(self._offers.set_receivers(told, self._linked, now, from_next=from_next))
        self._close_round_if_ready(now)

    def _replace_neighbours(self, wanted: tuple[PeerId, ...], now: float) -> None:
        feeds = self._feeds
        for peer in sorted(feeds.keys() - set(wanted)):
            self._forget(feeds[peer])
        self.neighbours = wanted
        for peer in wanted:
            if peer not in feeds:
                feeds[peer] = self._new_feed(peer)
                offered = self._outsiders.pop(peer, None)
                if offered is not None:
                    self._take_offer(feeds[peer], offered, now)
        self._grant_requests(now)
        self._count_links()

    def _new_feed(self, peer: PeerId) -> Feed:
        known = self._known.pop(peer, _NOTHING)
        feed = Feed(peer, known.first_id or int(self._rng.uniform(1, 2**52)), known.seq, known.sha256)
        if known.first_id:
            feed.last_id = known.last_id  # ids go on: what it was asked before may still be answered
        return feed

    def link_up(self, peer: PeerId, now: float) -> None:
        """A link to `peer` stands: it can be sent messages."""
        if peer not in self._linked:
            self._linked.add(peer)
            if peer in self._feeds:
                self._link_changed(peer, +1)
        self._say(self._offers.link_up(peer, now))

    def link_down(self, peer: PeerId, now: float) -> None:
        """The link to `peer` is gone; it is not waited for until it is back."""
        feed = self._feeds.get(peer)
        if peer in self._linked:
            self._linked.discard(peer)
            if feed is not None:
                self._link_changed(peer, -1)
        self._offers.link_down(peer)
        self._outsiders.pop(peer, None)
        if feed is not None:
            self._leave(feed)
            if feed.apply(_LOST) is _IDLE:
                feed.timer, feed.current, feed.attempts = None, None, 0
            self._grant_requests(now)
        self._close_round_if_ready(now)

    def publish(self, manifest: Manifest, now: float) -> None:
        """Offer the result of this round's training and start to gather. Phase must be TRAINING."""
        if self.phase is not _TRAINING:
            raise ValueError(f"publish in phase {self.phase.value}")
        self._say(self._offers.publish(manifest, now))
        self.phase = _GATHERING
        self._deadline = now + self.config.deadline_s
        self._close_round_if_ready(now)

    def publish_final(self, manifest: Manifest, now: float) -> None:
        """Offer the model that is left when all rounds are done: latecomers catch up with it. Phase must be DONE."""
        if self.phase is not _DONE:
            raise ValueError(f"publish_final in phase {self.phase.value}")
        self._say(self._offers.publish(manifest, now))

    def fetch_failed(self, peer: PeerId, request_id: int, now: float) -> None:
        """The request came to nothing (broken, refused, stalled); it is tried again after a pause."""
        feed = self._feeds.get(peer)
        if feed is None or feed.state is not _WANTED or feed.last_id != request_id:
            return
        self._fail(feed, now)

    def checked(self, peer: PeerId, manifest: Manifest, reason: str, now: float) -> None:
        """Admission has decided: `reason` is empty, or why the snapshot is refused and its author misbehaved."""
        feed = self._checking(peer, manifest)
        if feed is not None and not reason:
            self._admit(feed, manifest)
            self._finish(feed, manifest.seq, now)
            if self.phase is _GATHERING:
                self._close_round_if_ready(now)
            return
        if feed is not None:
            self._counts.models_refused += 1
            self.events.append(Misbehaved(peer, reason))
        self.abandon(peer, manifest, now)

    def abandon(self, peer: PeerId, manifest: Manifest, now: float) -> None:
        """Admission will not look at this snapshot (too many wait for it); that is no fault of its author."""
        feed = self._checking(peer, manifest)
        if feed is not None:
            feed.apply(_REJECT)
            self._finish(feed, manifest.seq, now)
        self._drop(peer, manifest)
        self._close_round_if_ready(now)

    def _checking(self, peer: PeerId, manifest: Manifest) -> Feed | None:
        """Return the feed that waits for this check; None when its author stopped being a neighbour meanwhile."""
        feed = self._feeds.get(peer)
        if feed is None or feed.state is not _CHECKING:
            return None
        return feed if feed.current is manifest or feed.current == manifest else None

    def _admit(self, feed: Feed, manifest: Manifest) -> None:
        peer = feed.peer
        feed.state = _AFTER_PASS[feed.state]
        self._counts.models_admitted += 1
        old = self._inbox.put(peer, Entry(manifest, feed.current_at))
        if peer in self._linked:
            self._num_fresh += manifest.round >= self.round
            if old is not None:
                self._num_fresh -= old.round >= self.round
        if old is not None:
            self._drop(peer, old)

    def mixed(self) -> None:
        """The mixing event of `RoundReady` is over: the next round begins. Phase must be MIXING."""
        if self.phase is not _MIXING:
            raise ValueError(f"mixed in phase {self.phase.value}")
        self.round = self._next_round
        self.events += [ModelDropped(manifest) for manifest in self._inbox.unpin()]
        self._count_fresh()
        total = self.config.total_rounds
        self.phase = _DONE if total and self.round >= total else _TRAINING

    # The five verbs ------------------------------------------------------------------------------------------

    def receive_message(self, message: Message, sender: PeerId, now: float) -> None:
        """Take in a message of an authenticated sender; whatever it holds, this does not raise."""
        kind = type(message)
        if kind is Model:
            self._receive_model(message, sender, now)  # type: ignore[arg-type]  # its type was looked at
        elif kind is Want:
            self._receive_want(message, sender)  # type: ignore[arg-type]  # ditto
        elif kind is Offer:
            self._receive_offer(message.manifest, sender, now)  # type: ignore[attr-defined]  # ditto
        elif kind is Seen:
            self._offers.seen(sender, message.seq)  # type: ignore[attr-defined]  # ditto
        elif kind is Refuse:
            self._counts.requests_refused += 1
            self.fetch_failed(sender, message.request_id, now)  # type: ignore[attr-defined]  # ditto
        else:
            self.events.append(Misbehaved(sender, "unexpected_message"))

    def messages_to_send(self, now: float) -> list[tuple[PeerId, Message]]:  # noqa: ARG002  a verb of every core
        """Return and forget what is to be sent now."""
        messages = self._queue
        if not messages:
            return []
        self._queue = []
        return messages

    def get_timer(self) -> float | None:
        """When `handle_timer` has something to do, if nothing else happens."""
        heap, deadline = self._timers.heap, self._deadline
        while heap:
            due, _, timed = heap[0]
            if timed.timer == due:
                return due if deadline is None or due < deadline else deadline
            heappop(heap)  # stale, see `Timers`
        return deadline

    def handle_timer(self, now: float) -> None:
        """Do what is due: offers said again, retries, timed-out requests, the deadline of the round."""
        due = self._timers.due(now)
        if due:
            self._say([self._offers.say(timed, now) for timed in due if isinstance(timed, Receiver)])
            for feed in sorted((timed for timed in due if isinstance(timed, Feed)), key=_peer):
                self._feed_is_due(feed, now)
            self._grant_requests(now)
        self._close_round_if_ready(now)

    def _feed_is_due(self, feed: Feed, now: float) -> None:
        if feed.state is _WANTED:
            self._counts.requests_timed_out += 1
            self._fail(feed, now)
        else:
            feed.apply(_EXPIRE)
            self._line_up(feed, now)

    def next_event(self) -> ExchangeEvent | None:
        """Return the next thing that the shell has to do, or None."""
        return self.events.pop(0) if self.events else None

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

    def _say(self, offers: Collection[tuple[PeerId, Offer]]) -> None:
        self._counts.offers_sent += len(offers)
        self._queue += offers

    def _receive_want(self, want: Want, sender: PeerId) -> None:
        manifest = self._offers.wanted(sender, want.sha256)
        if manifest is not None and want.offset <= manifest.size_bytes:
            self._counts.models_served += 1
            self._queue.append((sender, Model(want.request_id, want.sha256, manifest.size_bytes, want.offset)))
            return
        self._counts.requests_unknown += 1
        self._queue.append((sender, Refuse(want.request_id, "unknown")))

    # Receiving ---------------------------------------------------------------------------------------------------

    def _receive_offer(self, manifest: Manifest, sender: PeerId, now: float) -> None:
        if fault := self._fault_of(manifest, sender):
            self.events.append(Misbehaved(sender, fault))
            return
        feed = self._feeds.get(sender)
        if feed is None:
            self._receive_outside_offer(manifest, sender)
            return
        last_id = feed.last_id
        if manifest.seq > feed.heard_seq:
            self._counts.offers_received += 1
            feed.heard_seq, feed.heard_sha256 = manifest.seq, manifest.sha256
            self._take_offer(feed, manifest, now)
        elif self._is_repeated(manifest, sender, feed.heard_seq, feed.heard_sha256):
            self._take_offer(feed, manifest, now)
        if feed.last_id == last_id:
            self._queue.append((sender, Seen(manifest.seq)))

    def _receive_outside_offer(self, manifest: Manifest, sender: PeerId) -> None:
        """Remember an offer of somebody who counts us as a receiver while we do not take from it (yet).

        Our views of the members differ for a moment, or it is in a later round of a graph that changes.
        """
        known = self._known.get(sender, _NOTHING)
        self._queue.append((sender, Seen(manifest.seq)))
        if manifest.seq > known.seq:
            self._counts.offers_received += 1
            self._remember(sender, Known(manifest.seq, manifest.sha256, known.first_id, known.last_id))
        elif not self._is_repeated(manifest, sender, known.seq, known.sha256):
            return
        if sender in self._linked:
            self._remember_outsider(manifest, sender)

    def _is_repeated(self, manifest: Manifest, sender: PeerId, seq: int, sha256: bytes) -> bool:
        """Say whether this is the newest offer again, not an older one nor another one under the same `seq`."""
        if manifest.seq < seq:
            self._counts.offers_replayed += 1
            return False
        if manifest.sha256 != sha256:
            self.events.append(Misbehaved(sender, "equivocation"))
            return False
        self._counts.offers_repeated += 1
        return True

    def _remember(self, author: PeerId, known: Known) -> None:
        self._known.pop(author, None)
        self._known[author] = known
        if len(self._known) > MAX_AUTHORS:
            del self._known[next(iter(self._known))]

    def _remember_outsider(self, manifest: Manifest, author: PeerId) -> None:
        self._outsiders.pop(author, None)
        self._outsiders[author] = manifest
        if len(self._outsiders) > MAX_OUTSIDERS:
            del self._outsiders[next(iter(self._outsiders))]

    def _fault_of(self, manifest: Manifest, sender: PeerId) -> str:
        config = self.config
        if manifest.swarm != config.swarm:
            return "wrong_swarm"
        if manifest.space != config.space:
            return "wrong_space"
        if manifest.size_bytes > config.max_model_bytes:
            return "model_too_large"
        if manifest.channel != "x" or manifest.codec != "f32":
            return "unknown_channel"
        return "" if self._is_authentic(manifest, sender) else "not_authentic"

    def _take_offer(self, feed: Feed, manifest: Manifest, now: float) -> None:
        if feed.newest is not manifest and feed.newest != manifest:
            feed.newest, feed.newest_at = manifest, now
        if manifest.seq > feed.taken_seq:
            self._tell_of_news(feed, now)

    def _tell_of_news(self, feed: Feed, now: float) -> None:
        was = feed.state
        feed.state = state = _AFTER_OFFER[was]
        if state is not was:
            self._line_up(feed, now)

    def _line_up(self, feed: Feed, now: float) -> None:
        """Grant the request of a feed that is QUEUED, or have it wait for its turn."""
        if self._num_wanted < self.config.max_requests and not self._queued and self.phase is not _DONE:
            self._grant(feed, now)
            return
        if self._queued is None:
            self._queued = OrderedDict()
        self._queued[feed.peer] = feed

    def _grant_requests(self, now: float) -> None:
        """Turn queued feeds into requests, first come first served. Who is done takes nothing more."""
        while self._queued and self._num_wanted < self.config.max_requests and self.phase is not _DONE:
            _, feed = self._queued.popitem(last=False)
            self._grant(feed, now)

    def _grant(self, feed: Feed, now: float) -> None:
        feed.state = _AFTER_GRANT[feed.state]
        self._num_wanted += 1
        config, wanted = self.config, feed.newest
        assert wanted is not None
        if feed.current is not wanted:
            feed.current, feed.current_at, feed.attempts = wanted, feed.newest_at, 0
        feed.last_id += 1
        patience_s = config.request_timeout_s + wanted.size_bytes / config.min_rate_bytes_s
        self._timers.set(feed, now + patience_s)
        self._counts.requests_sent += 1
        self._queue.append((feed.peer, Want(feed.last_id, wanted.sha256)))

    def _receive_model(self, model: Model, sender: PeerId, now: float) -> None:
        feed = self._feeds.get(sender)
        if feed is None:
            self._counts.models_late += 1
            return
        wanted = feed.current
        if feed.state is not _WANTED or model.request_id != feed.last_id:
            if not feed.was_issued(model.request_id):
                self.events.append(Misbehaved(sender, "wrong_request_id"))
                return
            if model.request_id != feed.last_id or feed.state is _CHECKING:
                wanted = None
        if wanted is None:
            self._counts.models_late += 1
            return
        if model.sha256 != wanted.sha256 or model.size_bytes != wanted.size_bytes:
            self.events.append(Misbehaved(sender, "wrong_model"))
            if feed.state is _WANTED:
                self._fail(feed, now)
            return
        if feed.state is _WANTED:
            self._num_wanted -= 1
        else:
            self._leave(feed)
        feed.timer = None
        feed.state = _AFTER_MODEL[feed.state]
        self._counts.models_received += 1
        self.events.append(CheckModel(sender, wanted, model.request_id))
        if self._queued:
            self._grant_requests(now)

    def _leave(self, feed: Feed) -> None:
        """Count out a feed that is about to leave WANTED or QUEUED."""
        if feed.state is _WANTED:
            self._num_wanted -= 1
        elif feed.state is _QUEUED and self._queued is not None:
            del self._queued[feed.peer]

    def _fail(self, feed: Feed, now: float) -> None:
        self._num_wanted -= 1
        feed.attempts += 1
        self._counts.requests_failed += 1
        if feed.attempts < self.config.max_attempts:
            feed.apply(_FAIL)
            self._timers.set(feed, now + self.config.fetch_retry.delay(feed.attempts - 1, self._rng))
        else:
            assert feed.current is not None
            feed.apply(_GIVE_UP)
            self._finish(feed, feed.current.seq, now)
        self._grant_requests(now)

    def _finish(self, feed: Feed, seq: int, now: float) -> None:
        feed.timer, feed.current, feed.attempts = None, None, 0
        if seq > feed.taken_seq:
            feed.taken_seq = seq
        if feed.newest is not None and feed.newest.seq > feed.taken_seq:
            self._tell_of_news(feed, now)

    def _forget(self, feed: Feed) -> None:
        peer, entry = feed.peer, self._inbox.get(feed.peer)
        self._leave(feed)
        feed.timer = None
        del self._feeds[peer]
        if feed.heard_seq >= 0:
            self._remember(peer, Known(feed.heard_seq, feed.heard_sha256, feed.first_id, feed.last_id))
        newest = feed.newest
        if newest is not None and newest.round >= self.round and peer in self._linked:
            was_admitted = entry is not None and entry.manifest.seq == newest.seq
            if was_admitted or newest.seq > feed.taken_seq:  # not refused, nor given up
                self._remember_outsider(newest, peer)
        if entry is not None:
            self._inbox.remove(peer)
            self._drop(peer, entry.manifest)

    # Rounds --------------------------------------------------------------------------------------------------------

    def _is_fresh(self, peer: PeerId) -> bool:
        entry = self._inbox.get(peer)
        return entry is not None and entry.manifest.round >= self.round

    def _link_changed(self, neighbour: PeerId, by: int) -> None:
        self._num_linked += by
        self._num_fresh += by * self._is_fresh(neighbour)
        self._set_quorum()

    def _count_links(self) -> None:
        self._num_linked = len(self._linked & self._feeds.keys())
        self._set_quorum()
        self._count_fresh()

    def _set_quorum(self) -> None:
        # Nobody is fresh where nobody is linked: then one more than there are is asked for.
        self._num_needed = math.ceil(self.config.quorum * self._num_linked) if self._num_linked else 1

    def _count_fresh(self) -> None:
        round, linked = self.round, self._linked
        self._num_fresh = 0
        for peer, entry in self._inbox.entries.items():
            if entry.manifest.round >= round and peer in linked:
                self._num_fresh += 1

    def _close_round_if_ready(self, now: float) -> None:
        if self.phase is not _GATHERING:
            return
        met_quorum = self._num_fresh >= self._num_needed
        if met_quorum or (self._deadline is not None and now >= self._deadline):
            self._close_round(now, met_quorum)

    def _close_round(self, now: float, met_quorum: bool) -> None:
        slots = self._slots(now)
        self._next_round = self._round_after(slots)
        self._inbox.pin(slots)
        self.phase = _MIXING
        self._deadline = None
        self.events.append(RoundReady(self.round, self._next_round, slots, self._num_linked, met_quorum))

    def _slots(self, now: float) -> tuple[MixSlot, ...]:
        round, oldest, entries = self.round, self.round - self.config.max_age_rounds, self._inbox.entries
        slots = []
        for peer in self.neighbours:
            entry = entries.get(peer)
            if entry is not None and (theirs := entry.manifest.round) >= oldest:
                age_rounds = round - theirs if theirs < round else 0
                slots.append(MixSlot(peer, entry.manifest, age_rounds, now - entry.offered_at))
        return tuple(slots)

    def _round_after(self, slots: Collection[MixSlot]) -> int:
        rounds = [slot.manifest.round for slot in slots]
        ahead = self.round + self.config.max_age_rounds
        if not rounds or max(rounds) <= ahead:
            return self.round + 1
        rounds.sort()
        median = rounds[(len(rounds) - 1) // 2]
        if median <= ahead:
            return self.round + 1
        self._counts.rounds_skipped += median - self.round
        after = median + 1
        return min(after, self.config.total_rounds) if self.config.total_rounds else after

    def _drop(self, author: PeerId, manifest: Manifest) -> None:
        if not self._inbox.keeps(author, manifest):
            self.events.append(ModelDropped(manifest))
