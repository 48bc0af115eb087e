"""Whom to dial and when: one task per wanted peer and per bootstrap address, each with its own backoff."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import trio

from peer.core.backoff import Backoff
from peer.core.messages import PeerId
from peer.errors import NetError
from peer.net.addresses import split_peer
from peer.net.bans import Bans
from peer.net.link import LinkSettings
from peer.net.transport import Transport

MAX_BOOTSTRAP = 64


class Linking(Protocol):
    """What dialing is for."""

    def is_linked(self, peer: PeerId) -> bool:
        """Tell whether there is a link to `peer`."""

    def is_lonely(self) -> bool:
        """Tell whether there is no link at all."""

    async def open_link(self, peer: PeerId) -> bool:
        """Make a link to a connected peer."""


class _Target:
    """Something to be dialed, and a bell that wakes its task early."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)
        self.is_wanted = True
        self._bell = trio.Event()

    def ring(self) -> None:
        self._bell.set()

    async def wait(self, at_most_s: float = float("inf")) -> None:
        """Wait for the bell or the time."""
        with trio.move_on_after(at_most_s):
            await self._bell.wait()
        self._bell = trio.Event()


class Dialer:
    """Keeps trying, for as long as somebody is wanted and not linked."""

    def __init__(self, transport: Transport, rng: random.Random, settings: LinkSettings, linking: Linking) -> None:
        self._transport = transport
        self._rng = rng
        self._settings = settings
        self._linking = linking
        self._backoff = Backoff(settings.dial_backoff_s, settings.dial_backoff_max_s)
        self._wanted: dict[PeerId, _Target] = {}
        self._bootstrap: dict[str, _Target] = {}
        self._avoided = Bans()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Dial until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for peer, target in self._wanted.items():
                nursery.start_soon(self._keep, peer, target)
            for address, target in self._bootstrap.items():
                nursery.start_soon(self._find, address, target)
            await trio.sleep_forever()

    def set_wanted(self, wanted: Mapping[PeerId, Sequence[str]]) -> None:
        """Replace the peers to be kept linked, and their addresses; ourselves is left out."""
        for peer in [peer for peer in self._wanted if peer not in wanted]:
            target = self._wanted.pop(peer)
            target.is_wanted = False
            target.ring()
        for peer in sorted(wanted):
            if peer != self._transport.peer_id:
                self._want(peer, list(wanted[peer]))

    def _want(self, peer: PeerId, addresses: list[str]) -> None:
        target = self._wanted.get(peer)
        if target is None:
            target = self._wanted[peer] = _Target(addresses)
            if self._nursery is not None:
                self._nursery.start_soon(self._keep, peer, target)
        elif target.addresses != addresses:
            target.addresses = addresses
            target.ring()

    def add_bootstrap(self, addresses: Iterable[str]) -> None:
        """Add addresses to find the swarm by; beyond `MAX_BOOTSTRAP` they are ignored, and so are our own."""
        for address in addresses:
            is_ours = split_peer(address)[1] == self._transport.peer_id
            if not is_ours and address not in self._bootstrap and len(self._bootstrap) < MAX_BOOTSTRAP:
                target = self._bootstrap[address] = _Target([address])
                if self._nursery is not None:
                    self._nursery.start_soon(self._find, address, target)

    def is_wanted(self, peer: PeerId) -> bool:
        """Tell whether `peer` is to be kept linked."""
        return peer in self._wanted

    def avoid(self, peer: PeerId, until: float) -> None:
        """Do not dial `peer` before that time."""
        self._avoided.add(peer, until)

    def link_is_down(self, peer: PeerId) -> None:
        """A link has ended: its peer may be dialed again, and everybody when it was the last one."""
        if peer in self._wanted:
            self._wanted[peer].ring()
        if self._linking.is_lonely():
            for target in self._bootstrap.values():
                target.ring()

    async def _keep(self, peer: PeerId, target: _Target) -> None:
        """Keep a link to `peer` while it is wanted."""
        if self._transport.peer_id > peer:
            # Both ends of a pair want each other, as a rule at the same time: the one with the smaller id goes first.
            await target.wait(self._backoff.delay(0, self._rng))
        attempt = 0
        while target.is_wanted:
            wait_s = self._avoided_s(peer)
            if wait_s == 0.0:
                if await self._try(peer, target):
                    attempt = await self._outlast(target, attempt, lambda: self._linking.is_linked(peer))
                wait_s = self._backoff.delay(attempt, self._rng)
                attempt += 1
            await target.wait(wait_s)

    async def _outlast(self, target: _Target, attempt: int, is_up: Callable[[], bool]) -> int:
        """Wait while there is a link; returns the number of attempts to go on counting from."""
        up_since = trio.current_time()
        while is_up() and target.is_wanted:
            await target.wait()
        lived_s = trio.current_time() - up_since
        return 0 if lived_s >= self._settings.keepalive_s else attempt  # else a door was slammed in our face

    async def _find(self, address: str, target: _Target) -> None:
        """Dial a bootstrap address until there was a link, and again whenever there is no link at all."""
        attempt = 0
        while True:
            peer = await self._dial(address)
            avoided_s = self._avoided_s(peer) if peer is not None else 0.0
            if peer is not None and avoided_s == 0.0 and await self._link(peer):
                attempt = await self._outlast(target, attempt, lambda: not self._linking.is_lonely())
            await trio.sleep(max(avoided_s, self._backoff.delay(attempt, self._rng)))
            attempt += 1

    def _avoided_s(self, peer: PeerId) -> float:
        now = trio.current_time()
        until = self._avoided.until(peer, now)
        return 0.0 if until is None else until - now

    async def _try(self, peer: PeerId, target: _Target) -> bool:
        if self._linking.is_linked(peer) or peer in self._transport.connected_peers():
            return await self._link(peer)
        for address in target.addresses:
            place, name = split_peer(address)
            # An address that names another peer cannot be this one's; one that names nobody may be.
            if name in (None, peer) and await self._dial(f"{place}/p2p/{peer}") is not None:
                return await self._link(peer)
        return False

    async def _link(self, peer: PeerId) -> bool:
        return self._linking.is_linked(peer) or await self._linking.open_link(peer)

    async def _dial(self, address: str) -> PeerId | None:
        try:
            with trio.fail_after(self._settings.request_s):
                return await self._transport.dial(address)
        except (NetError, trio.TooSlowError):
            return None
