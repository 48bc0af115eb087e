"""Peers lose their data, and nothing else."""

from __future__ import annotations

import msgspec

from netsim.happenings.base import Event, Stage, Who, counted, target


class DataLoss(Event):
    """Peers lose their training sets: from then on they mix and pass models on, as relays.

        H_i ← 0   for i in who

    Tells the loss of data from that of connectivity: the links stay.
    Source: [Palmieri et al. 2023, Exploring the Impact of Disrupted Peer-to-Peer Communications on Fully Decentralized
    Learning in Disaster Scenarios].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Whose data."""

        who: Who

    def __init__(self, config: Config) -> None:
        self._config = config
        self._who = target(config.who)

    def happen(self, stage: Stage, number: int) -> None:
        """Take the data away."""
        peers = stage.choose(self._who, number)
        stage.note("data-loss", f"{counted(peers)} lose their data", peers)
        stage.forget_data(peers)
