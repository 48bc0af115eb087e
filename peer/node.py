"""The trio shell around the cores of one peer: it moves messages and files, sleeps until the next timer, and decides
nothing itself.

    Links ──events──▶ cores ──messages_to_send──▶ Links
                        │ ▲
                  Want  │ │ Model (file verified)          serve_models ──Want──▶ core ──Model / Refuse──▶
                        ▼ │
                      fetch

Everything that changes a core ends with `flush`: events are acted on, then messages are sent, then the timer task
learns of the new earliest deadline. All of it runs in one trio thread, so a core is never entered twice at once.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import structlog
import trio

from peer.core.exchange import ExchangeCore
from peer.core.exchange_events import CheckModel, Misbehaved, ModelDropped, RoundReady
from peer.core.membership import BadRecord, IncarnationBehind, MembershipCore, ViewChanged
from peer.core.messages import Manifest, Message, Model, Offer, PeerId, Records, Refuse, Seen, Want
from peer.errors import FetchError
from peer.net.faults import FaultLog
from peer.net.fetch import Offload, fetch
from peer.net.links import LinkDown, Links, LinkUp, Received
from peer.net.pace import Pace
from peer.net.serve import serve_models
from peer.net.transport import Transport
from topology.families import Family

MAX_LOST_DIALED = 16
"""Lost members that are dialed at once, those heard last first: enough to mend a partition, too few to have the whole
swarm call on addresses that somebody made up."""

VIEW_PAUSE_S = 0.05
"""Least time between two computations of the graph: a flood of membership news must not become a flood of those."""

log = structlog.get_logger()


class Node:
    """One peer among the others: membership always, exchange once `start_exchange` was called."""

    def __init__(
        self,
        *,
        transport: Transport,
        links: Links,
        pace: Pace,
        membership: MembershipCore,
        family: Family,
        seed: int,
        inbox_folder: Path,
        on_incarnation_behind: Callable[[int], None],
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self.links = links
        self.server = serve_models(transport, self._provide, pace=pace, offload=offload)
        self.membership = membership
        self.exchange: ExchangeCore | None = None
        self.faults = FaultLog("peer_misbehaved")
        self.view_changed = trio.Event()
        self._transport = transport
        self._pace = pace
        self._offload = offload
        self._family = family
        self._seed = seed
        self._inbox_folder = inbox_folder
        self._on_incarnation_behind = on_incarnation_behind
        self._own_files: dict[bytes, Path] = {}
        self._fetched: dict[tuple[PeerId, int], Path] = {}
        self._wake = trio.Event()
        self._view_news = trio.Event()
        self._nursery: trio.Nursery | None = None
        # The cores bound what can wait in these: one check per neighbour, one round at a time.
        self._checks_in, self.checks = trio.open_memory_channel[CheckModel](4096)
        self._rounds_in, self.rounds_ready = trio.open_memory_channel[RoundReady](1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; `started()` at once."""
        _empty_folder(self._inbox_folder)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._follow_links)
            nursery.start_soon(self._follow_timers)
            nursery.start_soon(self._follow_view)
            self.flush()
            task_status.started()

    def start_exchange(self, exchange: ExchangeCore) -> None:
        """Begin to exchange models: the trainer has told what they look like."""
        self.exchange = exchange
        now = trio.current_time()
        for peer in self.links.peers():
            exchange.link_up(peer, now)
        self._recompute_neighbours()
        self.flush()

    def publish(self, manifest: Manifest, path: Path) -> None:
        """Offer the result of this round's training, and gather those of others."""
        assert self.exchange is not None
        self._keep(manifest, path)
        self.exchange.publish(manifest, trio.current_time())
        self.flush()

    def publish_final(self, manifest: Manifest, path: Path) -> None:
        """Offer the model that is left when all rounds are done, for as long as this peer serves."""
        assert self.exchange is not None
        self._keep(manifest, path)
        self.exchange.publish_final(manifest, trio.current_time())
        self.flush()

    def _keep(self, manifest: Manifest, path: Path) -> None:
        self._own_files[manifest.sha256] = path
        while len(self._own_files) > 4:  # the core answers for the newest two
            self._own_files.pop(next(iter(self._own_files)))

    def checked(self, check: CheckModel, reason: str) -> None:
        """Tell the core what admission said of a received snapshot."""
        assert self.exchange is not None
        self.exchange.checked(check.peer, check.manifest, reason, trio.current_time())
        self.flush()

    def mixed(self) -> None:
        """Tell the core that the mixing event is over."""
        assert self.exchange is not None
        self.exchange.mixed()
        self.flush()

    def received_file(self, manifest: Manifest) -> Path:
        """Return where an admitted or arriving snapshot lies."""
        return self._inbox_folder / f"{manifest.author.hex()[:16]}-{manifest.seq}.safetensors"

    def leave(self) -> None:
        """Tell everybody that this peer goes."""
        self.membership.leave()
        self.flush()

    # Pumping ---------------------------------------------------------------------------------------------------

    async def _follow_links(self) -> None:
        async for event in self.links.events:
            now = trio.current_time()
            match event:
                case LinkUp(peer=peer):
                    self.membership.link_up(peer, now)
                    if self.exchange is not None:
                        self.exchange.link_up(peer, now)
                case LinkDown(peer=peer):
                    self.membership.link_down(peer)
                    if self.exchange is not None:
                        self.exchange.link_down(peer, now)
                case Received(peer=peer, message=Records() as message):
                    self.membership.receive_message(message, peer, now)
                case Received(peer=peer, message=message):
                    # Before the trainer is up an offer goes unanswered: its sender will repeat it.
                    if self.exchange is not None:
                        self.exchange.receive_message(message, peer, now)
            self.flush()

    async def _follow_timers(self) -> None:
        while True:
            self._wake = trio.Event()
            with trio.move_on_at(self._next_timer()):
                await self._wake.wait()
            now = trio.current_time()
            self.membership.handle_timer(now)
            if self.exchange is not None:
                self.exchange.handle_timer(now)
            self.flush()

    async def _follow_view(self) -> None:
        while True:
            await self._view_news.wait()
            self._view_news = trio.Event()
            self._recompute_neighbours()
            self.flush()
            await trio.sleep(VIEW_PAUSE_S)

    def _next_timer(self) -> float:
        timers = [self.membership.get_timer(), self.exchange.get_timer() if self.exchange is not None else None]
        return min((timer for timer in timers if timer is not None), default=float("inf"))

    def flush(self) -> None:
        """Act on what the cores have to say; call after every change to a core."""
        now = trio.current_time()
        while (event := self.membership.next_event()) is not None:
            match event:
                case ViewChanged():
                    self._view_news.set()
                case IncarnationBehind(seen=seen):
                    self._on_incarnation_behind(seen)
                case BadRecord(peer=peer, kind=kind):
                    self._punish(peer, kind)
        for peer, message in self.membership.messages_to_send(now):
            self.links.send(peer, message)
        if self.exchange is not None:
            self._flush_exchange(self.exchange, now)
        self._wake.set()

    def _flush_exchange(self, exchange: ExchangeCore, now: float) -> None:
        while (event := exchange.next_event()) is not None:
            match event:
                case CheckModel():
                    self._fetched.pop((event.peer, event.request_id)).replace(self.received_file(event.manifest))
                    self._check(exchange, event, now)
                case RoundReady():
                    self._rounds_in.send_nowait(event)
                case ModelDropped(manifest=manifest):
                    self.received_file(manifest).unlink(missing_ok=True)
                case Misbehaved(peer=peer, kind=kind):
                    self._punish(peer, kind)
        for peer, message in exchange.messages_to_send(now):
            self._send(peer, message)

    def _check(self, exchange: ExchangeCore, check: CheckModel, now: float) -> None:
        try:
            self._checks_in.send_nowait(check)
        except trio.WouldBlock:  # neighbours came and went thousands of times during one training
            exchange.abandon(check.peer, check.manifest, now)

    def _send(self, peer: PeerId, message: Message) -> None:
        match message:
            case Want():
                assert self._nursery is not None
                assert self.exchange is not None
                size_bytes = self.exchange.wanted_size(peer, message)
                if size_bytes is not None:
                    self._nursery.start_soon(self._fetch, peer, message, size_bytes)
            case Offer() | Seen():
                self.links.send(peer, message)
            case _:  # Model and Refuse answer a Want that never left `_provide`
                log.warning("answer_without_request", peer=peer)

    def _recompute_neighbours(self) -> None:
        learners = self.membership.learners()
        members = self.membership.members()
        own = self.membership.own_id
        neighbours: tuple[PeerId, ...] = ()
        if own in learners:
            neighbours = self._family.build(learners, self._seed).neighbours(own)
        if self.exchange is not None:
            self.exchange.set_neighbours(neighbours, trio.current_time())
        lost = islice(self.membership.lost().items(), MAX_LOST_DIALED)
        wanted = {peer: members[peer].addresses for peer in neighbours}
        wanted |= {peer: record.addresses for peer, record in lost}
        self.links.set_wanted(wanted)
        self.view_changed.set()
        self.view_changed = trio.Event()

    def _punish(self, peer: PeerId, kind: str) -> None:
        ban_s = self.links.settings.ban_s
        self.faults.note(kind, peer, ban_s=ban_s)
        if self._nursery is not None:
            self._nursery.start_soon(self.links.drop, peer, kind, ban_s)

    # Models ----------------------------------------------------------------------------------------------------

    async def _fetch(self, peer: PeerId, want: Want, size_bytes: int) -> None:
        assert self.exchange is not None
        part = self._inbox_folder / f"{peer}-{want.request_id}.part"
        try:
            await fetch(self._transport, peer, want, size_bytes, part, pace=self._pace, offload=self._offload)
        except FetchError as error:
            log.info("fetch_failed", peer=peer, kind=error.kind, detail=str(error))
            if error.misbehaved:
                self._punish(peer, error.kind)
            self.exchange.fetch_failed(peer, want.request_id, trio.current_time())
        else:
            self._fetched[peer, want.request_id] = part
            answer = Model(want.request_id, want.sha256, size_bytes)
            self.exchange.receive_message(answer, peer, trio.current_time())
        self.flush()
        if self._fetched.pop((peer, want.request_id), None) is not None:
            part.unlink(missing_ok=True)  # it came too late: nobody waits for it any more

    def _provide(self, peer: PeerId, want: Want) -> tuple[Model, Path] | Refuse:
        if self.links.is_banned(peer):
            return Refuse(want.request_id, "banned")
        if self.exchange is None:
            return Refuse(want.request_id, "unknown")
        now = trio.current_time()
        answer: tuple[Model, Path] | Refuse = Refuse(want.request_id, "unknown")
        self.exchange.receive_message(want, peer, now)
        for to, message in self.exchange.messages_to_send(now):
            if isinstance(message, Model) and to == peer and message.request_id == want.request_id:
                answer = (message, self._own_files[want.sha256])
            elif not isinstance(message, Refuse):
                self._send(to, message)
        return answer


def _empty_folder(folder: Path) -> None:
    """Make the folder; remove what an earlier life had received but not mixed: it will be offered again."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
