"""One peer that gives shares away: the shell around `peer.core.mass.MassCore`.

It decides nothing. Its model, what it has given and not seen confirmed, what it has taken and not mixed yet, and its
journal are on disk at every instant, as the core asks for: whoever crashes comes back as it was, but for local steps
that were under way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from netsim.virtual.learning import Version
from netsim.virtual.stream import Stream
from peer.core.mass import MassCore
from peer.core.mass_events import MassJournal, MassMisbehaved, Refund, Settled, Take
from peer.core.mass_messages import Parcel
from peer.core.messages import Message, PeerId, Records

if TYPE_CHECKING:
    from netsim.virtual.push_protocol import PushProtocol

CREDIT = 2  # rounds of giving that a peer has in advance; one would leave half of the peers without any at a time


class PushPeer:
    """The shell of one peer."""

    __slots__ = (
        "_armed_at",
        "_life",
        "arrived",
        "core",
        "credit",
        "index",
        "is_there",
        "journal",
        "name",
        "protocol",
        "rng",
        "round",
        "trained_at",
    )

    def __init__(self, protocol: PushProtocol, index: int, name: PeerId) -> None:
        self.protocol = protocol
        self.index = index
        self.name = name
        self.core: MassCore | None = None
        self.journal = MassJournal()  # of the life before
        self.is_there = False
        self.round = 0
        self.trained_at = math.inf  # when the local steps that go on are over
        self.arrived: list[Version] = []  # taken, not mixed yet
        self.credit = protocol.count * CREDIT  # shares that may be given before another one arrives
        self.rng = Stream(protocol.world.seed, name, "core")
        self._life = 0
        self._armed_at = math.inf

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Be there: from the beginning, or as of the crash."""
        self._life += 1
        self.is_there = True
        self.protocol.learning.wake(self.index, self.protocol.at())
        self.core = self.protocol.make_core(self)
        self.act(now)

    def stop(self) -> None:
        """Be gone."""
        assert self.core is not None
        self._life += 1
        self.is_there = False
        self.journal = self.core.journal()
        self.core = None
        self.trained_at = self._armed_at = math.inf

    def begin_round(self) -> None:
        """Mix what has arrived, and start local steps."""
        protocol = self.protocol
        if self.core is None:
            return
        self._mix()
        if protocol.is_done(self.index):
            self.trained_at = math.inf
            return
        self.trained_at = protocol.queue.now + protocol.training_time(self)
        protocol.queue.at(self.trained_at, self._trained, self._life)

    def _mix(self) -> None:
        if self.arrived:
            learning = self.protocol.learning
            learning.absorb(self.index, self.round, self.protocol.at(), self.arrived)
            for share in self.arrived:
                learning.release(share)
            self.arrived = []

    def _trained(self, life: int) -> None:
        if life != self._life:
            return
        protocol = self.protocol
        if protocol.learning.num_steps(self.index):
            protocol.learning.steps(self.index, self.round, protocol.at())
        self._give(protocol.queue.now)
        self.round += 1
        self.begin_round()
        protocol.world.round_done(self.index, self.round)

    # Shares ---------------------------------------------------------------------------------------------------------

    def _give(self, now: float) -> None:
        core, protocol = self.core, self.protocol
        assert core is not None
        room = core.config.max_open - core.num_open
        if protocol.is_paced:
            room = min(room, self.credit)
        receivers = [other for other in protocol.receivers(self) if core.can_give(protocol.names[other])]
        if receivers := receivers[:room]:
            self.credit -= len(receivers)
            shares = protocol.learning.give(self.index, self.round, protocol.at(), len(receivers))
            for other, share in zip(receivers, shares, strict=True):
                number = core.give(protocol.names[other], share.to_bytes(32), now)
                assert number is not None, "there was room"
            self.act(now)

    def receive(self, sender: int, message: Message) -> None:
        """Take in a message from the wire."""
        if type(message) is Records:
            self.protocol.world.directory.receive(self.index, sender, message)
        elif self.core is not None:
            now = self.protocol.queue.now
            self.core.receive_message(message, self.protocol.names[sender], now)
            self.act(now)

    def link_up(self, other: int) -> None:
        """A link stands."""
        if self.core is not None:
            self.protocol.world.directory.link_up(self.index, other)
            self.core.link_up(self.protocol.names[other], self.protocol.queue.now)
            self.act(self.protocol.queue.now)

    def link_down(self, other: int) -> None:
        """A link is known to be gone."""
        if self.core is not None:
            self.protocol.world.directory.link_down(self.index, other)
            self.core.link_down(self.protocol.names[other], self.protocol.queue.now)
            self.act(self.protocol.queue.now)

    def wake(self, planned: float) -> None:
        """A timer of the core is due."""
        if planned == self._armed_at and self.core is not None:
            self._armed_at = math.inf
            self.core.handle_timer(planned)
            self.act(planned)

    def act(self, now: float) -> None:
        """Do what the core asks for, then send; after every change to it."""
        core, protocol = self.core, self.protocol
        assert core is not None
        while (event := core.next_event()) is not None:
            match event:
                case Take(share=share):
                    protocol.learning.hold(share_of(share))
                    self.arrived.append(share_of(share))
                    self.credit += 1
                case Refund(share=share):
                    protocol.learning.refund(self.index, self.round, protocol.at(), share_of(share))
                    protocol.learning.release(share_of(share))
                    self.credit += 1
                case Settled(share=share):
                    protocol.learning.release(share_of(share))
                case MassMisbehaved():
                    protocol.punish(self.index, event)
        if self.arrived and protocol.is_done(self.index):
            self._mix()
        for peer, message in core.messages_to_send(now):
            self._send(protocol.index_of[peer], message)
        due = core.get_timer()
        if due is not None and due < self._armed_at:
            self._armed_at = due
            protocol.queue.at(due, self.wake, due)

    def _send(self, to: int, message: Message) -> None:
        if isinstance(message, Parcel):
            self._transfer(to, message)
        else:
            self.protocol.wire.send(self.index, to, message)

    def _transfer(self, to: int, parcel: Parcel) -> None:
        """Send a share, which is held for as long as it is under way."""
        protocol, life = self.protocol, self._life
        share = share_of(parcel.share)
        protocol.learning.hold(share)

        def ended() -> None:
            """Nothing waits for the sender."""

        def arrived() -> None:
            protocol.peers[to].receive(self.index, parcel)
            protocol.learning.release(share)
            if life == self._life and self.core is not None:
                now = protocol.queue.now
                self.core.parcel_sent(protocol.names[to], parcel.number, now)
                self.act(now)

        def broke() -> None:
            protocol.learning.release(share)
            if life == self._life and self.core is not None:
                now = protocol.queue.now
                self.core.parcel_failed(protocol.names[to], parcel.number, now)
                self.act(now)

        protocol.wire.transfer(self.index, to, protocol.learning.exchange_bytes, ended, arrived, broke)


def share_of(name: bytes) -> Version:
    """Return the copy that is named so on the wire."""
    return int.from_bytes(name)
