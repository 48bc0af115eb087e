"""Where members are who move: the random waypoint model, as a function of time.

A member goes straight to a random point of the unit square at a random speed, rests there, and goes on. Its whole way
follows from hashes of (seed, name, leg), so that its place at any time is known without having stepped there, and
whoever asks, in whatever order, is told the same. It starts where `placed.scatter` puts it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated

import msgspec

from topology.families.placed import Place, fraction, scatter
from topology.families.positions import words
from topology.graph import Node


class Leg(msgspec.Struct, frozen=True):
    """One straight way at one speed, and the rest at its end."""

    start: Place
    end: Place
    leaves_s: float
    arrives_s: float
    ends_s: float
    """When the rest is over."""


class RandomWaypoint:
    """Straight ways between random points, each at a speed of its own, and a rest after each.

        x(t) = p_k + (p_{k+1} − p_k) · min(1, (t − t_k) / τ_k)   for t_k ≤ t < t_{k+1} = t_k + τ_k + pause,
        τ_k = ‖p_{k+1} − p_k‖ / v_k

    p uniform in the unit square, v uniform between the slowest and the fastest speed, both by hash(seed, name, k). The
    slowest is above 0: with speeds down to 0 ever more members are caught on endless ways, and the mean speed falls to
    nothing [Yoon, Liu & Noble 2003, Random Waypoint Considered Harmful]. Members are in the middle of the map more
    often than at its border, and reach that state after some ways: at first they are uniform. A way is 0.52 long in
    the mean. The first question about time t costs O(t / way) for each member, later ones a search; legs are kept.
    Source: [Johnson & Maltz 1996, Dynamic Source Routing in Ad Hoc Wireless Networks].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How members move."""

        slowest_per_s: Annotated[
            float, msgspec.Meta(gt=0, description="Least speed, in sides of the map per second, above 0.")
        ]
        fastest_per_s: Annotated[
            float, msgspec.Meta(gt=0, description="Greatest speed, in sides of the map per second.")
        ]
        pause_s: Annotated[float, msgspec.Meta(ge=0, description="Rest after each way, in seconds.")] = 0.0

        def __post_init__(self) -> None:
            if self.slowest_per_s > self.fastest_per_s:
                raise ValueError("slowest_per_s must not be above fastest_per_s")

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self._seed = seed
        self._legs: dict[int | str, list[Leg]] = {}
        self._ends_s: dict[int | str, list[float]] = {}

    def position(self, name: int | str, time_s: float) -> Place:
        """Return where `name` is at `time_s` >= 0, in [0,1)²."""
        leg = self.leg(name, time_s)
        if time_s >= leg.arrives_s:
            return leg.end
        share = (time_s - leg.leaves_s) / (leg.arrives_s - leg.leaves_s)
        return tuple(a + (b - a) * share for a, b in zip(leg.start, leg.end, strict=True))  # type: ignore[return-value]

    def positions(self, members: Iterable[Node], time_s: float) -> dict[Node, Place]:
        """Return where each of `members` is at `time_s`: what `Geometric.build_at` takes."""
        return {name: self.position(name, time_s) for name in sorted(set(members))}

    def leg(self, name: int | str, time_s: float) -> Leg:
        """Return the way that `name` is on at `time_s`, or at whose end it rests."""
        if not 0 <= time_s < math.inf:
            raise ValueError(f"time must be finite and not negative, got {time_s}")
        legs, ends_s = self._legs.setdefault(name, []), self._ends_s.setdefault(name, [])
        while not ends_s or ends_s[-1] <= time_s:
            legs.append(self._next(name, legs))
            ends_s.append(legs[-1].ends_s)
        return legs[bisect_right(ends_s, time_s)]

    def _next(self, name: int | str, legs: list[Leg]) -> Leg:
        start, leaves_s = (legs[-1].end, legs[-1].ends_s) if legs else (scatter([name], self._seed)[name], 0.0)
        numbers = words(self._seed, "waypoint", name, len(legs))
        x, y, chance = (fraction(next(numbers)) for _ in range(3))
        speed = self.config.slowest_per_s + (self.config.fastest_per_s - self.config.slowest_per_s) * chance
        length = math.sqrt((x - start[0]) * (x - start[0]) + (y - start[1]) * (y - start[1]))
        arrives_s = leaves_s + length / speed
        return Leg(start, (x, y), leaves_s, arrives_s, arrives_s + self.config.pause_s)
