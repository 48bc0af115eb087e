"""One life of the trainer process, seen from the daemon: started, talked to, watched, and surely ended.

Nothing runs in the background: the process' output is read, and its end noticed, while a command is under way. What
it prints in between waits in the pipe (64 kB, then the printing thread of the trainer waits).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import trio

from peer.errors import TrainerError
from peer.train import protocol
from peer.train.causes import describe_exit
from peer.train.output import Output

_READ_BYTES = 1 << 16
_LAST_WORDS_S = 0.5  # how long a dead process' pipe is read: its children may hold it open for ever
_REAP_S = 5.0  # SIGKILL takes effect at once, except within a system call that hangs (a dead network disk)


class WorkerProcess:
    """A running `python -m peer.train.worker`. Make one with `start`; `end` it whatever happens."""

    def __init__(self, process: trio.Process, connection: trio.SocketStream, output: Output) -> None:
        self.pid = process.pid
        self.progress: protocol.Progress | None = None
        self._process = process
        self._connection = connection
        self._output = output
        self._frames = protocol.Frames()
        self._last_id = 0

    @classmethod
    async def start(cls, output: Output) -> WorkerProcess:
        """Start the process, in a session of its own: a Ctrl-C in the terminal does not reach it.

        Raises `TrainerError` when the system does not let us.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: a file named torch.py in the working directory is not imported. -u: lines come as they are printed.
            command = [sys.executable, "-P", "-u", "-m", "peer.train.worker", str(theirs.fileno())]
            try:
                process = await trio.lowlevel.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise TrainerError(f"cannot start the trainer process: {error}") from error
            except BaseException:
                ours.close()
                raise
        return cls(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)), output)

    def next_id(self) -> int:
        """Return the id for the next command."""
        self._last_id += 1
        return self._last_id

    @property
    def returncode(self) -> int | None:
        """None while the process runs."""
        return self._process.poll()

    def resident_bytes(self) -> int | None:
        """Return the memory that the process holds, where the system tells (Linux)."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def converse(self, command: protocol.Command, silence_s: float) -> protocol.Done | protocol.Failed | str:
        """Send `command` and wait for its answer; return it, or why there is none.

        There is none when the process ends, breaks the protocol, or gives no sign of life for `silence_s`.
        """
        frame = protocol.encode_frame(command)
        answer: protocol.Done | protocol.Failed | str = ""
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(self._read_output)
            nursery.start_soon(self._notice_end, scope)
            with scope:
                try:
                    await self._connection.send_all(frame)
                    answer = await self._receive(command.id, silence_s)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    # It closed its end; the process is about to be gone, and `_notice_end` knows when.
                    with trio.move_on_after(_REAP_S):
                        await trio.sleep_forever()
                except TrainerError as error:
                    answer = str(error)
            nursery.cancel_scope.cancel()
        if answer:
            return answer
        returncode = self.returncode
        return "closed its pipe" if returncode is None else describe_exit(returncode)

    async def end(self) -> int | None:
        """Kill the process and all that it started, take its last words, release everything. Cannot be cancelled."""
        with trio.CancelScope(shield=True):
            if self.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)  # it leads its own session, so the group is its alone
                with trio.move_on_after(_REAP_S):
                    await self._process.wait()
            with trio.move_on_after(_LAST_WORDS_S):
                await self._read_output()
            self._output.finish()
            assert self._process.stdout is not None
            await self._process.stdout.aclose()
            await self._connection.aclose()
        return self.returncode

    async def _receive(self, command_id: int, silence_s: float) -> protocol.Done | protocol.Failed:
        with trio.CancelScope() as scope:
            while True:
                scope.deadline = trio.current_time() + silence_s
                data = await self._connection.receive_some(_READ_BYTES)
                if not data:
                    raise trio.BrokenResourceError
                for body in self._frames.feed(data):
                    report = protocol.decode_report(body)
                    if isinstance(report, protocol.Done | protocol.Failed):
                        if report.id == command_id:
                            return report
                        continue  # the answer to a command whose caller was cancelled
                    self._note(report)
        raise TrainerError(f"no sign of life for {silence_s:g} s{self._stage()}")

    def _note(self, report: protocol.Progress | protocol.Notice) -> None:
        if isinstance(report, protocol.Progress):
            self.progress = report
        else:
            self._output.notice(report.event, report.detail)

    def _stage(self) -> str:
        return f" (it was {self.progress.stage})" if self.progress else ""

    async def _notice_end(self, scope: trio.CancelScope) -> None:
        await self._process.wait()
        scope.cancel()

    async def _read_output(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.receive_some(_READ_BYTES):
            self._output.feed(bytes(data), trio.current_time())
