"""The trainer in the calling task: for tests, virtual time and one-process experiments. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from peer.core.messages import Manifest
from peer.errors import MurmurationError
from peer.train.causes import as_trainer_error
from peer.train.executor import Mixed, Opened, Slot, Trained, Verdict
from peer.train.settings import TrainConfig
from peer.train.trainer import Trainer

T = TypeVar("T")


class InlineExecutor:
    """`Executor` over a `Trainer` in this process: blocks the loop while it works, and is as deterministic as it."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._trainer: Trainer | None = None

    async def open(self) -> Opened:
        """See `Executor.open`."""
        self._trainer = Trainer(self._config)
        return await self._run(self._trainer.open)

    async def train(self, round: int) -> Trained:
        """See `Executor.train`."""
        return await self._run(lambda: self._opened().train(round))

    async def admit(self, path: Path, manifest: Manifest) -> Verdict:
        """See `Executor.admit`."""
        return await self._run(lambda: self._opened().admit(path, manifest))

    async def mix(self, round: int, next_round: int, degree: int, slots: Sequence[Slot]) -> Mixed:
        """See `Executor.mix`."""
        return await self._run(lambda: self._opened().mix(round, next_round, degree, slots))

    async def aclose(self) -> None:
        """See `Executor.aclose`. A checkpoint that cannot be written is lost, as with the trainer process."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            trainer.close()
        await trio.lowlevel.checkpoint()

    def _opened(self) -> Trainer:
        if self._trainer is None:
            raise RuntimeError("the executor is not open")
        return self._trainer

    async def _run(self, operation: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        try:
            return operation()
        except MurmurationError:
            raise
        except Exception as error:  # the team's code may raise anything; it crosses the seam as one kind
            raise as_trainer_error(error) from error
