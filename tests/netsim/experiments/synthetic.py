"""Runs that nobody ran: folders of results with the shape of a disaster study, of any size, seeded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt

from netsim.experiments.run_folder import (
    EventRecord,
    Outcome,
    PeerRecord,
    RunRecord,
    RunWriter,
    Timing,
    TotalsRow,
    Versions,
)

MODEL_BYTES = 19_240
TIMING = Timing(wall_s=12.5, events_per_s=180_000.0, peak_rss_bytes=400_000_000, machine="Linux-test")


def scenario(name: str = "hub-loss", **changes: Any) -> dict[str, Any]:
    table: dict[str, Any] = {
        "name": name,
        "about": "Peers on a scale-free graph lose their hubs.",
        "seeds": [1, 2, 3],
        "task": {"name": "digits-mlp", "params": {}},
        "peers": {"count": 100, "classes": []},
        "topology": {"family": {"name": "barabasi-albert", "params": {"m": 2}}, "upkeep": "static"},
        "links": {"loss": 0.0, "up_bytes_s": None},
        "timeline": [{"at_s": 20.0, "event": {"name": "hub-loss", "params": {"share": 0.1}}}],
    }
    for path, value in changes.items():
        table_of, _, key = path.rpartition("__")
        (table[table_of] if table_of else table)[key] = value
    return table


def write_synthetic(
    folder: Path,
    *,
    seed: int = 1,
    num_peers: int = 100,
    num_instants: int = 41,
    settings: Mapping[str, Any] | None = None,
    hash_: str = "5e" * 32,
    final: float = 0.93,
    share_lost: float = 0.1,
    groups: tuple[str, ...] = ("phones", "sensors"),
    share_byzantine: float = 0.0,
    has_positions: bool = False,
    every_s: float = 1.0,
) -> Path:
    """Write a run of a Barabási–Albert graph that loses its best connected peers at half time; return the folder."""
    rng = np.random.default_rng(seed)
    graph = networkx.barabasi_albert_graph(num_peers, 2, seed=seed)
    edges = np.array(sorted(sorted(edge) for edge in graph.edges))
    degree = np.bincount(edges.ravel(), minlength=num_peers)
    dead = np.argsort(-degree, kind="stable")[: int(share_lost * num_peers)]
    lost_at = num_instants // 2
    alive = np.ones(num_peers, dtype=bool)
    alive[dead] = False
    edges_after = edges[alive[edges].all(axis=1)]
    group = np.arange(num_peers) * len(groups) // num_peers
    bad = rng.random(num_peers) < share_byzantine
    bad[dead] = False
    positions = rng.random((num_peers, 2)).round(3)
    settings = dict(settings or scenario())
    with RunWriter(folder) as writer:
        for at, columns in _instants(
            rng, num_instants, degree, alive, edges_after, group, bad, lost_at, final, every_s=every_s
        ):
            writer.row(_totals(at * every_s, at, columns, edges if at < lost_at else edges_after, num_peers), columns)
        writer.finish(
            RunRecord(
                name=settings["name"],
                scenario=settings,
                scenario_hash=hash_,
                seed=seed,
                versions=Versions(murmuration="0.1.0", python="3.11.2", torch="2.6.0", numpy="2.4.6"),
                peers=[
                    PeerRecord(
                        id=f"peer-{peer}",
                        group=groups[group[peer]],
                        samples=int(rng.integers(5, 40)),
                        is_byzantine=bool(bad[peer]),
                        position=positions[peer].tolist() if has_positions else None,
                    )
                    for peer in range(num_peers)
                ],
                edges_before=edges.tolist(),
                edges_after=edges_after.tolist(),
                alive_after=np.flatnonzero(alive).tolist(),
                events=[
                    EventRecord(
                        at_s=lost_at * every_s,
                        name="area-blackout" if has_positions else "hub-loss",
                        text=f"the {len(dead)} peers with most neighbours crash",
                        peers=sorted(dead.tolist()),
                    )
                ]
                if len(dead)
                else [],
                counters={"messages_lost": 12, "node_rounds": num_peers * num_instants},
                outcome=Outcome(
                    reason="rounds",
                    at_s=(num_instants - 1) * every_s,
                    num_node_rounds=num_peers * num_instants,
                    num_events=7 * num_peers * num_instants,
                ),
                command=f"murmuration sim {settings['name']} --seed {seed}",
            ),
            TIMING,
        )
    return folder


def _instants(
    rng: np.random.Generator,
    num_instants: int,
    degree: npt.NDArray[Any],
    alive: npt.NDArray[np.bool_],
    edges_after: npt.NDArray[Any],
    group: npt.NDArray[Any],
    bad: npt.NDArray[np.bool_],
    lost_at: int,
    final: float,
    *,
    every_s: float,
) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
    num_peers = len(degree)
    talent = rng.normal(0.0, 0.02, num_peers) - 0.04 * group
    degree_after = np.bincount(edges_after.ravel(), minlength=num_peers)
    honest = np.flatnonzero(~bad)
    sent = np.zeros(num_peers, dtype=np.int64)
    for at in range(num_instants):
        is_there = alive if at >= lost_at else np.ones(num_peers, dtype=bool)
        now = np.where(is_there, degree_after if at >= lost_at else degree, 0)
        sent = sent + (now * MODEL_BYTES if at else 0)
        learnt = 0.1 + (final - 0.1) * (1 - np.exp(-at * every_s / 9)) - (0.05 if at >= lost_at else 0.0)
        lonely = np.where((at >= lost_at) & (now <= 1), -0.12 * np.exp(-0.02 * (at - lost_at)), 0.0)
        accuracy = np.clip(learnt + talent + lonely + rng.normal(0, 0.01, num_peers), 0, 1).round(4)
        yield (
            at,
            {
                "peer": honest,
                "round": np.maximum(0, at - rng.integers(0, 3, num_peers))[honest],
                "accuracy": np.where(is_there, accuracy, np.nan)[honest],
                "alive": is_there[honest],
                "degree": now[honest],
                "bytes_in": sent[honest],
                "bytes_out": sent[honest],
            },
        )


def _totals(
    at_s: float, at: int, columns: Mapping[str, npt.NDArray[Any]], edges: npt.NDArray[Any], num_peers: int
) -> TotalsRow:
    known = columns["accuracy"][np.isfinite(columns["accuracy"])]
    graph = networkx.Graph(edges.tolist())
    num_alive = int(columns["alive"].sum()) + num_peers - len(columns["peer"])
    graph.add_nodes_from(columns["peer"][columns["alive"]].tolist())
    sizes = sorted(map(len, networkx.connected_components(graph)))
    return TotalsRow(
        at_s=at_s,
        round_min=int(columns["round"].min()),
        round_median=int(np.median(columns["round"])),
        round_max=int(columns["round"].max()),
        num_alive=num_alive,
        num_components=len(sizes),
        largest_component=sizes[-1],
        num_isolated=sizes.count(1),
        accuracy_mean=float(known.mean()),
        accuracy_min=float(known.min()),
        accuracy_max=float(known.max()),
        accuracy_std=float(known.std()),
        accuracy_merged=min(1.0, float(known.mean()) + 0.02),
        consensus=float(0.8 * np.exp(-at / 10) + 0.01) if at else 0.0,
        loss_mean=float(2.3 * np.exp(-at / 12)) if at else None,
        bytes_sent=int(columns["bytes_out"].sum()),
        messages_sent=at * num_peers * 8,
        transfers_broken=9 if at > 20 else 0,
        node_rounds=at * num_peers,
    )
