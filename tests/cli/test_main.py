"""The command line as a whole: what it imports, how it complains, how other packages join."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
import trio

from peer.cli import main as cli_main
from peer.cli.main import VERBS, exit_code_of
from peer.errors import ConfigError, NetError


def loaded_by(program: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after `program`."""
    program += "; print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", f"import sys; {program}"], capture_output=True, text=True, check=True)
    return set(done.stdout.partition("loaded:")[2].split())


def test_help_imports_nothing_heavy() -> None:
    loaded = loaded_by("from peer.cli.main import exit_code_of; exit_code_of(['--help'])")
    assert "click" in loaded
    assert not loaded & {
        "torch",
        "libp2p",
        "trio",
        "numpy",
        "networkx",
        "starlette",
        "hypercorn",
        "rich",
        "cryptography",
    }


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_imports_nothing_heavy(verb: str) -> None:
    assert not loaded_by(f"from peer.cli.main import exit_code_of; exit_code_of(['{verb}', '--help'])") & {
        "torch",
        "libp2p",
        "numpy",
        "rich",
    }


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["--help"]) == 0
    listed = capsys.readouterr().out
    for verb, (_, line) in VERBS.items():
        assert verb in listed
        assert line in listed
    assert exit_code_of([]) == 0
    assert capsys.readouterr().out == listed


@pytest.mark.parametrize("verb", VERBS)
def test_the_line_in_the_list_is_true(verb: str) -> None:
    """The table of verbs repeats the first line of each module, which it does not import."""
    module = VERBS[verb][0].partition(":")[0]
    docstring = __import__(module, fromlist=["_"]).__doc__
    assert docstring.splitlines()[0] == VERBS[verb][1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["--version"]) == 0
    assert capsys.readouterr().out.startswith("murmuration 0.")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["statsu"], "no such command: statsu; did you mean `status`? (see `murmuration --help`)"),
        (["run", "--fast"], "No such option '--fast'. (see `murmuration run --help`)"),
        (["run", "a", "b"], "Got unexpected extra argument (b) (see `murmuration run --help`)"),
        (["--fast"], "No such option '--fast'. (see `murmuration --help`)"),
    ],
)
def test_usage_errors_are_one_line(capsys: pytest.CaptureFixture[str], args: list[str], line: str) -> None:
    assert exit_code_of(args) == 2
    captured = capsys.readouterr()
    assert captured.err.replace("No such option: --fast", "No such option '--fast'.") == f"murmuration: {line}\n"
    assert captured.out == ""


def test_an_unlikely_verb_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["qqqqqq"]) == 2
    assert "known: " in capsys.readouterr().err


def raising(error: BaseException) -> click.Command:
    @click.command()
    def verb() -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("peer.toml: wrong"), 2, "murmuration: peer.toml: wrong\n"),
        (NetError("gone"), 1, "murmuration: gone\n"),
        (ExceptionGroup("a", [ExceptionGroup("b", [ConfigError("deep")])]), 2, "murmuration: deep\n"),
        (KeyboardInterrupt(), 130, "murmuration: interrupted\n"),
    ],
)
def test_our_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda *_: raising(error))
    assert exit_code_of(["run"]) == code
    assert capsys.readouterr().err.lstrip("\n") == line  # click ends the line on which ^C stands


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ExceptionGroup("mixed", [ConfigError("ours"), ZeroDivisionError()])]
)
def test_a_bug_is_a_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda *_: raising(error))
    with pytest.raises(type(error)):
        exit_code_of(["run"])


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A one-file package with a verb `greet`, and one whose verb cannot be found."""
    (tmp_path / "greeting.py").write_text(
        '"""Greet the swarm.\n\nMore."""\nimport click\n\n@click.command()\ndef greet():\n    click.echo("hello")\n'
    )
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[murmuration.commands]\ngreet = greeting:greet\nbroken = nowhere:at_all\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("third_party")
def test_verbs_of_other_packages_join(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["--help"]) == 0
    listed = capsys.readouterr().out
    assert "Greet the swarm." in listed
    assert "(nowhere:at_all cannot be found)" in listed
    assert "greeting" not in sys.modules
    assert exit_code_of(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"
    assert exit_code_of(["broken"]) == 1
    assert capsys.readouterr().err == (
        "murmuration: `broken` cannot be loaded from nowhere:at_all: No module named 'nowhere'\n"
    )
    assert exit_code_of(["gret"]) == 2
    assert "did you mean `greet`?" in capsys.readouterr().err


def test_trio_groups_are_looked_into(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise ConfigError("control.http: port in use")

    async def daemon() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    @click.command()
    def verb() -> None:
        trio.run(daemon)

    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda *_: verb)
    assert exit_code_of(["run"]) == 2
    assert capsys.readouterr().err == "murmuration: control.http: port in use\n"
