"""Links: at most one greeted stream to each peer, kept up by dialing, ended by rules.

Who is linked is a table (`_links`), and everything that changes it goes through `_establish` and `_serve`. Events come
out of one bounded channel: `LinkUp`, then `Received` in order, then `LinkDown`, for each peer in turn. While the owner
does not read events, links are not read either, each on its own: a flooding peer fills its own window, nobody else's.

Two links of one pair (both dialed at once): both ends keep the one that the peer with the smaller id opened. The
other is drained and closed, what it still had to send moves over, and the owner sees neither.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from peer.core.messages import Hello, LinkMessage, Message, PeerId
from peer.errors import NetError
from peer.net.bans import Bans
from peer.net.dialing import Dialer
from peer.net.faults import FaultLog
from peer.net.framing import encode_frame
from peer.net.link import LINK_PROTOCOL, GreetingError, Link, LinkSettings, greet, refuse
from peer.net.transport import Stream, Transport

FULL = "full"
DUPLICATE = "duplicate_link"
LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class LinkUp:
    """There is a link to `peer` now; `initiated` by us or by it."""

    peer: PeerId
    initiated: bool


@dataclass(frozen=True, slots=True)
class LinkDown:
    """There is no link to `peer` any more."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """`peer` said something; never `Hello`, `Goodbye` or a ping."""

    peer: PeerId
    message: LinkMessage


LinkEvent = LinkUp | LinkDown | Received


class Links:
    """The table of links of one daemon. `run` serves; the other methods may be called while it does."""

    def __init__(
        self, transport: Transport, hello: Hello, rng: random.Random, settings: LinkSettings | None = None
    ) -> None:
        self.settings = settings or LinkSettings()
        self._transport = transport
        self._hello = hello
        self._links: dict[PeerId, Link] = {}
        self._bans = Bans()
        self._fault_log = FaultLog("link_fault")
        self._log = structlog.get_logger()
        self._send_event, self.events = trio.open_memory_channel[LinkEvent](self.settings.max_events)
        self._nursery: trio.Nursery | None = None
        self._is_leaving = False
        self._dialer = Dialer(transport, rng, self.settings, self)
        self.faults: Counter[str] = self._fault_log.counts
        """Broken rules by kind."""

    # What the owner calls

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept, dial and keep links until cancelled; then say goodbye to all within `goodbye_s`.

        The transport must be running, and must run on until this has returned.
        """
        async with trio.open_nursery() as outer:
            await outer.start(self._run_links)
            self._transport.set_handler(LINK_PROTOCOL, self._accept)
            outer.start_soon(self._dialer.run)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(deadline=trio.current_time() + self.settings.goodbye_s, shield=True):
                    await self._leave()
                self._links_scope.cancel()

    def set_wanted(self, wanted: Mapping[PeerId, Sequence[str]]) -> None:
        """Keep links to these peers, dialing the addresses given; links to others stay while there is room."""
        self._dialer.set_wanted(wanted)

    def add_bootstrap(self, addresses: Iterable[str]) -> None:
        """Dial each of these (with or without `/p2p/<id>`) until there was a link, and again when there is none."""
        self._dialer.add_bootstrap(addresses)

    def send(self, peer: PeerId, message: Message) -> bool:
        """Queue a message; False when there is no link to `peer` or its queue is full. Never blocks."""
        link = self._links.get(peer)
        return link is not None and link.outbox.put(encode_frame(message))

    async def drop(self, peer: PeerId, reason: str, ban_s: float = 0.0) -> None:
        """Close the connection to `peer`, and refuse and do not dial it for `ban_s`; for misbehaviour."""
        if ban_s > 0:
            self.ban(peer, ban_s)
        link = self._links.get(peer)
        if link is not None:
            link.end(reason)
        await self._transport.disconnect(peer)

    def ban(self, peer: PeerId, ban_s: float) -> None:
        """Refuse and do not dial `peer` for `ban_s` seconds; a link that is up stays."""
        until = trio.current_time() + ban_s
        self._bans.add(peer, until)
        self._dialer.avoid(peer, until)

    def is_banned(self, peer: PeerId) -> bool:
        """Tell whether `peer` is refused at present."""
        return self._bans.until(peer, trio.current_time()) is not None

    def is_linked(self, peer: PeerId) -> bool:
        """Tell whether there is a link to `peer`."""
        return peer in self._links

    def is_lonely(self) -> bool:
        """Tell whether there is no link at all."""
        return not self._links

    def peers(self) -> Sequence[PeerId]:
        """Peers with a link, sorted."""
        return sorted(self._links)

    # Coming up

    async def _accept(self, stream: Stream) -> None:
        """Serve an inbound link stream. The link's own task is in our nursery: it outlives the handler's."""
        if self._nursery is None or self._is_leaving:
            await refuse(stream, LEAVING, self.settings.goodbye_s)
        elif self.is_banned(stream.peer):
            await refuse(stream, "banned", self.settings.goodbye_s)
            await self._transport.disconnect(stream.peer)
        else:
            link = await self._greet(stream, initiated=False)
            if link is not None:
                await link.over.wait()

    async def open_link(self, peer: PeerId) -> bool:
        """Open a link to a connected peer; False when it refused or broke. The dialer's."""
        try:
            with trio.fail_after(self.settings.request_s):
                stream = await self._transport.open_stream(peer, LINK_PROTOCOL)
        except (NetError, trio.TooSlowError):
            return False
        return await self._greet(stream, initiated=True) is not None and self.is_linked(peer)

    async def _greet(self, stream: Stream, initiated: bool) -> Link | None:
        try:
            refusal = partial(self._refusal, stream.peer, initiated)
            link = await greet(stream, self._hello, initiated, self.settings, refusal)
        except GreetingError as error:
            if error.fault:
                await self._punish(stream.peer, error.fault)
            return None
        assert self._nursery is not None
        reason = self._refusal(link.peer, initiated)  # once more: things may have changed while we greeted
        if reason:
            link.say_goodbye(reason, drain_s=self.settings.handshake_s if reason == DUPLICATE else 0.0)
            self._nursery.start_soon(self._drain, link)
        else:
            self._establish(link)
            self._nursery.start_soon(self._serve, link)
        return link

    def _refusal(self, peer: PeerId, initiated: bool) -> str:
        """Return why there can be no link to `peer` opened by us (`initiated`) or by it; "" when there can."""
        if self._is_leaving:
            return LEAVING
        rival = self._links.get(peer)
        if rival is not None:
            return "" if rival.initiated == initiated or initiated == self._goes_first(peer) else DUPLICATE
        has_place = len(self._links) < self.settings.max_links
        return "" if has_place or (self._dialer.is_wanted(peer) and self._spare()) else FULL

    def _goes_first(self, peer: PeerId) -> bool:
        return self._transport.peer_id < peer

    def _spare(self) -> list[Link]:
        """Return the links to peers that are not wanted, oldest first."""
        spare = [link for peer, link in self._links.items() if not self._dialer.is_wanted(peer)]
        return sorted(spare, key=lambda link: (link.up_since, link.peer))

    def _establish(self, link: Link) -> None:
        """Put a link into the table that `_refusal` found no fault with."""
        rival = self._links.get(link.peer)
        if rival is None:
            if len(self._links) >= self.settings.max_links:
                self._spare()[0].say_goodbye(FULL)
        elif rival.initiated == link.initiated:
            link.predecessor = rival
            rival.end("replaced")  # its end at the remote is gone, or the remote would not have opened another
        else:
            rival.hand_over_to(link)
            rival.say_goodbye(DUPLICATE, drain_s=self.settings.handshake_s)
        self._links[link.peer] = link

    # Life

    async def _run_links(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hold the tasks of the links; shielded, so that farewells are said after `run` was cancelled."""
        with trio.CancelScope(shield=True) as self._links_scope:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()

    async def _leave(self) -> None:
        self._is_leaving = True
        for link in self._links.values():
            link.say_goodbye(LEAVING)
        while self._links:
            await next(iter(self._links.values())).over.wait()

    async def _serve(self, link: Link) -> None:
        """Run one link, and tell the owner of its beginning and end."""
        try:
            await self._announce(link)
            await link.serve(self._receiver(link))
            await self._end(link)
        finally:
            if self._links.get(link.peer) is link:
                del self._links[link.peer]
            link.over.set()

    async def _drain(self, link: Link) -> None:
        """Run a link that is turned away until what the remote had already sent on it has come."""
        try:
            await link.serve(self._receiver(link))
        finally:
            link.over.set()

    def _receiver(self, link: Link) -> Callable[[LinkMessage], Awaitable[None]]:
        async def receive(message: LinkMessage) -> None:
            if link.peer in self._links or link.replaced.is_set():
                await self._send_event.send(Received(link.peer, message))

        return receive

    async def _announce(self, link: Link) -> None:
        """Tell of the link, unless it took the place of one that the owner knows."""
        if link.predecessor is not None:
            await link.predecessor.over.wait()
        if not link.announced.is_set():
            link.announced.set()
            await self._emit(LinkUp(link.peer, link.initiated))

    async def _end(self, link: Link) -> None:
        if link.fault:
            await self._punish(link.peer, link.fault)
        if link.reason == f"goodbye:{DUPLICATE}":  # the remote has greeted on the other link before us
            with trio.move_on_after(self.settings.handshake_s):
                await link.replaced.wait()
        if link.replaced.is_set():
            return
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
        await self._emit(LinkDown(link.peer, link.reason))
        self._dialer.link_is_down(link.peer)

    async def _emit(self, event: LinkUp | LinkDown) -> None:
        if not self._is_leaving:
            await self._send_event.send(event)

    async def _punish(self, peer: PeerId, fault: str) -> None:
        """Count a broken rule and close the connection; what a new one would be good for depends on the rule."""
        self._fault_log.note(fault, peer)
        if fault in ("wrong_swarm", "wrong_version"):
            self._dialer.avoid(peer, trio.current_time() + self.settings.avoid_s)
        elif fault != "stalled":
            self.ban(peer, self.settings.ban_s)
        await self._transport.disconnect(peer)
