"""The trainer in the calling task: for tests, virtual time and one-process experiments. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
import trio

from peer.core.messages import Manifest
from peer.errors import MurmurationError, StoreError, TrainerError
from peer.train.causes import as_trainer_error
from peer.train.executor import Mixed, Opened, Slot, Trained, Verdict
from peer.train.settings import TrainConfig
from peer.train.trainer import Trainer

T = TypeVar("T")
log = structlog.get_logger()


class InlineExecutor:
    """`Executor` over a `Trainer` in this process: blocks the loop while it works, and is as deterministic as it."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._trainer: Trainer | None = None

    async def open(self) -> Opened:
        """See `Executor.open`."""
        self._trainer = None
        opening = Trainer(self._config, on_notice=lambda event, detail: log.warning(event, detail=detail))
        opened = await self._run(opening.open)
        self._trainer = opening
        return opened

    async def train(self, round: int) -> Trained:
        """See `Executor.train`."""
        return await self._run(lambda: self._opened().train(round))

    async def admit(self, path: Path, manifest: Manifest) -> Verdict:
        """See `Executor.admit`."""
        return await self._run(lambda: self._opened().admit(path, manifest))

    async def mix(self, round: int, next_round: int, degree: int, slots: Sequence[Slot]) -> Mixed:
        """See `Executor.mix`."""
        return await self._run(lambda: self._opened().mix(round, next_round, degree, slots))

    async def snapshot(self) -> Trained:
        """See `Executor.snapshot`."""
        return await self._run(lambda: self._opened().snapshot())

    async def aclose(self) -> None:
        """See `Executor.aclose`. A checkpoint that cannot be written is lost, as with the trainer process."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            try:
                trainer.close()
            except StoreError as error:
                log.warning("checkpoint_not_saved", detail=str(error))
        await trio.lowlevel.checkpoint()

    def _opened(self) -> Trainer:
        if self._trainer is None:
            raise TrainerError("the trainer is not open")
        return self._trainer

    async def _run(self, operation: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        try:
            return operation()
        except MurmurationError:
            raise
        except Exception as error:  # the team's code may raise anything; it crosses the seam as one kind
            raise as_trainer_error(error) from error
