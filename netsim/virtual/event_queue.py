"""Virtual time: a heap of what happens when.

Things due at one instant happen in the order in which they were planned, so that a run is a function of its seed. Time
is seconds as a float; nothing waits, nothing sleeps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

Action = Callable[..., None]


class EventQueue:
    """`at` plans, `run` plays. `now` is the time of the event that is being played."""

    __slots__ = ("_heap", "_planned", "is_stopped", "now", "num_played")

    def __init__(self) -> None:
        self.now = 0.0
        self.num_played = 0
        self.is_stopped = False
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._planned = 0

    def at(self, time: float, action: Action, *args: Any) -> None:
        """Have `action(*args)` called at `time`, which is not before now (an earlier one counts as now)."""
        self._planned += 1
        heapq.heappush(self._heap, (time if time > self.now else self.now, self._planned, action, args))

    def after(self, delay_s: float, action: Action, *args: Any) -> None:
        """Have `action(*args)` called `delay_s` from now."""
        self.at(self.now + delay_s, action, *args)

    def run(self, until: float = float("inf")) -> None:
        """Play until nothing is left, `stop` is called, or the next event is later than `until`."""
        heap, pop = self._heap, heapq.heappop
        while heap and not self.is_stopped:
            if heap[0][0] > until:
                self.now = until
                return
            self.now, _, action, args = pop(heap)
            self.num_played += 1
            action(*args)

    def stop(self) -> None:
        """End `run` after the event that is being played."""
        self.is_stopped = True

    def __len__(self) -> int:
        return len(self._heap)
