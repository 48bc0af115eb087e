"""A swarm of real daemons on this machine: one folder and one process each, on loopback.

Every daemon is started as an operator would start it (`murmuration run FOLDER`), has its own key, state directory,
control socket and log, and is told one bootstrap address. The processes are in a session of their own, so that Ctrl-C
in the terminal reaches only whoever runs the swarm, and they die with it, whatever kills it.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from peer.config.peer_file import DataSettings, LogSettings, NetSettings, PeerFile, SwarmSettings, TrainSettings
from peer.config.swarm_file import SwarmFile
from peer.config.template import peer_toml, swarm_toml
from peer.control.client import NoAnswerError, ask
from peer.control.status import Status
from peer.errors import MurmurationError
from peer.identity import Identity

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)
_DECODER = msgspec.json.Decoder(Status)


class SwarmError(MurmurationError):
    """A daemon of the local swarm did not do what it was started for."""


@dataclass
class LocalDaemon:
    """One device of the swarm: its folder, and its process while it runs."""

    index: int
    folder: Path
    peer_id: str
    process: subprocess.Popen[bytes] | None = None
    num_starts: int = 0
    log_path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log_path = self.folder / "daemon.log"

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the daemon; its log is appended to."""
        assert not self.is_running
        command = [sys.executable, "-m", "peer.cli.main", "run", str(self.folder)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self.num_starts += 1

    def kill(self) -> None:
        """End the process as a power cut would (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask_to_stop(self) -> None:
        """Ask the process to save and end (SIGTERM)."""
        if self.is_running:
            assert self.process is not None
            self.process.send_signal(signal.SIGTERM)

    def status(self) -> Status | None:
        """Return what the daemon says of itself; None while it does not answer."""
        if not self.is_running:
            return None
        with contextlib.suppress(NoAnswerError, msgspec.DecodeError):
            return _DECODER.decode(ask(self.folder / "control.sock", "/status"))
        return None

    def last_words(self, num_lines: int = 5) -> str:
        """Return the end of the log, for the message when something went wrong."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-num_lines:])
        return ""


class LocalSwarm:
    """`num_peers` daemons in `folder`, each with its share of the data; a context manager that ends them all.

    `data` tells how the data set is split; its `of` and `index` are set for each daemon. `trains=False` makes relays.
    """

    def __init__(
        self, folder: Path, swarm: SwarmFile, num_peers: int, *, data: DataSettings, trains: bool = True
    ) -> None:
        self.swarm = swarm
        self._trains = trains
        self._data = msgspec.structs.replace(data, of=num_peers, index=0)
        self.daemons = [self._make_daemon(folder / f"{index:02d}", index) for index in range(num_peers)]

    def __enter__(self) -> LocalSwarm:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self, *, timeout_s: float = 60.0) -> str:
        """Start the first daemon, then all others with its address as the only one they know; return that address."""
        first, *others = self.daemons
        first.start()
        deadline = time.monotonic() + timeout_s
        while not (status := first.status()) or not status.addresses:
            if not first.is_running or time.monotonic() > deadline:
                raise SwarmError(f"the first daemon did not start; its log ends with:\n{first.last_words()}")
            time.sleep(0.05)
        bootstrap = status.addresses[0]
        for daemon in others:
            self.tell(daemon, (bootstrap,))
            daemon.start()
        return bootstrap

    def tell(self, daemon: LocalDaemon, bootstrap: tuple[str, ...]) -> None:
        """Write bootstrap addresses into a daemon's settings; they hold from its next start."""
        self._write_settings(daemon.folder, daemon.index, bootstrap)

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """Ask all daemons to save and end; kill those that have not ended in time."""
        for daemon in self.daemons:
            daemon.ask_to_stop()
        deadline = time.monotonic() + timeout_s
        for daemon in self.daemons:
            if daemon.process is None:
                continue
            try:
                daemon.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                daemon.kill()

    def kill_all(self) -> None:
        """End all daemons at once."""
        for daemon in self.daemons:
            if daemon.is_running:
                daemon.kill()

    def data_of(self, index: int) -> DataSettings:
        """Return which share of the data a daemon has."""
        return msgspec.structs.replace(self._data, index=index)

    def _make_daemon(self, folder: Path, index: int) -> LocalDaemon:
        folder.mkdir(parents=True)
        identity = Identity.create(folder / "identity.key")
        (folder / "swarm.toml").write_text(swarm_toml(self.swarm))
        self._write_settings(folder, index, ())
        return LocalDaemon(index, folder, identity.peer_id)

    def _write_settings(self, folder: Path, index: int, bootstrap: tuple[str, ...]) -> None:
        settings = PeerFile(
            swarm=SwarmSettings(bootstrap=bootstrap),
            net=NetSettings(profile="local"),
            train=TrainSettings(enabled=self._trains),
            data=self.data_of(index),
            log=LogSettings(format="json"),
        )
        (folder / "peer.toml").write_text(peer_toml(settings))


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
