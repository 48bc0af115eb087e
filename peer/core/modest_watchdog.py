"""When a peer that hears of no progress starts the next round by itself. No I/O.

Progress is that the round estimate rises. After a silence of T_w·(1 + u/2) the peer wakes; u in [0, 1) is its place
in the order of the next round, so that the would-be aggregator wakes first and the others find its round under way.

The first silence: who holds the model of the last round known of, or of the one before, starts the round after its
own model. (The newest round known of may be one that was gathered and never completed.) Each further silence doubles
the distance from which a model will do, and the round to start is then the one after all that are known of, lest the
sample has started it before: in the end any survivor can go on with any model.

Source: ours; the paper's protocol ends when a round is lost.
"""

from __future__ import annotations

from collections.abc import Callable

_JITTER = 0.5  # of T_w
_MAX_DOUBLINGS = 52  # a distance of more rounds than there can be


class Watchdog:
    """The silence of one peer. `period_s` is T_w, 0 for no watchdog; `place(round)` is u, a pure function.

    It rests for good when the estimate is beyond `total_rounds` (0: there is no last round).
    """

    def __init__(self, period_s: float, *, total_rounds: int, place: Callable[[int], float]) -> None:
        self.timer: float | None = None
        self._period_s = period_s
        self._total_rounds = total_rounds
        self._place = place
        self._known_round = 0
        self._silences = 0

    def arm(self, now: float) -> None:
        """Listen for a whole period from now on."""
        is_over = 0 < self._total_rounds < self._known_round
        self.timer = None
        if self._period_s and not is_over:
            self.timer = now + self._period_s * (1 + _JITTER * self._place(self._known_round + 1))

    def rest(self) -> None:
        """Listen no more."""
        self.timer = None

    def note(self, estimate: int, now: float) -> bool:
        """Take the round estimate down; return whether it has risen, which starts a new period."""
        if estimate <= self._known_round:
            return False
        self._known_round, self._silences = estimate, 0
        self.arm(now)
        return True

    def wake(self, newest_round: int, now: float) -> int | None:
        """A period was silent: return the round to start with the model of `newest_round`, if it is for this peer."""
        distance = 2 ** min(self._silences, _MAX_DOUBLINGS)
        next_round = (self._known_round if self._silences else newest_round) + 1
        self._silences += 1
        self.arm(now)
        return next_round if newest_round >= self._known_round - distance else None
