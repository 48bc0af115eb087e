"""Waiting under a chance that rises and falls with the time of day.

The intensity is λ(t) = 1 + a · sin(2π (t / P − x)), whose mean over a period P is 1, and what waits for A units of
Λ(t) = ∫₀ᵗ λ, instead of A seconds, is done at the t with Λ(t) = Λ(now) + A. For exponential A this is the Poisson
process of intensity λ(t) / E A [Devroye 1986, Non-Uniform Random Variate Generation, §VI.1.3]; for other A, age counts
by the clock Λ.
"""

from __future__ import annotations

from math import cos, pi, sin

_ITERATIONS = 200  # Newton needs 5, bisection 60; a bound for what comes from outside
_PRECISION = 1e-13


class DailyCycle:
    """The clock Λ of amplitude a in [0, 1] and period P seconds; λ is highest at the share `peak` of the period."""

    def __init__(self, amplitude: float, period_s: float, peak: float) -> None:
        self.amplitude = amplitude
        self.period_s = period_s
        self._shift = peak - 0.25

    def intensity(self, time_s: float) -> float:
        """Return λ(t), from 1 − a to 1 + a."""
        return 1 + self.amplitude * sin(2 * pi * (time_s / self.period_s - self._shift))

    def wait_s(self, now_s: float, amount: float) -> float:
        """Return the seconds from now until Λ has grown by `amount`, ≥ 0."""
        periods, rest = divmod(amount / self.period_s, 1.0)
        begin = now_s / self.period_s - self._shift
        return self.period_s * (periods + self._part(begin % 1.0, rest))

    def _part(self, begin: float, rest: float) -> float:
        """Solve x + a/2π · (cos 2π·begin − cos 2π(begin + x)) = rest for x, all in periods; 0 ≤ rest < 1."""
        depth = self.amplitude / (2 * pi)
        offset = depth * cos(2 * pi * begin) - rest
        low, high, x = 0.0, 1.0, rest
        for _ in range(_ITERATIONS):
            excess = x - depth * cos(2 * pi * (begin + x)) + offset
            if excess > 0:
                high = x
            else:
                low = x
            slope = 1 + self.amplitude * sin(2 * pi * (begin + x))
            newton = x - excess / slope if slope > 0 else -1.0
            following = newton if low < newton < high else (low + high) / 2  # where λ is 0, Newton leaves the bracket
            if abs(following - x) < _PRECISION:
                return following
            x = following
        return x
