"""The learning loop of one peer: train, publish, gather, mix, again, whatever happens to the trainer.

    open ─▶ wait for members ─▶ ┌ train ─▶ publish ─▶ (quorum or deadline) ─▶ mix + checkpoint ┐ ─▶ done
      ▲                         └───────────────────────────◀──────────────────────────────────┘
      └── backoff ◀── the trainer crashed, hung or exited: the daemon goes on serving peers meanwhile

The executor takes one call at a time; admission of received snapshots takes its turn between the steps of the loop.
After a crash the interrupted call is repeated on the newest checkpoint. A call that kills the trainer twice is not
repeated a third time: an admission counts as refused, a mixing event goes without the neighbours.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
import trio

from peer.control.status import State
from peer.core.backoff import Backoff, Uniform
from peer.core.exchange import ExchangeCore, Phase
from peer.core.exchange_events import CheckModel, RoundReady
from peer.core.messages import Manifest
from peer.errors import StoreError, TrainerError
from peer.node import Node
from peer.train.executor import Executor, Mixed, Opened, Slot, Trained

T = TypeVar("T")
log = structlog.get_logger()

MAX_TRIES = 2  # of a call during which the trainer died
DISK_RETRY = Backoff(base_s=1.0, cap_s=60.0)


@dataclass
class Progress:
    """What the status and the metrics show of the learning; all of it as of the last time it was known."""

    state: State = "starting"
    waiting_for: str = ""
    opened: Opened | None = None
    trained: Trained | None = None
    mixed: Mixed | None = None
    ready: RoundReady | None = None
    accuracy: float | None = None  # of the model as it stands
    saved_round: int | None = None
    saved_at: float | None = None  # trio clock
    save_error: str = ""
    num_crashes: int = 0
    last_error: str = ""
    round_s: float = 0.0  # duration of the last round
    round_began: float = -math.inf


class Learning:
    """Drives `executor` through the rounds of the node's exchange core.

    `make_exchange(opened)` builds the core once the trainer has told the shape of the model; `sign_snapshot(trained,
    round, degree)` turns a result into a signed manifest. `on_round()` is called after each round.
    """

    def __init__(
        self,
        node: Node,
        executor: Executor,
        *,
        make_exchange: Callable[[Opened], ExchangeCore],
        sign_snapshot: Callable[[Trained, int, int], Manifest],
        start_members: int,
        interval_s: float,
        restart: Backoff,
        rng: Uniform,
        on_round: Callable[[], None],
    ) -> None:
        self.progress = Progress()
        self._node = node
        self._executor = executor
        self._make_exchange = make_exchange
        self._sign_snapshot = sign_snapshot
        self._start_members = start_members
        self._interval_s = interval_s
        self._restart = restart
        self._rng = rng
        self._on_round = on_round
        self._is_open = False
        self._crashes = 0  # since the last good round
        self._turn = trio.Lock()

    async def run(self) -> None:
        """Learn until all rounds are done, then go on serving; ends only by cancellation, having saved."""
        try:
            async with trio.open_nursery() as nursery:
                async with self._turn:
                    opened = await self._open()
                exchange = self._make_exchange(opened)
                self._node.start_exchange(exchange)
                nursery.start_soon(self._admit)
                if not opened.resumed:
                    await self._wait_for_members()
                while exchange.phase is not Phase.DONE:
                    await self._round(exchange)
                final = await self._written(self._executor.snapshot)
                self._node.publish_final(
                    self._sign_snapshot(final, exchange.round, len(exchange.neighbours)), final.path
                )
                self.progress.state = "done"
                log.info("learning_done", round=exchange.round, accuracy=self.progress.accuracy)
                await trio.sleep_forever()
        finally:
            self.progress.state = "stopping"
            # The deadlines are the executor's own: it asks, waits, and kills.
            with trio.CancelScope(shield=True):
                await self._executor.aclose()

    async def _round(self, exchange: ExchangeCore) -> None:
        progress = self.progress
        if (next_round_at := progress.round_began + self._interval_s) > trio.current_time():
            self._wait_state("the time of the next round")
            await trio.sleep_until(next_round_at)
        progress.round_began = trio.current_time()
        progress.state, progress.waiting_for = "training", ""
        trained = await self._written(lambda: self._executor.train(exchange.round))
        progress.trained, progress.accuracy = trained, trained.accuracy
        manifest = self._sign_snapshot(trained, exchange.round, len(exchange.neighbours))
        progress.state = "gathering"
        self._node.publish(manifest, trained.path)
        ready = await self._node.rounds_ready.receive()
        progress.state = "mixing"
        mixed = await self._mix(ready, manifest.degree)
        self._node.mixed()
        progress.ready, progress.mixed, progress.accuracy = ready, mixed, mixed.accuracy
        progress.round_s = trio.current_time() - progress.round_began
        self._crashes = 0
        self._note_saved(mixed)
        log.info(
            "round",
            round=ready.round,
            next_round=ready.next_round,
            loss=round(trained.loss, 4) if math.isfinite(trained.loss) else None,  # NaN: a round that diverged
            accuracy_local=round(trained.accuracy, 4),
            accuracy_mixed=round(mixed.accuracy, 4),
            disagreement=round(mixed.disagreement, 4),
            num_mixed=mixed.num_mixed,
            num_expected=ready.num_expected,
            met_quorum=ready.met_quorum,
            duration_s=round(progress.round_s, 3),
            saved=mixed.saved,
        )
        self._on_round()

    async def _wait_for_members(self) -> None:
        while (known := len(self._node.membership.learners())) < self._start_members:
            self.progress.state = "waiting"
            self.progress.waiting_for = f"members: {known} of {self._start_members}"
            await self._node.view_changed.wait()

    async def _written(self, write: Callable[[], Awaitable[Trained]]) -> Trained:
        """Have the executor write a snapshot, however often the trainer dies and however long the disk is full."""
        state = self.progress.state
        failures = 0
        while True:
            try:
                return await self._call(write)
            except TrainerError:
                continue  # `_call` has paced and logged it; the next try opens a new trainer first
            except StoreError as error:
                self._wait_state(f"disk: {error}")
                self.progress.save_error = str(error)
                log.warning("snapshot_not_saved", error=str(error))
                await trio.sleep(DISK_RETRY.delay(failures, self._rng))
                failures += 1
                self.progress.state, self.progress.waiting_for = state, ""

    async def _mix(self, ready: RoundReady, degree: int) -> Mixed:
        slots = [Slot(self._node.received_file(s.manifest), s.manifest, s.age_rounds) for s in ready.slots]
        for tries in itertools.count():
            if tries == MAX_TRIES:
                log.warning("mixing_without_neighbours", round=ready.round, num_slots=len(slots))
                slots.clear()
            with contextlib.suppress(TrainerError):
                return await self._call(lambda: self._executor.mix(ready.round, ready.next_round, degree, slots))
        raise AssertionError("the loop above does not end")

    async def _admit(self) -> None:
        async for check in self._node.checks:
            self._node.checked(check, await self._verdict(check))

    async def _verdict(self, check: CheckModel) -> str:
        path = self._node.received_file(check.manifest)
        for _ in range(MAX_TRIES):
            with contextlib.suppress(TrainerError):
                return (await self._call(lambda: self._executor.admit(path, check.manifest))).reason
        return "crashes_trainer"

    async def _call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run one operation of the executor, which is opened first if need be."""
        async with self._turn:
            if not self._is_open:
                await self._open()
            try:
                return await operation()
            except TrainerError as error:
                self._is_open = False
                self._note_crash(error)
                raise

    async def _open(self) -> Opened:
        """Open the executor; after crashes, wait first, longer with each one since the last good round."""
        before = (self.progress.state, self.progress.waiting_for)
        while True:
            if self._crashes:
                delay_s = self._restart.delay(self._crashes - 1, self._rng)
                self._wait_state(f"trainer: starts again in {delay_s:.1f} s")
                await trio.sleep(delay_s)
            self.progress.state, self.progress.waiting_for = "starting", ""
            try:
                opened = await self._executor.open()
            except TrainerError as error:
                self._note_crash(error)
                continue
            break
        self._is_open = True
        self.progress.opened, self.progress.accuracy = opened, opened.accuracy
        self.progress.state, self.progress.waiting_for = before
        log.info(
            "trainer_ready",
            device=opened.device,
            width=opened.width,
            samples=opened.samples,
            round=opened.round,
            resumed=opened.resumed,
        )
        return opened

    def _note_crash(self, error: TrainerError) -> None:
        self._crashes += 1
        self.progress.num_crashes += 1
        self.progress.last_error = str(error)
        log.warning("trainer_failed", error=str(error), num_crashes=self.progress.num_crashes)

    def _note_saved(self, mixed: Mixed) -> None:
        if mixed.saved:
            self.progress.saved_round, self.progress.saved_at = mixed.round, trio.current_time()
            self.progress.save_error = ""
        elif mixed.save_error:
            self.progress.save_error = mixed.save_error
            log.warning("checkpoint_not_saved", round=mixed.round, error=mixed.save_error)

    def _wait_state(self, waiting_for: str) -> None:
        self.progress.state, self.progress.waiting_for = "waiting", waiting_for
