"""The trainer process: `python -m peer.train.worker <fd>`, commands in, answers out, until the daemon goes away.

Standard output and error belong to the team's code; the daemon reads them as log lines. torch is imported only after
the first command, when the number of threads is known. SIGINT is ignored: Ctrl-C reaches the daemon, and it decides.
When the daemon dies, however it dies, its end of the socket closes and this process ends with all that it started.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from peer.errors import StoreError
from peer.train import protocol
from peer.train.causes import describe_error, traceback_tail

if TYPE_CHECKING:
    from peer.train.settings import TrainConfig
    from peer.train.trainer import Trainer

PROGRESS_INTERVAL_S = 0.2  # often enough for any watchdog, seldom enough to cost nothing


class InterruptedCommand(Exception):  # noqa: N818  not an error
    """The daemon no longer waits for the answer: it has sent the next command (`Close`, as a rule)."""


class Channel:
    """The worker's end of the socket pair, blocking."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._next_progress_at = 0.0
        self._stage = ""
        self._in_command = False

    def commands(self) -> Iterator[protocol.AnyCommand]:
        """Yield commands until the daemon closes its end."""
        frames = protocol.Frames()
        while data := self._socket.recv(1 << 16):
            for body in frames.feed(data):
                self._in_command = True
                yield protocol.decode_command(body)
                self._in_command = False

    def send(self, report: protocol.Report) -> None:
        """Send `report`."""
        self._socket.sendall(protocol.encode_frame(report))

    def notice(self, event: str, detail: str) -> None:
        """Send a line for the daemon's log."""
        self.send(protocol.Notice(event, detail[: protocol.MAX_TEXT]))

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Give a sign of life, at most one per `PROGRESS_INTERVAL_S` and stage. Raises `InterruptedCommand`."""
        now = time.monotonic()
        if now < self._next_progress_at and stage == self._stage:
            return
        self._stage = stage
        self._next_progress_at = now + PROGRESS_INTERVAL_S
        self.send(protocol.Progress(stage, done, total))
        if self._in_command and select.select([self._socket], [], [], 0)[0]:
            raise InterruptedCommand


def main(arguments: list[str]) -> int:
    """Serve the daemon at the other end of the descriptor in `arguments`; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(arguments[0]))
    connection.set_inheritable(False)
    threading.Thread(target=_end_with_daemon, args=(connection.fileno(),), daemon=True).start()
    try:
        _serve(Channel(connection))
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the daemon went away while we were answering
    _leave()
    return 0


def _leave() -> None:
    """End at once, as the team's code would expect it: taking torch apart in order takes another 0.4 s."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_with_daemon(fd: int) -> None:
    """Wait, in a thread of its own, until the daemon's end is closed; then end this process and its children.

    A thread, because the main one may be deep in a training step. Not PR_SET_PDEATHSIG, because that fires when the
    *thread* that started this process ends, and the daemon starts processes from a thread of trio's pool.
    """
    poller = select.poll()
    poller.register(fd, 0)  # POLLHUP and POLLERR are always reported
    while not poller.poll():
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _serve(channel: Channel) -> None:
    trainer: Trainer | None = None
    channel.progress("starting")
    for command in channel.commands():
        if isinstance(command, protocol.Close):
            _close(channel, trainer)
            return
        try:
            if isinstance(command, protocol.Open):
                opening = _new_trainer(command.config, channel)
                result: msgspec.Struct = opening.open()
                trainer = opening
            else:
                assert trainer is not None, "the first command is Open"
                result = _answer(trainer, command)
        except InterruptedCommand:
            continue
        except StoreError as error:
            channel.send(protocol.Failed(command.id, describe_error(error)[: protocol.MAX_TEXT], is_disk=True))
        except Exception as error:  # the team's code may raise anything; the daemon hears of it and ends this process
            message = describe_error(error)[: protocol.MAX_TEXT]
            channel.send(protocol.Failed(command.id, message, traceback=traceback_tail(error, protocol.MAX_TEXT)))
        else:
            channel.send(protocol.Done(command.id, protocol.encode_result(result)))


def _new_trainer(config: TrainConfig, channel: Channel) -> Trainer:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(config.threads)  # before torch and numpy start their pools
    from peer.train.trainer import Trainer

    return Trainer(config, on_progress=channel.progress, on_notice=channel.notice)


def _answer(trainer: Trainer, command: protocol.Command) -> msgspec.Struct:
    match command:
        case protocol.Train(round=round):
            return trainer.train(round)
        case protocol.Admit(path=path, manifest=manifest):
            return trainer.admit(path, manifest)
        case protocol.Snapshot():
            return trainer.snapshot()
        case protocol.Mix(round=round, next_round=next_round, degree=degree, slots=slots):
            return trainer.mix(round, next_round, degree, slots)
    raise AssertionError(f"no answer to {command!r}")


def _close(channel: Channel, trainer: Trainer | None) -> None:
    if trainer is not None:
        try:
            trainer.close()
        except StoreError as error:
            channel.notice("checkpoint_not_saved", str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
