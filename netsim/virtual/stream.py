"""A generator of 64 bits of state: one for each peer and purpose, ten thousand of them in a megabyte.

Python's Mersenne twister has 2.5 kB of state. This is SplitMix64 [Steele, Lea & Flood 2014, Fast Splittable
Pseudorandom Number Generators]: passes BigCrush, and its state is a counter.
"""

from __future__ import annotations

from topology.families.positions import position

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Stream:
    """Uniform numbers for one purpose of one peer; `peer.core.backoff.Uniform`, and a little more."""

    __slots__ = ("_state",)

    def __init__(self, *names: int | str) -> None:
        self._state = position(*names)

    def bits(self) -> int:
        """Return the next 64 bits."""
        self._state = state = (self._state + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def random(self) -> float:
        """Return a number in (0, 1)."""
        return ((self.bits() >> 12) + 0.5) * 2.0**-52

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number in [a, b]."""
        return a + (b - a) * self.random()

    def below(self, n: int) -> int:
        """Return a whole number in 0 .. n − 1; biased by less than n / 2⁶⁴."""
        return (self.bits() * n) >> 64
