"""What the trainer's own code prints: cut into lines, bounded in length and in rate, the last ones kept.

A team's task may print a line per batch. The daemon reads everything (a full pipe would stop the trainer), passes on
what fits the rate, and counts the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_LINE_BYTES = 2000
LINES_PER_S = 20.0
BURST_LINES = 200.0
KEPT_LINES = 50


class Output:
    """Takes bytes, gives lines to `on_line`: at most `BURST_LINES` at once and `LINES_PER_S` over time.

    A line longer than `MAX_LINE_BYTES` is cut there; its rest is dropped. Time is passed in, in seconds. What the
    trainer reports by name goes to `notice(event, detail)`.
    """

    def __init__(self, on_line: Callable[[str], None], on_notice: Callable[[str, str], None]) -> None:
        self.notice = on_notice
        self.num_dropped = 0
        self.kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._on_line = on_line
        self._unfinished = bytearray()
        self._allowance = BURST_LINES
        self._last_at: float | None = None

    def feed(self, data: bytes, now: float) -> None:
        """Take the next bytes of the process."""
        self._refill(now)
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._extend(line)
            self._end_line()
        self._extend(rest)

    def finish(self) -> None:
        """Pass on a last line without an end."""
        if self._unfinished:
            self._end_line()

    def _refill(self, now: float) -> None:
        if self._last_at is not None:
            self._allowance = min(BURST_LINES, self._allowance + LINES_PER_S * (now - self._last_at))
        self._last_at = now

    def _extend(self, data: bytes) -> None:
        self._unfinished += data[: MAX_LINE_BYTES - len(self._unfinished)]

    def _end_line(self) -> None:
        line = self._unfinished.decode("utf-8", "replace").rstrip()
        self._unfinished.clear()
        if not line:
            return
        self.kept.append(line)
        if self._allowance < 1.0:
            self.num_dropped += 1
            return
        self._allowance -= 1.0
        self._on_line(line)
