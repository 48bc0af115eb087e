"""Why a trainer failed, in one line that an operator can act on. No torch here: its errors are known by their names."""

from __future__ import annotations

import signal
import traceback

from peer.errors import MurmurationError, TrainerError
from topology.errors import TopologyError

_HINTS = {
    signal.SIGKILL: "out of memory?",
    signal.SIGBUS: "a mapped file shrank, or the disk under it is full",
    signal.SIGSEGV: "a fault in native code",
    signal.SIGABRT: "native code gave up; its last words are in the log",
    signal.SIGILL: "torch was built for another processor",
}
_MAX_LINE = 500


def describe_exit(returncode: int) -> str:
    """Say how a process ended, from its return code (negative: the signal that killed it)."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    number = -returncode
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"killed by signal {number}"
    hint = _HINTS.get(signal.Signals(number))
    return f"killed by signal {number} ({name}{'; ' + hint if hint else ''})"


def describe_error(error: BaseException) -> str:
    """Say what an exception out of the trainer means; for those of a team's own code, with the place in it."""
    if isinstance(error, MurmurationError | TopologyError):
        return _first_line(error)
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return "torch is not installed here: pip install 'murmuration[train]' (or set train.enabled = false)"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, for all accelerators
        return f"the accelerator is out of memory ({_first_line(error)})"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out of memory"
    if "CUDA error" in str(error):
        return _first_line(error)
    return f"{type(error).__name__}: {_first_line(error)}{_place(error)}"


def as_trainer_error(error: Exception) -> MurmurationError:
    """Return what crosses the executor's seam in place of `error`: itself when it is ours, else a `TrainerError`."""
    return error if isinstance(error, MurmurationError) else TrainerError(describe_error(error))


def traceback_tail(error: BaseException, max_chars: int) -> str:
    """Return the end of the traceback of an exception out of a team's code; of our own ones, which say it all, none."""
    if isinstance(error, MurmurationError | TopologyError):
        return ""
    return "".join(traceback.format_exception(error))[-max_chars:]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0][:_MAX_LINE]


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    last = frames[-1]
    return f" ({last.filename.rsplit('/', 1)[-1]}:{last.lineno} in {last.name})"
