"""A stage that plays nothing: it writes down which verb was called when, and with whom."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netsim.happenings import Stage
from topology.registry import Piece


class RecordingStage:
    """Ten peers, of which 0 .. 5 are there. A target hits the first ones of its candidates: `share` or `count`."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str, Any]] = []
        self.asked: list[tuple[Piece, int]] = []
        self.notes: list[tuple[float, str, str, tuple[int, ...]]] = []
        self.now = 0.0
        self._later: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def play(self, piece: Any, number: int = 3) -> list[tuple[float, str, Any]]:
        """Let an event happen at 100 s, and return the calls with their times since then."""
        stage: Stage = self
        piece.absent_before(stage, number)
        self.now = 100.0
        piece.happen(stage, number)
        while self._later:
            self.now, _, verb, args = heapq.heappop(self._later)
            verb(*args)
        return [(round(at_s - 100.0, 9), verb, what) for at_s, verb, what in self.calls]

    def everybody(self) -> list[int]:
        return list(range(10))

    def there(self) -> list[int]:
        return list(range(6))

    def come(self, peers: Iterable[int]) -> None:
        self._note("come", list(peers))

    def crash(self, peers: Iterable[int]) -> None:
        self._note("crash", list(peers))

    def leave(self, peers: Iterable[int]) -> None:
        self._note("leave", list(peers))

    def partition(self, groups: Sequence[Iterable[int]]) -> None:
        self._note("partition", [list(group) for group in groups])

    def heal(self) -> None:
        self._note("heal", None)

    def slow(self, peers: Iterable[int], factor: float) -> None:
        self._note("slow", (list(peers), factor))

    def throttle(self, peers: Iterable[int], factor: float) -> None:
        self._note("throttle", (list(peers), factor))

    def lose(self, share: float) -> None:
        self._note("lose", share)

    def forget_data(self, peers: Iterable[int]) -> None:
        self._note("forget_data", list(peers))

    def choose(self, who: Piece, number: int, *, among: Sequence[int] | None = None) -> tuple[int, ...]:
        self.asked.append((who, number))
        candidates = self.there() if among is None else list(among)
        count = who.params.get("count", round(who.params.get("share", 0.5) * len(candidates)))
        return tuple(candidates[-count:])

    def after(self, delay_s: float, verb: Callable[..., None], *args: object) -> None:
        heapq.heappush(self._later, (self.now + delay_s, len(self._later), verb, args))

    def note(self, name: str, text: str, peers: Sequence[int] = ()) -> None:
        self.notes.append((self.now, name, text, tuple(peers)))

    def split(self, how: str, shares: Sequence[float], number: int) -> list[tuple[int, ...]]:
        self.asked.append((Piece(how, {"shares": list(shares)}), number))
        return [(0, 1), (2, 3, 4, 5)]

    def _note(self, verb: str, what: Any) -> None:
        self.calls.append((self.now, verb, what))
