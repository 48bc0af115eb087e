"""Several whole peers over a memory network in virtual time: discovery, rounds, churn, faults of the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from peer.core.exchange import Phase
from peer.core.messages import PeerId, PeerRecord, Records
from peer.errors import StoreError, TrainerError
from peer.identity import Identity, signed
from peer.node import MAX_LOST_DIALED, VIEW_PAUSE_S
from tests.node.harness import SWARM, ScriptedExecutor, memory_swarm


async def test_peers_that_know_one_address_find_each_other_and_agree(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=20) as swarm:
        peers = await swarm.start_all("abcd")
        await swarm.until(lambda: all(peer.learning.progress.state == "done" for peer in peers))
        for peer in peers:
            assert len(peer.exchange.neighbours) == 3
            assert peer.executor.calls.count("train") == 20
        values = [peer.executor.value for peer in peers]
        assert max(values) - min(values) < 0.01, "averaging brings them together"
        assert sum(values) / 4 == pytest.approx(20 + 1.5), "and keeps their mean"


async def test_received_files_are_removed_when_they_are_mixed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=10) as swarm:
        peers = await swarm.start_all("abc")
        await swarm.until_round(10)
        for peer in peers:
            assert len(list((tmp_path / peer.name / "inbox").iterdir())) <= 2


async def test_training_waits_for_the_members_it_was_told_to_wait_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with memory_swarm(tmp_path) as swarm:
        first = await swarm.start(swarm.make("a", start_members=2))
        await swarm.until(lambda: first.learning.progress.state == "waiting")
        assert first.learning.progress.waiting_for == "members: 1 of 2"
        assert "train" not in first.executor.calls
        await swarm.start(swarm.make("b", start_members=2))
        await swarm.until_round(2)


async def test_swarm_goes_on_when_a_peer_vanishes_and_takes_it_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path) as swarm:
        a, b, c = await swarm.start_all("abc")
        await swarm.until_round(3)
        c.scope.cancel()
        await swarm.until(lambda: len(a.exchange.neighbours) == 1)
        before = a.exchange.round
        await swarm.until_round(before + 20, a, b)
        again = swarm.make(
            "c", incarnation=2, executor=ScriptedExecutor(tmp_path / "c", value=0.0, first_round=c.exchange.round)
        )
        await swarm.start(again)
        await swarm.until(lambda: again.node.exchange is not None and len(again.exchange.neighbours) == 2)
        await swarm.until_round(a.exchange.round + 1, again)
        assert again.exchange.counters["rounds_skipped"] > 0
        assert len(a.exchange.neighbours) == 2


async def test_peer_with_a_lost_state_directory_goes_on_above_its_former_life(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with memory_swarm(tmp_path) as swarm:
        _, b = await swarm.start_all("ab", incarnation=7)
        await swarm.until_round(2)
        b.scope.cancel()
        again = await swarm.start(swarm.make("b", incarnation=1))
        await swarm.until(lambda: again.node.membership.own_record.incarnation == 8)


async def test_trainer_that_crashes_is_opened_again_with_growing_pauses(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with memory_swarm(tmp_path, total_rounds=3, deadline_s=1.0) as swarm:
        crash = TrainerError("killed by signal 9")
        executor = ScriptedExecutor(tmp_path, fail={"train": [None, crash, crash, crash]})
        peer = await swarm.start(swarm.make("a", executor=executor))
        await swarm.until(lambda: peer.learning.progress.state == "waiting")
        assert peer.learning.progress.waiting_for.startswith("trainer: starts again in")
        await swarm.until(lambda: peer.learning.progress.state == "done")
        assert executor.calls.count("open") == 4
        assert peer.learning.progress.num_crashes == 3
        assert peer.learning.progress.last_error == "killed by signal 9"
        assert 2.0 < autojump_clock.current_time() < 60.0, "1, 2 and 4 s, less half at most"


async def test_trainer_that_cannot_be_opened_is_tried_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=1, deadline_s=1.0) as swarm:
        executor = ScriptedExecutor(tmp_path, fail={"open": [TrainerError("CUDA error")] * 3})
        peer = await swarm.start(swarm.make("a", executor=executor))
        await swarm.until(lambda: peer.learning.progress.state == "done")


async def test_peer_whose_trainer_is_down_goes_on_serving(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, deadline_s=2.0) as swarm:
        executor = ScriptedExecutor(tmp_path, fail={"train": [None, None] + [TrainerError("crash")] * 1000})
        (tmp_path / "a").mkdir()
        broken = await swarm.start(swarm.make("a", executor=executor))
        healthy = await swarm.start(swarm.make("b"))
        await swarm.until_round(8, healthy)
        assert broken.node.server.num_served > 0
        assert healthy.exchange.counters["models_admitted"] > 0


async def test_mixing_that_kills_the_trainer_twice_goes_without_the_neighbours(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with memory_swarm(tmp_path, total_rounds=2) as swarm:
        poisoned = ScriptedExecutor(tmp_path, fail={"mix": [TrainerError("crash"), TrainerError("crash")]})
        peer = await swarm.start(swarm.make("a", start_members=2, executor=poisoned))
        await swarm.start(swarm.make("b", start_members=2))
        await swarm.until_round(2)
        assert peer.executor.mixed_values[0] == 1.0, "its own model alone"


async def test_snapshot_that_kills_the_trainer_twice_is_refused_and_its_sender_banned(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with memory_swarm(tmp_path, total_rounds=4, deadline_s=5.0) as swarm:
        victim = ScriptedExecutor(tmp_path, fail={"admit": [TrainerError("crash"), TrainerError("crash")]})
        peer = await swarm.start(swarm.make("a", start_members=2, executor=victim))
        sender = await swarm.start(swarm.make("b", start_members=2))
        await swarm.until(lambda: peer.learning.progress.state == "done")
        assert peer.node.faults.counts["crashes_trainer"] == 1
        assert peer.links.is_banned(sender.identity.peer_id)


async def test_refused_snapshot_costs_its_sender_the_connection_and_nothing_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with memory_swarm(tmp_path, total_rounds=6, deadline_s=5.0) as swarm:
        (tmp_path / "a").mkdir()
        picky = ScriptedExecutor(tmp_path / "a")
        peer = swarm.make("a", start_members=3, executor=picky)
        liar = swarm.make("b", start_members=3)
        picky.refuse[liar.identity.public_key] = "not_finite"
        honest = swarm.make("c", start_members=3)
        for each in (peer, liar, honest):
            await swarm.start(each)
        await swarm.until_round(6, peer, honest)
        assert peer.node.faults.counts == {"not_finite": 1}
        assert not peer.links.is_linked(liar.identity.peer_id)
        assert peer.links.is_linked(honest.identity.peer_id)
        assert peer.exchange.counters["models_admitted"] >= 6


async def test_full_disk_is_waited_for(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=2, deadline_s=1.0) as swarm:
        full = StoreError("cannot write x: the disk is full")
        executor = ScriptedExecutor(tmp_path, fail={"train": [full, full, None]})
        peer = await swarm.start(swarm.make("a", executor=executor))
        await swarm.until(lambda: peer.learning.progress.state == "waiting")
        assert "the disk is full" in peer.learning.progress.waiting_for
        await swarm.until(lambda: peer.learning.progress.state == "done")


async def test_rounds_begin_no_faster_than_their_interval(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=10, deadline_s=1.0) as swarm:
        peer = await swarm.start(swarm.make("a", interval_s=60.0, executor=ScriptedExecutor(tmp_path)))
        began = autojump_clock.current_time()
        await swarm.until_round(1, peer)
        await swarm.until(lambda: peer.learning.progress.waiting_for == "the time of the next round")
        await swarm.until(lambda: peer.learning.progress.state == "done", within_s=10_000.0)
        assert 9 * 60.0 <= autojump_clock.current_time() - began < 9 * 60.0 + 10.0


async def test_flood_of_membership_news_costs_few_computations_of_the_graph(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_swarm(tmp_path) as swarm:
        peer = await swarm.start(swarm.make("a"))
        await swarm.until_round(1, peer)
        computed = []
        monkeypatch.setattr(peer.node, "_recompute_neighbours", lambda: computed.append(trio.current_time()))
        liar = Identity(b"l" * 32)
        began = trio.current_time()
        for heartbeat in range(500):
            record = PeerRecord(liar.public_key, SWARM, 1, heartbeat, (f"/memory/{heartbeat}",))
            peer.node.membership.receive_message(Records((signed(liar, record),)), liar.peer_id, trio.current_time())
            peer.node.flush()
            await trio.sleep(0.001)
        assert 1 <= len(computed) <= 1 + (trio.current_time() - began) / VIEW_PAUSE_S


async def test_few_of_many_lost_members_are_dialed(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_swarm(tmp_path) as swarm:
        peer = await swarm.start(swarm.make("a"))
        await swarm.until_round(1, peer)
        wanted: list[dict[PeerId, object]] = []
        monkeypatch.setattr(peer.links, "set_wanted", lambda peers: wanted.append(dict(peers)))
        for place in range(100):
            made_up = Identity(bytes([place]) * 32)
            record = PeerRecord(made_up.public_key, SWARM, 1, 1, (f"/memory/{place}",))
            news = Records((signed(made_up, record),))
            peer.node.membership.receive_message(news, made_up.peer_id, trio.current_time())
        peer.node.flush()
        await swarm.until(lambda: len(peer.node.membership.lost()) == 100)
        await swarm.until(lambda: len(wanted[-1]) == MAX_LOST_DIALED)


async def test_stopping_saves(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path) as swarm:
        peer = await swarm.start(swarm.make("a"))
        await swarm.until(lambda: peer.executor.is_busy)
        peer.scope.cancel()
    assert peer.executor.calls[-1] == "aclose"


async def test_peer_that_was_done_in_an_earlier_life_is_done_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=5) as swarm:
        peer = await swarm.start(swarm.make("a", executor=ScriptedExecutor(tmp_path, first_round=5)))
        await swarm.until(lambda: peer.learning.progress.state == "done")
        assert peer.exchange.phase is Phase.DONE
        assert peer.executor.calls == ["open", "snapshot"]


async def test_latecomer_to_a_finished_swarm_takes_its_final_model(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with memory_swarm(tmp_path, total_rounds=10, max_age_rounds=2) as swarm:
        a, b = await swarm.start_all("ab")
        await swarm.until(lambda: a.learning.progress.state == b.learning.progress.state == "done")
        final = (a.executor.value + b.executor.value) / 2
        latecomer = await swarm.start(swarm.make("c", start_members=3, executor=ScriptedExecutor(tmp_path, value=1e6)))
        await swarm.until(lambda: latecomer.learning.progress.state == "done")
        assert latecomer.executor.calls.count("train") == 1
        assert {slot.manifest.round for slot in latecomer.learning.progress.ready.slots} == {10}  # type: ignore[union-attr]  # it mixed
        assert final < latecomer.executor.value  # the scripted executor keeps itself in the mean
