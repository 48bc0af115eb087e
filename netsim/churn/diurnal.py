"""Peers come with the time of day."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Annotated

import msgspec

from netsim.churn.base import AnyPopulation, Session
from netsim.churn.daily_cycle import DailyCycle
from netsim.churn.durations import AbsenceTable, SessionTable, Start, durations
from netsim.distributions import draw, uniform_of
from topology.errors import BadParameterError

_SETTLING_CYCLES = 10
"""Mean sessions and absences for which a settled process has gone on before 0 s; there is no precedent for it."""


class Diurnal(AnyPopulation):
    """Sessions and absences take turns, and absences end by a clock that runs fast at the peak of the day.

        λ(t) = 1 + amplitude · sin(2π (t / period_s − peak + ¼));   away since t: back at t' with ∫ λ over (t, t') = A

    A the absence as drawn. With an exponential one, who is away comes at the intensity λ(t) / E A, as in a Poisson
    process. The mean of λ over a period is 1, so absences of many periods keep their length. Settled: it has gone on
    for ten to eleven mean sessions and absences before 0 s, after which how it began is forgotten unless tails are
    heavy.
    Cost of a session: two hashes and five steps of Newton's method.
    Source: [Lewis & Shedler 1979, Simulation of nonhomogeneous Poisson processes by thinning] for the intensity, by
    inversion here; daily cycles of peers as in [Bhagwan, Savage & Voelker 2003, Understanding Availability].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How long peers stay and stay away, and how much the time of day matters."""

        session: SessionTable
        absence: AbsenceTable
        amplitude: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=1,
                description="How much the intensity of coming rises above and falls below its mean, as a share of it."
                " 0: the time of day makes no difference; 1: nobody comes at the lowest point.",
            ),
        ] = 0.8
        period_s: Annotated[
            float, msgspec.Meta(ge=1, le=1e9, description="Length of the cycle in seconds: a day has 86400.")
        ] = 86400.0
        peak: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=1,
                description="When in the cycle most come, as a share of the period; the run begins at 0, so 0.25 is six"
                " hours after its beginning.",
            ),
        ] = 0.25
        spread: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=1,
                description="Share of the period over which the peaks of the peers are spread evenly around `peak`, as"
                " over time zones. 0: all have one day; 1: the swarm as a whole has none.",
            ),
        ] = 0.0
        start: Start = "present"

        def __post_init__(self) -> None:
            durations(self.session, "session")
            durations(self.absence, "absence")

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session = durations(config.session, "session")
        self._absence = durations(config.absence, "absence")
        self._cycle_s = self._session.mean + self._absence.mean
        if config.start == "settled" and not isfinite(self._cycle_s):
            raise BadParameterError(
                "a settled start needs sessions and absences of finite means; give start = 'present'"
            )

    def presence(self, peer: str, index: int, *, seed: int, until_s: float) -> Iterator[Session]:  # noqa: ARG002
        """Yield the sessions of a peer; its name counts, not its number."""
        day = self._day(peer, seed)
        start_s = self._origin_s(peer, seed)
        turn = 0
        while (begin_s := max(start_s, 0.0)) < until_s:
            end_s = start_s + draw(self._session, seed, "session", peer, turn)
            if end_s > begin_s:
                yield begin_s, end_s
            turn += 1
            start_s = end_s + day.wait_s(end_s, draw(self._absence, seed, "absence", peer, turn))

    def _day(self, peer: str, seed: int) -> DailyCycle:
        config = self.config
        shift = config.spread * (uniform_of(seed, "zone", peer) - 0.5) if config.spread else 0.0
        return DailyCycle(config.amplitude, config.period_s, config.peak + shift)

    def _origin_s(self, peer: str, seed: int) -> float:
        """Return when the first session begins: before 0 s when settled, at moments that are not the same for all."""
        if self.config.start == "present":
            return 0.0
        return -self._cycle_s * (_SETTLING_CYCLES + uniform_of(seed, "origin", peer))
