"""`murmuration run`: what can be wrong is said before the network is imported; Ctrl-C saves, twice does not."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from peer.cli.main import exit_code_of
from peer.errors import ConfigError
from topology.families import registry as families

Started = list[tuple[Any, ...]]


@pytest.fixture
def device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert exit_code_of(["init", str(tmp_path)]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Put a fake daemon in the place of the real one; return the arguments that it is started with."""
    calls: Started = []

    async def run_daemon(*args: object) -> None:
        calls.append(args)
        await trio.lowlevel.checkpoint()

    fake = types.ModuleType("peer.daemon")
    fake.run_daemon = run_daemon  # type: ignore[attr-defined]  # a module made up for this test
    monkeypatch.setitem(sys.modules, "peer.daemon", fake)
    monkeypatch.setattr("peer.logs.configure_logs", lambda _settings: None)
    return calls


def test_the_daemon_gets_what_the_files_say(device: Path, started: Started) -> None:
    assert exit_code_of(["run", str(device)]) == 0
    ((peer, swarm, identity),) = started
    assert peer.store.folder == device / "state"
    assert swarm.name == "digits"
    assert identity.peer_id.startswith("12D3KooW")


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("peer.toml", "[net]\nmax_link = 3\n", "peer.toml: net.max_link is not a setting; did you mean net.max_links?"),
        ("peer.toml", '[swarm]\nfile = "x.toml"\n', "x.toml: no such file; `murmuration init` makes one"),
        ("swarm.toml", "name = \n", "swarm.toml:1: not valid TOML: invalid value"),
        (
            "swarm.toml",
            'name = "x"\ntask = { name = "digits-mlp" }\ntopology = { name = "rings" }\n',
            "swarm.toml: topology: unknown graph family 'rings'; did you mean 'ring'? "
            f"(known: {', '.join(families.names())})",
        ),
        ("identity.key", "x", "identity.key: not a Murmuration key file"),
    ],
)
def test_mistakes_are_said_before_anything_starts(
    device: Path, started: Started, capsys: pytest.CaptureFixture[str], file: str, text: str, line: str
) -> None:
    (device / file).write_text(text)
    assert exit_code_of(["run", str(device)]) == 2
    assert capsys.readouterr().err == f"murmuration: {device}/{line}\n"
    assert not started


def test_a_key_that_others_may_read(device: Path, started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    (device / "identity.key").chmod(0o644)
    assert exit_code_of(["run", str(device)]) == 2
    assert capsys.readouterr().err.endswith(f"run: chmod 600 {device}/identity.key\n")
    assert not started


def test_an_error_of_the_running_daemon(
    device: Path, started: Started, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_daemon(*_args: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ConfigError("net.listen: port in use")

    monkeypatch.setattr(sys.modules["peer.daemon"], "run_daemon", run_daemon)
    assert exit_code_of(["run", str(device)]) == 2
    assert capsys.readouterr().err == "murmuration: net.listen: port in use\n"


SERVE = """
import trio
from functools import partial
from peer.cli.interrupt import until_interrupted
from peer.config.peer_file import LogSettings
from peer.logs import configure_logs

async def serve(saving):
    print("serving", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            print("saving", flush=True)
            await saving()
            print("saved", flush=True)

configure_logs(LogSettings())
trio.run(until_interrupted, partial(serve, trio.{saving}))
print("clean", flush=True)
"""


@contextlib.contextmanager
def serving(saving: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVE.replace("{saving}", saving)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert next_line(process) == "serving"
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_it_save(number: signal.Signals) -> None:
    with serving("lowlevel.checkpoint") as process:
        process.send_signal(number)
        assert [next_line(process) for _ in range(3)] == ["saving", "saved", "clean"]
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with serving("sleep_forever") as process:
        process.send_signal(number)
        assert next_line(process) == "saving"
        process.send_signal(number)
        assert next_line(process) == ""
        assert process.wait(timeout=10) == 130
