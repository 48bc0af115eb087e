"""How fast a virtual world learns: node-rounds per second, against gossipy on the same task in the same run.

    python -m benchmarks.simulation [--gossipy PYTHON] [--nodes 100 1000 10000] [--threads 2]

Task: digits, perceptron 64-64-10, one local epoch of 10 batches of 8, 4-regular graph, SGD. A node-round is one local
epoch and one mixing event of one node, with all messages of the exchange: offer, request, answer, on links with
latencies. Nothing is evaluated in the timed part, neither here nor there; a small run warms up both. Each size runs in
a process of its own, so that its peak memory is its own; memory is compared with the bytes that all peers must keep
(models, last snapshots, state of the method).

`--gossipy` names an interpreter in whose environment gossipy-dfl is installed: see `simulation_gossipy`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from netsim.scenario.reading import scenario_of
from netsim.scenario.scenario_file import Scenario

ROUNDS = {100: 60, 1_000: 20, 10_000: 6}
"""Rounds by number of nodes: some seconds each."""


def scenario(nodes: int, rounds: int) -> Scenario:
    """Return the task with so many nodes."""
    return scenario_of(
        {
            "name": "benchmark",
            "peers": {"count": nodes},
            "data": {"samples_per_peer": 80},
            "topology": {"family": {"name": "regular", "degree": 4}},
            "method": {"step": {"name": "sgd", "lr": 0.1}, "batch_size": 8, "local_epochs": 1},
            "rounds": {"total": rounds, "quorum": 1.0},
            "measure": {"every_s": 1e9},
        },
        "benchmark",
    )


def measure(nodes: int, rounds: int, threads: int) -> dict[str, Any]:
    """Run it once; returns what was measured."""
    import torch

    from netsim.virtual.plan import PlannedLearning
    from netsim.virtual.run import learning_of
    from netsim.virtual.world import World

    torch.set_num_threads(1)
    warm = World(scenario(16, 2), 1, lambda world: learning_of(world, threads))  # imports, and what is found out once
    warm.play()
    warm.learning.compute()  # type: ignore[attr-defined]  # as below
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    world = World(scenario(nodes, rounds), 1, lambda world: learning_of(world, threads))
    assert isinstance(world.learning, PlannedLearning)
    began, cpu = time.perf_counter(), time.process_time()
    world.play()
    world.learning.compute()
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    node_rounds = world.counters["node_rounds"]
    return {
        "nodes": nodes,
        "rounds": rounds,
        "threads": threads,
        "node_rounds_per_s": node_rounds / wall_s,
        "node_rounds_per_cpu_s": node_rounds / cpu_s,
        "us_per_node_round": 1e6 * wall_s / node_rounds,
        "events_per_s": world.queue.num_played / wall_s,
        "peak_bytes": peak,
        "libraries_bytes": before,
        "kept_bytes": world.learning.state_bytes,
        "memory_ratio": (peak - before) / world.learning.state_bytes,
        "memory_ratio_with_libraries": peak / world.learning.state_bytes,
    }


def _child(queue: Any, *arguments: Any) -> None:
    queue.put(measure(*arguments))


def measure_apart(nodes: int, rounds: int, threads: int) -> dict[str, Any]:
    """Measure in a fresh process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue, nodes, rounds, threads))
    process.start()
    row: dict[str, Any] = queue.get()
    process.join()
    return row


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=list(ROUNDS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--gossipy", default="", help="Python interpreter that can import gossipy")
    options = parser.parse_args(arguments)
    console = Console()
    theirs: dict[str, Any] | None = None
    if options.gossipy:
        from benchmarks.simulation_gossipy import measure_gossipy

        theirs = measure_gossipy(options.gossipy)
    rows = [
        measure_apart(nodes, ROUNDS.get(nodes, 10), threads) for threads in options.threads for nodes in options.nodes
    ]
    if theirs is not None:
        for row in rows:
            row["times_gossipy"] = row["node_rounds_per_s"] / theirs["node_rounds_per_s"]
    show(rows, theirs, console)
    print(json.dumps({"ours": rows, "gossipy": theirs}))


def show(rows: list[dict[str, Any]], theirs: dict[str, Any] | None, console: Console) -> None:
    """Print the table."""
    table = Table(title="Virtual world: digits, 64-64-10, 10 batches of 8, 4 neighbours")
    for heading in ("nodes", "threads", "node-rounds/s", "µs each", "events/s", "memory / kept", "times gossipy"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            str(row["nodes"]),
            str(row["threads"]),
            f"{row['node_rounds_per_s']:.0f}",
            f"{row['us_per_node_round']:.0f}",
            f"{row['events_per_s']:.0f}",
            f"{row['memory_ratio']:.2f}",
            f"{row['times_gossipy']:.1f}" if "times_gossipy" in row else "-",
        )
    console.print(table)
    if theirs is not None:
        console.print(f"gossipy: {theirs['node_rounds_per_s']:.0f} node-rounds/s at {theirs['nodes']} nodes")


if __name__ == "__main__":
    main()
