"""The trainer in a process of its own: what the daemon uses. No torch here.

    stopped ──open──▶ starting ──Opened──▶ ready ◀──▶ busy
       ▲                  │                  │          │
       └──────────────────┴── crash, hang, exit, error ─┘   each a TrainerError; the process is dead when it is raised

Whatever happened, the next `open` starts a new process, which resumes from the newest sound checkpoint. When to call
it is the caller's choice (`peer.core.backoff`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import structlog
import trio

from peer.core.messages import Manifest
from peer.errors import StoreError, TrainerError
from peer.train import protocol
from peer.train.executor import Mixed, Opened, Slot, Trained, Verdict
from peer.train.output import Output
from peer.train.settings import TrainConfig
from peer.train.worker_process import WorkerProcess

State = Literal["stopped", "starting", "ready", "busy"]
KILL_S = 10.0  # more than `WorkerProcess.end` ever takes
log = structlog.get_logger()


def _log_line(line: str) -> None:
    log.info("trainer_output", line=line)


def _log_notice(event: str, detail: str) -> None:
    log.warning(event, detail=detail)


class ProcessExecutor:
    """`Executor` over a child process.

    `hang_timeout_s`: a process that gives no sign of life for so long is killed; it gives one with every local step
    (at most five a second). Longer: a hang costs more time; shorter: one slow step looks like a hang.
    `start_timeout_s`: the same while it starts, when importing torch and loading data may take long in one piece.
    `close_timeout_s`: how long a clean end may take, checkpoint included.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        hang_timeout_s: float = 120.0,
        start_timeout_s: float = 120.0,
        close_timeout_s: float = 10.0,
        on_line: Callable[[str], None] = _log_line,
        on_notice: Callable[[str, str], None] = _log_notice,
    ) -> None:
        self.state: State = "stopped"
        self.num_starts = 0
        self.last_error = ""
        self.output = Output(on_line, on_notice)
        self._config = config
        self._hang_timeout_s = hang_timeout_s
        self._start_timeout_s = max(start_timeout_s, hang_timeout_s)
        self._close_timeout_s = close_timeout_s
        self._worker: WorkerProcess | None = None

    @property
    def pid(self) -> int | None:
        """The process' id; None while there is none."""
        return self._worker.pid if self._worker else None

    @property
    def progress(self) -> protocol.Progress | None:
        """What the trainer said last about where it is."""
        return self._worker.progress if self._worker else None

    def resident_bytes(self) -> int | None:
        """Return the memory of the process; None while there is none, or where the system does not tell."""
        return self._worker.resident_bytes() if self._worker else None

    async def open(self) -> Opened:
        """See `Executor.open`. Starts a new process, and ends one that is still there."""
        await self._end()
        self.state = "starting"
        self.num_starts += 1
        try:
            self._worker = await WorkerProcess.start(self.output)
        except TrainerError as error:
            self.state, self.last_error = "stopped", str(error)
            raise
        command = protocol.Open(self._worker.next_id(), self._config)
        opened: Opened = await self._call(self._worker, command, Opened, self._start_timeout_s)
        return opened

    async def train(self, round: int) -> Trained:
        """See `Executor.train`."""
        worker = self._opened()
        trained: Trained = await self._call(worker, protocol.Train(worker.next_id(), round), Trained)
        return trained

    async def admit(self, path: Path, manifest: Manifest) -> Verdict:
        """See `Executor.admit`."""
        worker = self._opened()
        verdict: Verdict = await self._call(worker, protocol.Admit(worker.next_id(), path, manifest), Verdict)
        return verdict

    async def mix(self, round: int, next_round: int, degree: int, slots: Sequence[Slot]) -> Mixed:
        """See `Executor.mix`."""
        worker = self._opened()
        command = protocol.Mix(worker.next_id(), round, next_round, degree, tuple(slots))
        mixed: Mixed = await self._call(worker, command, Mixed)
        return mixed

    async def snapshot(self) -> Trained:
        """See `Executor.snapshot`."""
        worker = self._opened()
        trained: Trained = await self._call(worker, protocol.Snapshot(worker.next_id()), Trained)
        return trained

    async def aclose(self) -> None:
        """See `Executor.aclose`. Kills the process when it does not end in time, or when the caller is cancelled."""
        worker = self._worker
        try:
            if worker is not None and self.state != "starting":  # else there is nothing to save yet
                with trio.move_on_after(self._close_timeout_s):
                    await worker.converse(protocol.Close(worker.next_id()), self._close_timeout_s)
        finally:
            with trio.move_on_after(KILL_S, shield=True):
                await self._end()

    def _opened(self) -> WorkerProcess:
        if self._worker is None:
            raise TrainerError(self.last_error or "the trainer is not open")
        return self._worker

    async def _call(
        self, worker: WorkerProcess, command: protocol.Command, kind: Any, silence_s: float | None = None
    ) -> Any:
        self.state = "starting" if kind is Opened else "busy"
        answer = await worker.converse(command, silence_s or self._hang_timeout_s)
        if isinstance(answer, protocol.Done):
            self.state = "ready"
            return protocol.decode_result(answer.result, kind)
        if isinstance(answer, protocol.Failed):
            if answer.is_disk:
                self.state = "ready"
                raise StoreError(answer.message)
            if answer.traceback:
                self.output.notice("trainer_traceback", answer.traceback)
            answer = answer.message
        self.last_error = f"trainer {type(command).__name__.lower()}: {answer}"
        await self._end()
        raise TrainerError(self.last_error)

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        self.state = "stopped"
        if worker is not None:
            await worker.end()
