"""One peer that meets others in pairs: the shell around `peer.core.pairing.PairCore`.

    local steps ─▶ local steps ─▶ ...          meetings in between, as the clocks of its edges have it

It decides nothing. Its model and its journal are on disk at every instant, as the core asks for: whoever crashes comes
back as it was, but for local steps and proposals that were under way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from netsim.virtual.learning import Version
from netsim.virtual.stream import Stream
from peer.core.messages import Message, PeerId, Records
from peer.core.pairing import PairCore
from peer.core.pairing_events import Aborted, Committed, ExchangeId, FreezeCopy, PairJournal, PairMisbehaved
from peer.core.pairing_messages import Accept, Propose

if TYPE_CHECKING:
    from netsim.virtual.pair_protocol import PairProtocol


class PairPeer:
    """The shell of one peer."""

    __slots__ = (
        "_armed_at",
        "_began_with",
        "_held",
        "core",
        "index",
        "is_there",
        "journal",
        "life",
        "name",
        "protocol",
        "rng",
        "round",
        "trained_at",
    )

    def __init__(self, protocol: PairProtocol, index: int, name: PeerId) -> None:
        self.protocol = protocol
        self.index = index
        self.name = name
        self.core: PairCore | None = None
        self.journal = PairJournal()  # of the life before
        self.is_there = False
        self.life = 0
        self.round = 0
        self.trained_at = math.inf  # when the local steps that go on are over
        self.rng = Stream(protocol.world.seed, name, "core")
        self._armed_at = math.inf
        self._began_with: Version | None = None
        self._held: dict[ExchangeId, list[Version]] = {}  # copies of exchanges that are not over here

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Be there: from the beginning, or as of the crash."""
        self.life += 1
        self.is_there = True
        self.protocol.learning.wake(self.index, self.protocol.at())
        self.core = self.protocol.make_core(self)
        self.act(now)

    def stop(self) -> None:
        """Be gone: what is in no journal is lost."""
        assert self.core is not None
        self.life += 1
        self.is_there = False
        self.journal = self.core.journal()
        self.core = None
        self.trained_at = self._armed_at = math.inf
        kept = {ExchangeId(one.initiator, one.nonce) for one in self.journal.prepared}
        for key in [key for key in self._held if key not in kept]:
            self._let_go(key)
        self._forget_beginning()

    def begin_steps(self) -> None:
        """Start the next round of local steps."""
        protocol = self.protocol
        if self.core is None or protocol.is_done(self.index):
            self.trained_at = math.inf
            return
        has_data = protocol.learning.num_steps(self.index) > 0
        if has_data and protocol.gradients_at == "start":
            self._began_with = protocol.learning.freeze(self.index, self.round, protocol.at())
        self.trained_at = protocol.queue.now + protocol.training_time(self)
        protocol.queue.at(self.trained_at, self._trained, self.life)

    def _trained(self, life: int) -> None:
        if life != self.life:
            return
        protocol = self.protocol
        if protocol.learning.num_steps(self.index):
            protocol.learning.steps(self.index, self.round, protocol.at(), self._began_with)
        self._forget_beginning()
        self.round += 1
        self.begin_steps()
        protocol.world.round_done(self.index, self.round)

    def _forget_beginning(self) -> None:
        if self._began_with is not None:
            self.protocol.learning.release(self._began_with)
            self._began_with = None

    # Meetings -------------------------------------------------------------------------------------------------------

    def meet(self, other: int) -> None:
        """The clock of an edge ticks: propose an exchange, over a link that stands."""
        protocol = self.protocol
        if self.core is not None and other in protocol.wire.links[self.index]:
            now = protocol.queue.now
            if self.core.propose(protocol.names[other], now) is None:
                protocol.world.counters["meetings_missed"] += 1
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
                case FreezeCopy():
                    self._freeze(core, event, now)
                case Committed():
                    own, theirs = int.from_bytes(event.own), int.from_bytes(event.theirs)
                    protocol.learning.meet(self.index, self.round, protocol.at(), own, theirs)
                    self._let_go(event.id)
                case Aborted():
                    self._let_go(event.id)
                case PairMisbehaved():
                    protocol.punish(self.index, event)
        for peer, message in core.messages_to_send(now):
            self._send(protocol.index_of[peer], message)
        due = core.get_timer()
        if due is not None and due < self._armed_at:
            self._armed_at = due
            protocol.queue.at(due, self.wake, due)

    def _freeze(self, core: PairCore, event: FreezeCopy, now: float) -> None:
        learning = self.protocol.learning
        own = learning.freeze(self.index, self.round, self.protocol.at())
        held = self._held[event.id] = [own]
        if event.theirs:
            theirs = int.from_bytes(event.theirs)
            learning.hold(theirs)
            held.append(theirs)
        if not core.frozen(event.id, own.to_bytes(32), now):
            self._let_go(event.id)

    def _let_go(self, key: ExchangeId) -> None:
        for version in self._held.pop(key, ()):
            self.protocol.learning.release(version)

    def _send(self, to: int, message: Message) -> None:
        if isinstance(message, Propose | Accept):
            self._transfer(to, message)
        else:
            self.protocol.wire.send(self.index, to, message)

    def _transfer(self, to: int, message: Propose | Accept) -> None:
        """Send vectors, which are held for as long as they are under way."""
        protocol, life = self.protocol, self.life
        version = int.from_bytes(message.vectors)
        protocol.learning.hold(version)

        def ended() -> None:
            """Nothing waits for the sender."""

        def arrived() -> None:
            protocol.peers[to].receive(self.index, message)
            protocol.learning.release(version)

        def broke() -> None:
            protocol.learning.release(version)
            if life == self.life and self.core is not None:
                now = protocol.queue.now
                if isinstance(message, Propose):
                    self.core.abandon(ExchangeId(self.name, message.nonce), now)
                else:
                    self.core.accept_failed(ExchangeId(protocol.names[to], message.nonce), now)
                self.act(now)

        protocol.wire.transfer(self.index, to, protocol.learning.exchange_bytes, ended, arrived, broke)
