"""Timers of many things at once: the earliest one is at hand, setting and stopping cost little.

A binary heap from which nothing is taken out early. Whoever is timed says for when, in its `timer`: a place in the heap
that says another time is stale and is passed over when it comes to the top, and the heap is rid of all such places when
they are more than those in use. To stop a timer is `timer = None`, no call.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

ROOM = 16  # places, stale ones among them, that are never worth a cleaning


class Timed(Protocol):
    """What has a timer: seconds of the caller's clock, or None when nothing is to be done. Hashed by identity."""

    timer: float | None


T = TypeVar("T", bound=Timed)
Place = tuple[float, int, T]  # when, how many were set before, who
Heap = list[Place[T]]


class Timers(Generic[T]):
    """Who is due first. The order of what is due at one time follows from the calls, and from nothing else."""

    __slots__ = ("_num_set", "_room", "heap")

    def __init__(self) -> None:
        self.heap: Heap[T] = []  # stale places are on top at times: look at `timer`, too
        self._num_set = 0
        self._room = ROOM

    def set(self, what: T, when: float) -> None:
        """Have `what` due at `when`, and not when it was due before."""
        what.timer = when
        self._num_set += 1
        heap = self.heap
        heappush(heap, (when, self._num_set, what))
        if len(heap) > self._room:
            self._clean()

    def due(self, now: float) -> list[T]:
        """Return what is due by `now`, the earliest first, and stop its timer."""
        heap = self.heap
        ready: list[T] = []
        while heap and heap[0][0] <= now:
            when, _, what = heappop(heap)
            if what.timer == when:
                what.timer = None
                ready.append(what)
        return ready

    def _clean(self) -> None:
        """Leave out what is stale; half of the room is free afterwards, so that this costs O(1) per timer set."""
        valid = {what: (when, place, what) for when, place, what in self.heap if what.timer == when}
        self.heap[:] = valid.values()  # in place: others hold on to the list
        heapify(self.heap)
        self._room = max(ROOM, 2 * len(self.heap))
