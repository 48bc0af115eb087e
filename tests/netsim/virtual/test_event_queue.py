"""Virtual time: order, and what is planned for the past."""

from hypothesis import given
from hypothesis import strategies as st

from netsim.virtual.event_queue import EventQueue


def test_events_happen_in_the_order_of_their_times_and_of_their_planning():
    queue, seen = EventQueue(), []
    for name, time in (("c", 2.0), ("a", 1.0), ("d", 2.0), ("b", 1.0)):
        queue.at(time, seen.append, name)
    queue.run()
    assert seen == ["a", "b", "c", "d"]
    assert (queue.now, queue.num_played) == (2.0, 4)


@given(st.lists(st.floats(0, 100), max_size=30))
def test_time_never_goes_back(times):
    queue, seen = EventQueue(), []

    def note(delay):
        seen.append(queue.now)
        if len(seen) < 100:
            queue.at(queue.now - delay, note, delay / 2)  # in the past: counts as now

    for time in times:
        queue.at(time, note, time)
    queue.run()
    assert seen == sorted(seen)


def test_run_ends_at_a_time_and_goes_on_from_there():
    queue, seen = EventQueue(), []
    queue.at(1.0, seen.append, "early")
    queue.at(5.0, seen.append, "late")
    queue.run(until=3.0)
    assert (seen, queue.now, len(queue)) == (["early"], 3.0, 1)
    queue.run()
    assert seen == ["early", "late"]


def test_stop_ends_after_the_event_that_is_being_played():
    queue, seen = EventQueue(), []
    queue.at(1.0, queue.stop)
    queue.at(1.0, seen.append, "never")
    queue.run()
    assert seen == []
    assert queue.is_stopped
