"""find(k, c): the first c live candidates of an ordered list, by pings. No I/O.

    WAITING ──PONG──▶ LIVE ──LOST──▶ DEAD          WAITING ──EXPIRE──▶ DEAD

At any time as many candidates as are needed, and `hedge` more, are LIVE or WAITING; for each that turns out DEAD the
next one is pinged, and when hedging one more: where most are dead, the number under way about doubles with every
timeout, up to `MAX_UNDER_WAY`, instead of the dead being passed one handful at a time. A candidate is pinged again
after `reping_s` and given up after `timeout_s`. This peer itself is live without a ping. Candidates that others doubt
are pinged on top of these numbers, and given up after two `reping_s` if that is sooner: false hearsay harms only those
who cannot answer two pings by then.

*The result keeps the order*: it is the first c LIVE ones once every earlier candidate is resolved, not the first c to
answer. If the quickest won, two peers with the same view would choose different aggregators, and none of those would
gather enough models.

A candidate that was chosen can be lost afterwards (the transfer to it failed, it left): the search then goes on from
where it stood, and the next result contains its replacement.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from peer.core.messages import PeerId

MAX_UNDER_WAY = 64  # pings of one search, unless it needs more than that


class ProbeState(enum.Enum):
    """What is known of a candidate."""

    WAITING = enum.auto()
    LIVE = enum.auto()
    DEAD = enum.auto()


class ProbeInput(enum.Enum):
    """What can happen to a candidate."""

    PONG = enum.auto()
    EXPIRE = enum.auto()
    LOST = enum.auto()


_S, _I = ProbeState, ProbeInput

TRANSITIONS: dict[tuple[ProbeState, ProbeInput], ProbeState] = {
    (_S.WAITING, _I.PONG): _S.LIVE,
    (_S.WAITING, _I.EXPIRE): _S.DEAD,
    (_S.WAITING, _I.LOST): _S.DEAD,
    (_S.LIVE, _I.PONG): _S.LIVE,
    (_S.LIVE, _I.LOST): _S.DEAD,
    (_S.DEAD, _I.PONG): _S.DEAD,  # too late: its place is given away
    (_S.DEAD, _I.LOST): _S.DEAD,
}


@dataclass(slots=True)
class _Probe:
    state: ProbeState
    reping_at: float | None
    expires_at: float


@dataclass(frozen=True)
class ScanPace:
    """How eagerly candidates are pinged; see `ModestConfig`."""

    hedge: int
    reping_s: float
    timeout_s: float


class Scan:
    """One search for `wanted` live peers among `candidates`, in their order; `nonce` marks its pings."""

    def __init__(
        self,
        wanted: int,
        candidates: Sequence[PeerId],
        *,
        own_id: PeerId,
        nonce: int,
        pace: ScanPace,
        doubted: Collection[PeerId] = (),
    ) -> None:
        self.wanted = wanted
        self.nonce = nonce
        self._candidates = candidates
        self._own_id = own_id
        self._pace = pace
        self._doubted = doubted
        self._probes: dict[PeerId, _Probe] = {}  # of the first candidates, in their order

    def advance(self, now: float) -> list[PeerId]:
        """Open as many probes as there is room for; return whom to ping."""
        to_ping = []
        num_waiting = self.num_waiting()
        room = self._room()
        while room > 0 and len(self._probes) < len(self._candidates) and self.result() is None:
            peer = self._candidates[len(self._probes)]
            if peer == self._own_id:
                self._probes[peer] = _Probe(ProbeState.LIVE, None, now)
                room -= 1
                continue
            if num_waiting >= max(MAX_UNDER_WAY, self.wanted + self._pace.hedge):
                break
            is_doubted = peer in self._doubted
            patience_s = min(self._pace.timeout_s, 2 * self._pace.reping_s if is_doubted else self._pace.timeout_s)
            self._probes[peer] = _Probe(ProbeState.WAITING, now + self._pace.reping_s, now + patience_s)
            to_ping.append(peer)
            num_waiting += 1
            room -= not is_doubted
        return to_ping

    def _room(self) -> int:
        """Return how many more candidates should be LIVE or WAITING, the doubted not counted until they are LIVE."""
        of_state = Counter(probe.state for peer, probe in self._probes.items() if self._counts(peer, probe))
        extra = of_state[ProbeState.DEAD] if self._pace.hedge else 0
        return self.wanted + self._pace.hedge + extra - of_state[ProbeState.LIVE] - of_state[ProbeState.WAITING]

    def _counts(self, peer: PeerId, probe: _Probe) -> bool:
        return probe.state is ProbeState.LIVE or peer not in self._doubted

    def pong(self, peer: PeerId) -> None:
        """`peer` answered; strangers are ignored."""
        self._apply(peer, ProbeInput.PONG)

    def lost(self, peer: PeerId) -> None:
        """`peer` cannot be had after all."""
        self._apply(peer, ProbeInput.LOST)

    def expire(self, now: float) -> tuple[list[PeerId], list[PeerId]]:
        """Do what is due; return whom to ping again (nobody once the result is there), and who is dead by now."""
        to_ping, dead = [], []
        is_open = self.result() is None
        for peer, probe in self._probes.items():
            if probe.state is not ProbeState.WAITING:
                continue
            if probe.expires_at <= now:
                self._apply(peer, ProbeInput.EXPIRE)
                dead.append(peer)
            elif probe.reping_at is not None and probe.reping_at <= now:
                probe.reping_at = None
                to_ping += [peer] if is_open else []
        return to_ping, dead

    def result(self) -> tuple[PeerId, ...] | None:
        """Return the first live candidates; fewer than wanted when there are no more; None while that is open."""
        live: list[PeerId] = []
        for peer, probe in self._probes.items():
            if len(live) == self.wanted:
                break
            if probe.state is ProbeState.WAITING:
                return None
            if probe.state is ProbeState.LIVE:
                live.append(peer)
        if len(live) < self.wanted and len(self._probes) < len(self._candidates):
            return None
        return tuple(live)

    def next_timer(self) -> float | None:
        """When `expire` has something to do, if nothing else happens. Who is dead is worth knowing after the result."""
        waiting = [probe for probe in self._probes.values() if probe.state is ProbeState.WAITING]
        repings = [probe.reping_at for probe in waiting if probe.reping_at is not None]
        return min(repings + [probe.expires_at for probe in waiting], default=None)

    def num_waiting(self) -> int:
        """Pings under way."""
        return sum(probe.state is ProbeState.WAITING for probe in self._probes.values())

    def _apply(self, peer: PeerId, happened: ProbeInput) -> None:
        probe = self._probes.get(peer)
        if probe is not None:
            probe.state = TRANSITIONS[probe.state, happened]
