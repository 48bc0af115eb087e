"""Timers against a slow twin that keeps a dictionary and sorts it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.core.timers import ROOM, Timers

NUM_THINGS = 12


class Thing:
    """Something with a timer."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.timer: float | None = None


times = st.integers(0, 40).map(float)
steps = st.one_of(
    st.tuples(st.just("set"), st.integers(0, NUM_THINGS - 1), times),
    st.tuples(st.just("stop"), st.integers(0, NUM_THINGS - 1), times),
    st.tuples(st.just("due"), st.just(0), times),
)


@given(st.lists(steps, max_size=300))
def test_same_things_are_due_at_the_same_times_as_in_a_sorted_dictionary(played: list[tuple[str, int, float]]) -> None:
    timers: Timers[Thing] = Timers()
    things = [Thing(name) for name in range(NUM_THINGS)]
    slow: dict[int, float] = {}
    for what, who, when in played:
        if what == "set":
            timers.set(things[who], when)
            slow[who] = when
        elif what == "stop":
            things[who].timer = None
            slow.pop(who, None)
        else:
            found = [thing.name for thing in timers.due(when)]
            assert sorted(found) == sorted(name for name, due in slow.items() if due <= when)
            assert [slow[name] for name in found] == sorted(slow[name] for name in found), "the earliest first"
            slow = {name: due for name, due in slow.items() if due > when}
        assert {thing.name: thing.timer for thing in things if thing.timer is not None} == slow


def test_timers_that_are_set_and_stopped_for_ever_take_no_more_room_than_what_is_in_use() -> None:
    timers: Timers[Thing] = Timers()
    things = [Thing(name) for name in range(NUM_THINGS)]
    timers.set(things[0], 0.0)  # stays the earliest, so that nothing behind it comes to the top
    for turn in range(10_000):
        thing = things[1 + turn % (NUM_THINGS - 1)]
        timers.set(thing, 30.0 + turn)
        assert len(timers.heap) <= 2 * max(ROOM, NUM_THINGS)
        if turn % 3:
            thing.timer = None


def test_thing_that_is_set_twice_to_one_time_is_due_once() -> None:
    timers: Timers[Thing] = Timers()
    thing = Thing(0)
    for _ in range(2):
        timers.set(thing, 1.0)
    assert timers.due(1.0) == [thing]
    assert timers.due(2.0) == []
