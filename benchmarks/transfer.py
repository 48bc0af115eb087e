"""What moving a snapshot costs: `python -m benchmarks.transfer [--sizes 1 10 100] [--repeats 5]`.

Two processes, as two daemons: the transport and the model protocol, no torch. One round trip = B gets the snapshot of
A, then A gets that of B: request, bytes into a file, SHA-256 checked. Three ways, in turn, in the same run:

    murmuration  Libp2pTransport (TCP, Noise, yamux) and `peer.net.fetch`
    trio TLS     trio.SSLStream (TLS 1.3), the same reading, writing and hashing of files
    trio TCP     trio.SocketStream, the same

Reported: MB/s = bytes moved / time (median of the repeats), CPU seconds of each process per GB moved, and by how much
the resident memory of each process rose over what it was before the first transfer (peak over the repeats). A file of
16 MB goes first, unmeasured. Target: at most 64 MB above idle for the 100 MB snapshot; the rate is only measured.
Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WAYS = ("murmuration", "trio TLS", "trio TCP")
WARM_UP_MB = 16
TARGET_RISE_MB = 64.0


class PeerProcess:
    """One of the two; answers one JSON line to each command."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        command = [sys.executable, "-m", "benchmarks.transfer_peer", str(folder), str(seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hello = self._answer()

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self._process.stdin is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a benchmark process ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(sizes_mb: list[int], repeats: int, folder: Path) -> list[dict[str, Any]]:
    """Run every way for every size; returns one row each."""
    pair = [PeerProcess(folder / name, seed) for name, seed in (("a", 1), ("b", 2))]
    rows: list[dict[str, Any]] = []
    try:
        for peer, other in (pair, pair[::-1]):
            peer.ask(do="meet", hello=other.hello)
            for size_mb in {WARM_UP_MB, *sizes_mb}:
                peer.ask(do="make", size_mb=size_mb)
        idle = [peer.ask(do="usage")["rss_mb"] for peer in pair]
        for way in WAYS:
            _round_trip(pair, way, WARM_UP_MB)
        for size_mb in sizes_mb:
            rows += _measure_size(pair, size_mb, repeats, idle)
    finally:
        for peer in pair:
            peer.stop()
    return rows


def _measure_size(pair: list[PeerProcess], size_mb: int, repeats: int, idle: list[float]) -> list[dict[str, Any]]:
    """Take the ways in turn, so that a busy moment of the machine does not fall on one of them alone."""
    trips: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            trips[way].append(_round_trip(pair, way, size_mb))
    return [_row(way, size_mb, trips[way], idle) for way in WAYS]


def _round_trip(pair: list[PeerProcess], way: str, size_mb: int) -> dict[str, Any]:
    before = [peer.ask(do="usage") for peer in pair]
    began = time.perf_counter()
    for peer in pair:
        peer.ask(do="get", way=way, size_mb=size_mb)
    time_s = time.perf_counter() - began
    after = [peer.ask(do="usage") for peer in pair]
    return {
        "time_s": time_s,
        "cpu_s": [now["cpu_s"] - then["cpu_s"] for now, then in zip(after, before, strict=True)],
        "peak_mb": [now["peak_mb"] for now in after],
    }


def _row(way: str, size_mb: int, trips: list[dict[str, Any]], idle: list[float]) -> dict[str, Any]:
    moved_gb = 2 * size_mb / 1000
    rise_mb = [max(trip["peak_mb"][i] for trip in trips) - idle[i] for i in range(2)]
    return {
        "way": way,
        "size_mb": size_mb,
        "round_trip_s": statistics.median(trip["time_s"] for trip in trips),
        "mb_per_s": 1000 * moved_gb / statistics.median(trip["time_s"] for trip in trips),
        "cpu_s_per_gb": [statistics.median(trip["cpu_s"][i] for trip in trips) / moved_gb for i in range(2)],
        "memory_rise_mb": rise_mb,
    }


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the table."""
    table = Table(title=f"Snapshot round trips between two processes (memory target: at most +{TARGET_RISE_MB:g} MB)")
    for heading in ("MB", "way", "MB/s", "ms", "CPU s/GB (a, b)", "memory over idle, MB"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for row in rows:
        table.add_row(
            str(row["size_mb"]),
            row["way"],
            f"{row['mb_per_s']:.0f}",
            f"{1000 * row['round_trip_s']:.1f}",
            ", ".join(f"{cpu:.2f}" for cpu in row["cpu_s_per_gb"]),
            ", ".join(f"{rise:+.1f}" for rise in row["memory_rise_mb"]),
            end_section=row["way"] == WAYS[-1],
        )
    console.print(table)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], metavar="MB")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="murmuration-transfer-") as folder:
        rows = measure(options.sizes, options.repeats, Path(folder))
    show(rows, Console())
    print(json.dumps({"benchmark": "transfer", "repeats": options.repeats, "rows": rows}))


if __name__ == "__main__":
    main()
