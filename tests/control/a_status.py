"""A status document to test with."""

from __future__ import annotations

from typing import Any

import msgspec

from peer.control.status import NeighbourRow, SavedStatus, Status, TrainerStatus

PEER = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"


def a_status(**changes: Any) -> Status:
    """Return a status in the middle of a round, with `changes`."""
    status = Status(
        peer=PEER,
        swarm="digits",
        swarm_id="ab" * 32,
        agent="murmuration/0.1.0",
        pid=4711,
        uptime_s=75.2,
        state="gathering",
        round=7,
        total_rounds=30,
        accuracy_local=0.913,
        accuracy_mixed=0.942,
        loss=0.1234,
        disagreement=0.05,
        num_neighbours_linked=1,
        num_neighbours=2,
        num_links=3,
        num_members=8,
        neighbours=(
            NeighbourRow(peer="12D3KooWneighbourA", linked=True, round=7, lag_rounds=0, age_s=0.4, mixed_last=True),
            NeighbourRow(peer="12D3KooWneighbourB", linked=False),
        ),
        bytes_in=1_234_567,
        bytes_out=999,
        mixed_age_mean_s=0.8,
        mixed_age_max_s=1.5,
        trainer=TrainerStatus(state="busy", pid=4712, device="cpu", restarts=2, resident_bytes=300_000_000),
        saved=SavedStatus(round=6, age_s=3.0),
        events={"models_admitted": 12},
        faults={"wrong_hash": 2, "made_up_by_a_later_version": 3},
        addresses=("/ip4/127.0.0.1/tcp/4001/p2p/x",),
    )
    return msgspec.structs.replace(status, **changes)
