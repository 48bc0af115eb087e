"""In the daemon a `Want` has a stream of its own: it must silence the offer there, too."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from tests.node.harness import memory_swarm


async def test_offers_are_not_repeated_where_nothing_is_lost(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=5) as swarm:
        peers = await swarm.start_all("abc", interval_s=10.0)  # long enough for an offer to be repeated
        await swarm.until(lambda: all(peer.learning.progress.state == "done" for peer in peers))
        await trio.sleep(60.0)
        for peer in peers:
            assert peer.exchange.counters["models_admitted"] == 10
            assert peer.exchange.counters["offers_repeated"] == 0
