"""Peers come and go at random, all by the same law."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import msgspec

from netsim.churn.base import AnyPopulation, Session
from netsim.churn.durations import AbsenceTable, SessionTable, Start, durations
from netsim.churn.residual import Residual
from netsim.distributions import draw, uniform_of
from topology.errors import BadParameterError


class Renewal(AnyPopulation):
    """Sessions and absences take turns, independent, each of its own law.

        there, away, there, …  of lengths S₀, A₁, S₁, A₂, …;   share of time there → E S / (E S + E A)

    An alternating renewal process, which forgets all at each turn. Settled, it is stationary: a peer is there at 0 s
    with the probability above, and what is left of that session or absence has the density P(X > x) / E X. That needs
    finite means. Cost of a session: two hashes.
    Source: [Yao, Leonard, Wang & Loguinov 2006, Modeling Heterogeneous User Churn and Local Resilience of Unstructured
    P2P Networks]; the share of time by the renewal reward theorem [Ross 1996, Stochastic Processes, §3.6].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How long peers stay and stay away."""

        session: SessionTable
        absence: AbsenceTable
        start: Start = "present"

        def __post_init__(self) -> None:
            durations(self.session, "session")
            durations(self.absence, "absence")

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session = durations(config.session, "session")
        self._absence = durations(config.absence, "absence")
        self._left: dict[bool, Residual] = {}
        if config.start == "settled":
            for knob, law in (("session", self._session), ("absence", self._absence)):
                if not isfinite(law.mean):
                    raise BadParameterError(f"{knob}: a settled start needs a finite mean; give start = 'present'")
            self._left = {True: Residual(self._session), False: Residual(self._absence)}

    @property
    def availability(self) -> float:
        """The share of time for which a peer is there in the long run. Of two infinite means: nan."""
        session_s, absence_s = self._session.mean, self._absence.mean
        return (
            session_s / (session_s + absence_s) if isfinite(session_s) else 1.0 if isfinite(absence_s) else float("nan")
        )

    def presence(self, peer: str, index: int, *, seed: int, until_s: float) -> Iterator[Session]:  # noqa: ARG002
        """Yield the sessions of a peer; its name counts, not its number."""
        start_s, session_s = self._first(peer, seed)
        turn = 0
        while start_s < until_s:
            if session_s > 0:
                yield start_s, start_s + session_s
            turn += 1
            start_s += session_s + draw(self._absence, seed, "absence", peer, turn)
            session_s = draw(self._session, seed, "session", peer, turn)

    def _first(self, peer: str, seed: int) -> Session:
        """Return when the first session begins, and how long it is."""
        session_s = draw(self._session, seed, "session", peer, 0)
        if not self._left:
            return 0.0, session_s
        is_there = uniform_of(seed, "there", peer) < self.availability
        left_s = self._left[is_there].draw(seed, "left", peer)
        return (0.0, left_s) if is_there else (left_s, session_s)
