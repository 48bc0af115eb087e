"""What `murmuration status` shows: one document, made by the daemon, read by people, scripts and the demo.

Fields may be added; `schema` grows when one changes its meaning or goes away. Everything is bounded: a row per
neighbour, and nothing in it that a remote can make long.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = 1

State = Literal["starting", "training", "gathering", "mixing", "waiting", "done", "relay", "stopping"]
"""What the daemon is at.

    starting   the network or the trainer is not up yet
    training   local steps run
    gathering  waits for the models of the neighbours: quorum or deadline
    mixing     the inbox is mixed in
    waiting    cannot go on by itself (`waiting_for` says why): members missing, trainer in backoff, disk full
    done       all rounds of the swarm file are done; goes on serving
    relay      has no trainer (`train.enabled = false`)
    stopping   saves and closes
"""


class NeighbourRow(msgspec.Struct, frozen=True, kw_only=True):
    """One neighbour in the swarm's graph."""

    peer: str  # whole peer id
    linked: bool
    round: int | None = None  # of the newest model received from it
    lag_rounds: int | None = None  # own round minus that
    age_s: float | None = None  # since that model was received
    mixed_last: bool = False  # took part in the last mixing


class TrainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The trainer process."""

    state: Literal["off", "starting", "ready", "busy", "backoff", "stopped"] = "off"
    pid: int | None = None
    device: str = ""
    restarts: int = 0
    last_error: str = ""
    resident_bytes: int | None = None


class SavedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The newest checkpoint that is on disk."""

    round: int | None = None
    age_s: float | None = None
    error: str = ""  # why the last try failed; empty after a success


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `None` means not known (yet). Accuracy is 0..1, ages and durations are seconds."""

    schema: int = SCHEMA
    peer: str
    swarm: str  # name
    swarm_id: str  # hex
    agent: str
    pid: int
    uptime_s: float
    state: State
    waiting_for: str = ""
    round: int = 0
    total_rounds: int = 0  # 0: for ever
    accuracy_local: float | None = None  # after the own steps, before mixing
    accuracy_mixed: float | None = None
    loss: float | None = None
    disagreement: float | None = None  # mean of ||v_j - x|| / ||x|| over what was mixed last
    num_neighbours_linked: int = 0
    num_neighbours: int = 0
    num_links: int = 0
    num_members: int = 0
    neighbours: tuple[NeighbourRow, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    mixed_age_mean_s: float | None = None  # age of the models that were mixed last
    mixed_age_max_s: float | None = None
    trainer: TrainerStatus = TrainerStatus()
    saved: SavedStatus = SavedStatus()
    events: dict[str, int] = {}  # what happened so far, by the names of `peer.control.metrics.EVENTS`
    faults: dict[str, int] = {}  # broken rules by kind, whoever broke them
    addresses: tuple[str, ...] = ()
    http: str = ""  # where the loopback HTTP listens, "" when it is off


def short(peer: str) -> str:
    """Return the end of a peer id: enough to tell the members of a swarm apart (the beginning is the same for all)."""
    return peer[-8:]
