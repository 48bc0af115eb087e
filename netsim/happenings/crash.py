"""Peers vanish without a word."""

from __future__ import annotations

import msgspec

from netsim.happenings.base import Event, For, Over, Stage, Who, counted, one_by_one, target


class Crash(Event):
    """Peers vanish as by a power cut: neighbours notice when links stay silent, members when heartbeats stop.

        alive ← alive ∖ who,   and with `for_s`:  alive ← alive ∪ who  that much later

    What a peer has on disk stays: it comes back with the model of the beginning of its round.
    Source: crash-recovery failures as in [Cachin, Guerraoui & Rodrigues 2011, Reliable and Secure Distributed
    Programming, §2.2].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Whom it hits, how fast, and for how long."""

        who: Who
        over_s: Over = 0.0
        for_s: For = 0.0

    def __init__(self, config: Config) -> None:
        self._config = config
        self._who = target(config.who)

    def happen(self, stage: Stage, number: int) -> None:
        """Crash them, and start them again if that is meant."""
        peers = stage.choose(self._who, number)
        stage.note("crash", f"{counted(peers)} crash", peers)
        one_by_one(stage, stage.crash, peers, self._config.over_s)
        if self._config.for_s:
            stage.after(self._config.over_s + self._config.for_s, stage.come, peers)
