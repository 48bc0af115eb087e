"""Run folders that nobody ran, with figures that are easy to calculate with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netsim.experiments.run_folder import Outcome, Run, RunRecord, TotalsRow, Versions


def row(at_s: float = 0.0, **figures: Any) -> TotalsRow:
    """Return a line of totals; `round` stands for least, median and most."""
    round = figures.pop("round", int(at_s))
    whole: dict[str, Any] = {
        "at_s": at_s,
        "round_min": round,
        "round_median": round,
        "round_max": round,
        "num_alive": 10,
        "num_components": 1,
        "largest_component": 10,
        "num_isolated": 0,
        "accuracy_mean": 0.5,
        "accuracy_min": 0.4,
        "accuracy_max": 0.6,
        "accuracy_std": 0.05,
        "accuracy_merged": 0.6,
        "consensus": 1.0,
        "loss_mean": 1.0,
        "bytes_sent": 1000,
        "messages_sent": 10,
        "transfers_broken": 0,
        "node_rounds": 10,
    }
    return TotalsRow(**{**whole, **figures})


def run(*rows: TotalsRow, reason: str = "rounds", edges: list[list[int]] | None = None, count: int = 0) -> Run:
    """Return a run of these totals."""
    from netsim.experiments.run_folder import PeerRecord

    record = RunRecord(
        name="made-up",
        scenario={},
        scenario_hash="0" * 64,
        seed=0,
        versions=Versions(murmuration="0", python="0", torch="0", numpy="0"),
        command="",
        outcome=Outcome(reason=reason, at_s=rows[-1].at_s, num_node_rounds=0, num_events=0),
        counters={},
        events=[],
        peers=[PeerRecord(id=f"peer-{i}", group="peers", samples=1) for i in range(count)],
        alive_after=list(range(count)),
        edges_before=edges or [],
        edges_after=edges or [],
    )
    return Run(folder=Path("made-up"), record=record, totals=list(rows), timing=None)
