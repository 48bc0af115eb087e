"""The pairing core under loss, duplication, reordering and crashes, in every order hypothesis finds."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peer.core.backoff import Backoff
from peer.core.messages import PeerId
from peer.core.pairing import PairCore
from peer.core.pairing_events import Aborted, Committed, ExchangeId, FreezeCopy, PairConfig, PairMisbehaved
from tests.core.lossy_world import LossyWorld, Shell

CONFIG = PairConfig(
    timeout_s=5.0,
    max_answers=2,
    max_doubts=3,
    max_unconfirmed=2,
    commit_retry=Backoff(1.0, 8.0),
    query_after_s=5.0,
    query_retry=Backoff(2.0, 40.0),
)


class PairShell(Shell):
    """Holds one number; vectors are numbers and named by what they are."""

    def __init__(self, world: LossyWorld, name: str, value: int, config: PairConfig) -> None:
        self.world = world
        self.name = PeerId(name)
        self.config = config
        self.life = 0
        self.disk = (None, Fraction(value), (), frozenset())
        self.misbehaved: list[PairMisbehaved] = []
        self.start()
        self.save()

    def start(self) -> None:
        self.life += 1
        journal, self.value, applied, self.aborted = self.disk
        self.applied: list[ExchangeId] = list(applied)
        self.core = PairCore(
            self.config, self.name, life=self.life, rng=self.world.rng, now=self.world.now, journal=journal
        )

    def save(self) -> None:
        self.disk = (self.core.journal(), self.value, tuple(self.applied), self.aborted)

    def act(self) -> None:
        while (event := self.core.next_event()) is not None:
            match event:
                case FreezeCopy():
                    if self.world.rng.random() < 0.1:
                        self.core.abandon(event.id, self.world.now)
                    else:
                        self.core.frozen(event.id, str(self.value).encode(), self.world.now)
                case Committed():
                    self.applied.append(event.id)
                    self.value += delta(event.own, event.theirs)
                case Aborted():
                    self.aborted |= {event.id}
                case PairMisbehaved():
                    self.misbehaved.append(event)


def delta(own: bytes, theirs: bytes) -> Fraction:
    return (Fraction(theirs.decode()) - Fraction(own.decode())) / 2


class HostilePairs(RuleBasedStateMachine):
    """Two to four cores that propose to each other."""

    @initialize(num=st.integers(2, 4), exclusive=st.booleans())
    def begin(self, num: int, exclusive: bool) -> None:
        self.world = LossyWorld()
        config = (
            CONFIG
            if not exclusive
            else PairConfig(timeout_s=5.0, is_exclusive=True, commit_retry=CONFIG.commit_retry, query_after_s=5.0)
        )
        for place, name in enumerate("abcd"[:num]):
            self.world.shells[PeerId(name)] = PairShell(self.world, name, 8**place, config)
        self.shells = list(self.world.shells.values())
        self.total = sum(shell.value for shell in self.shells)

    @rule(who=st.integers(0, 3), whom=st.integers(0, 3), crash=st.booleans())
    def propose(self, who: int, whom: int, crash: bool) -> None:
        shell, other = self.shells[who % len(self.shells)], self.shells[whom % len(self.shells)]
        shell.handle(lambda: shell.core.propose(other.name, self.world.now), crash=crash and who == 0)

    @rule(who=st.integers(0, 3), away=st.integers(1, 3), num_messages=st.integers(1, 3))
    def begin_an_exchange(self, who: int, away: int, num_messages: int) -> None:
        """Let one go as far as to an answer or a commit, which may be lost later."""
        shell, other = (self.shells[place % len(self.shells)] for place in (who, who + away))
        before = len(self.world.flying)
        shell.handle(lambda: shell.core.propose(other.name, self.world.now))
        if len(self.world.flying) > before:
            self.world.converse(num_messages)

    @rule(who=st.integers(0, 3), by=st.integers(-5, 5))
    def train(self, who: int, by: int) -> None:
        shell = self.shells[who % len(self.shells)]
        shell.value += by
        shell.save()
        self.total += by

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

    @rule(who=st.integers(0, 3), place=st.integers(0, 3))
    def lose_an_accept_knowingly(self, who: int, place: int) -> None:
        shell = self.shells[who % len(self.shells)]
        prepared = shell.core.journal().prepared
        if prepared:
            one = prepared[place % len(prepared)]
            shell.handle(lambda: shell.core.accept_failed(ExchangeId(one.initiator, one.nonce), self.world.now))

    @invariant()
    def no_honest_peer_is_called_a_liar(self) -> None:
        for shell in self.shells:
            assert not shell.misbehaved

    @invariant()
    def each_end_applies_once_and_never_what_the_other_dropped(self) -> None:
        for shell in self.shells:
            assert len(set(shell.applied)) == len(shell.applied)
            for other in self.shells:
                assert not set(shell.applied) & other.aborted

    @invariant()
    def the_initiator_applies_first(self) -> None:
        by_name = {shell.name: shell for shell in self.shells}
        for shell in self.shells:
            for key in shell.applied:
                assert key in by_name[key.initiator].applied

    @invariant()
    def the_sum_is_kept_with_what_one_end_only_has_applied(self) -> None:
        by_name = {shell.name: shell for shell in self.shells}
        pending = Fraction(0)
        for shell in self.shells:
            for one in shell.core.journal().prepared:
                if ExchangeId(one.initiator, one.nonce) in by_name[one.initiator].applied:
                    pending += delta(one.own, one.theirs)
        assert sum(shell.value for shell in self.shells) + pending == self.total

    @invariant()
    def memory_is_bounded(self) -> None:
        for shell in self.shells:
            journal = shell.core.journal()
            assert len(journal.unconfirmed) <= shell.config.max_unconfirmed
            assert len(shell.core._answers) <= shell.config.max_doubts
            assert len(shell.core._answers) - shell.core.num_doubts <= shell.config.max_answers

    def teardown(self) -> None:
        """Once messages flow, all doubts end, and the sum is what it was."""
        if not hasattr(self, "world"):
            return
        self.world.calm()
        for shell in self.shells:
            journal = shell.core.journal()
            assert not journal.prepared
            assert not journal.unconfirmed
            assert shell.core.get_timer() is None
        assert sum(shell.value for shell in self.shells) == self.total
        committed = [shell.applied for shell in self.shells]
        assert sorted(key for keys in committed for key in set(keys)) == sorted(
            2 * sorted({key for keys in committed for key in keys})
        )


HostilePairs.TestCase.settings = settings(max_examples=70, stateful_step_count=50, deadline=None, derandomize=True)
TestHostilePairs = HostilePairs.TestCase
