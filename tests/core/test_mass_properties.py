"""The mass core under loss, duplication, reordering and crashes, in every order hypothesis finds."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peer.core.backoff import Backoff
from peer.core.mass import MassCore
from peer.core.mass_events import MassConfig, MassMisbehaved, Refund, Settled, Take
from peer.core.mass_messages import Parcel
from peer.core.messages import PeerId
from tests.core.lossy_world import LossyWorld, Shell

CONFIG = MassConfig(cancel_after_s=20.0, window=3, max_open=5, retry=Backoff(4.0, 16.0), pause_s=0.5)


class MassShell(Shell):
    """Holds an amount; a share is an amount, named by itself."""

    def __init__(self, world: LossyWorld, name: str, amount: int) -> None:
        self.world = world
        self.name = PeerId(name)
        self.disk = (None, amount, (), ())
        self.misbehaved: list[MassMisbehaved] = []
        self.start()
        self.save()

    def start(self) -> None:
        journal, self.amount, taken, refunded = self.disk
        self.taken: list[tuple[PeerId, int]] = list(taken)
        self.refunded: list[tuple[PeerId, int]] = list(refunded)
        self.core = MassCore(CONFIG, rng=self.world.rng, now=self.world.now, journal=journal)

    def save(self) -> None:
        self.disk = (self.core.journal(), self.amount, tuple(self.taken), tuple(self.refunded))

    def give(self, to: PeerId, amount: int) -> None:
        if self.core.give(to, str(amount).encode(), self.world.now) is not None:
            self.amount -= amount

    def act(self) -> None:
        while (event := self.core.next_event()) is not None:
            match event:
                case Take():
                    self.taken.append((event.sender, event.number))
                    self.amount += int(event.share)
                case Refund():
                    self.refunded.append((event.receiver, event.number))
                    self.amount += int(event.share)
                case Settled():
                    pass
                case MassMisbehaved():
                    self.misbehaved.append(event)


class HostileParcels(RuleBasedStateMachine):
    """Two to four cores that give to each other."""

    @initialize(num=st.integers(2, 4))
    def begin(self, num: int) -> None:
        self.world = LossyWorld()
        for place, name in enumerate("abcd"[:num]):
            self.world.shells[PeerId(name)] = MassShell(self.world, name, 100**place)
        self.shells = list(self.world.shells.values())
        self.total = sum(shell.amount for shell in self.shells)

    @rule(who=st.integers(0, 3), whom=st.integers(0, 3), amount=st.integers(1, 9), crash=st.booleans())
    def give(self, who: int, whom: int, amount: int, crash: bool) -> None:
        shell, other = self.shells[who % len(self.shells)], self.shells[whom % len(self.shells)]
        shell.handle(lambda: shell.give(other.name, amount), crash=crash and amount == 1)

    @rule(who=st.integers(0, 3), away=st.integers(1, 3), num=st.integers(1, 3))
    def give_several(self, who: int, away: int, num: int) -> None:
        """Give parcels of which some are answered; what becomes of the others is open."""
        shell, other = (self.shells[place % len(self.shells)] for place in (who, who + away))
        for _ in range(num):
            shell.handle(lambda: shell.give(other.name, 1))
        self.world.converse(num)

    @precondition(lambda self: self.world.flying)
    @rule(place=st.integers(0, 10**6), crash=st.sampled_from([False, False, False, True]))
    def deliver(self, place: int, crash: bool) -> None:
        self.world.deliver(place % len(self.world.flying), crash=crash)

    @precondition(lambda self: self.world.flying)
    @rule(place=st.integers(0, 10**6))
    def duplicate(self, place: int) -> None:
        if len(self.world.flying) < 100:
            self.world.deliver(place % len(self.world.flying), keep=True)

    @precondition(lambda self: self.world.flying)
    @rule(place=st.integers(0, 10**6))
    def drop(self, place: int) -> None:
        self.world.flying.pop(place % len(self.world.flying))

    @precondition(lambda self: self.world.flying)
    @rule(place=st.integers(0, 10**6))
    def refuse(self, place: int) -> None:
        place %= len(self.world.flying)
        sender, to, message = self.world.flying[place]
        if isinstance(message, Parcel):
            del self.world.flying[place]
            shell = self.world.shells[to]
            shell.handle(lambda: shell.core.refuse(sender, message))

    @rule(seconds=st.sampled_from([0.5, 3.0, 12.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(who=st.integers(0, 3))
    def crash(self, who: int) -> None:
        self.shells[who % len(self.shells)].handle(lambda: None, crash=True)

    @rule(who=st.integers(0, 3), whom=st.integers(0, 3), is_up=st.booleans())
    def link(self, who: int, whom: int, is_up: bool) -> None:
        shell, other = self.shells[who % len(self.shells)], self.shells[whom % len(self.shells)]
        change = shell.core.link_up if is_up else shell.core.link_down
        shell.handle(lambda: change(other.name, self.world.now))

    @rule(
        who=st.integers(0, 3), place=st.integers(0, 9), what=st.sampled_from(["parcel_failed", "parcel_sent", "cancel"])
    )
    def hear_of_a_transfer(self, who: int, place: int, what: str) -> None:
        shell = self.shells[who % len(self.shells)]
        sent = [one for one in shell.core.journal().sent if not one.is_settled]
        if sent:
            one = sent[place % len(sent)]
            change = getattr(shell.core, what)
            shell.handle(lambda: change(one.receiver, one.number, self.world.now))

    @invariant()
    def no_honest_peer_is_called_a_liar(self) -> None:
        for shell in self.shells:
            assert not shell.misbehaved

    @invariant()
    def nothing_is_taken_twice_nor_taken_and_refunded(self) -> None:
        refunded = {(shell.name, to, number) for shell in self.shells for to, number in shell.refunded}
        taken = [(sender, shell.name, number) for shell in self.shells for sender, number in shell.taken]
        assert len(taken) == len(set(taken))
        assert len(refunded) == sum(len(shell.refunded) for shell in self.shells)
        assert not refunded & set(taken)

    @invariant()
    def the_sum_is_kept_with_what_is_under_way(self) -> None:
        taken = {(sender, shell.name, number) for shell in self.shells for sender, number in shell.taken}
        under_way = sum(
            int(one.share)
            for shell in self.shells
            for one in shell.core.journal().sent
            if not one.is_settled and (shell.name, one.receiver, one.number) not in taken
        )
        assert sum(shell.amount for shell in self.shells) + under_way == self.total

    @invariant()
    def memory_is_bounded(self) -> None:
        for shell in self.shells:
            journal = shell.core.journal()
            assert sum(not one.is_settled for one in journal.sent) <= CONFIG.max_open
            for other in self.shells:
                assert sum(one.receiver == other.name for one in journal.sent) <= CONFIG.window
            for one in journal.received:
                assert len(one.taken) + len(one.void) <= CONFIG.window

    def teardown(self) -> None:
        """Once messages flow, everything settles."""
        if not hasattr(self, "world"):
            return
        self.world.calm()
        for shell in self.shells:
            assert not shell.core.journal().sent
            assert shell.core.get_timer() is None
        assert sum(shell.amount for shell in self.shells) == self.total


HostileParcels.TestCase.settings = settings(max_examples=70, stateful_step_count=50, deadline=None, derandomize=True)
TestHostileParcels = HostileParcels.TestCase
