from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from peer.cli.main import exit_code_of
from peer.cli.status_view import bytes_, decode, seconds, view
from peer.control.client import NoAnswerError
from peer.control.status import SavedStatus, Status, TrainerStatus
from tests.control.a_status import PEER, a_status


def shown(status: Status) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(view(status))
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO


@pytest.fixture
def device(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    assert exit_code_of(["init", str(tmp_path)]) == 0
    capsys.readouterr()
    monkeypatch.setattr("peer.cli.status.ask", lambda _socket, _path: msgspec.json.encode(a_status()))
    return tmp_path


def test_json_is_the_document_as_it_came(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["status", str(device), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["round"] == 7


def test_a_table_without_a_terminal(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["status", str(device)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "94.2 % mixed, 91.3 % after own steps" in out


def test_watch_goes_on_until_interrupted(
    device: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = iter([None, None])

    def pause(_seconds: float) -> None:
        if next(pauses, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr("peer.cli.status.time.sleep", pause)
    assert exit_code_of(["status", str(device), "--json", "--watch"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    pauses = iter([None, None])
    assert exit_code_of(["status", str(device), "--watch"]) == 0
    assert "7 of 30" in capsys.readouterr().out


def test_no_daemon(device: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert exit_code_of(["status", str(device)]) == 1
    assert capsys.readouterr().err == (
        f"murmuration: no daemon runs here ({device}/control.sock); start it with `murmuration run`\n"
    )


def test_what_people_see() -> None:
    text = shown(a_status())
    for part in (
        PEER,
        "digits (abababababababab)",
        "gathering",
        "7 of 30",
        "94.2 % mixed",
        "0.8 s mean, 1.5 s most",
        "1 of 2 linked",
        "8 members, 3 links",
        "1.2 MB in, 999 B out",
        "busy, pid 4712, on cpu, 300.0 MB, 2 restarts",
        "round 6, 3.0 s ago",
        "wrong_hash 2",
        "pid 4711, up 75.2 s, murmuration/0.1.0",
    ):
        assert part in text
    assert any(line.split() == ["ighbourA", "up", "7", "0", "0.4", "s", "yes"] for line in text.splitlines())
    assert any(line.split() == ["ighbourB", "down", "-", "-", "-", "no"] for line in text.splitlines())


def test_an_address_is_on_one_line_however_narrow_the_screen() -> None:
    address = "/ip4/127.0.0.1/tcp/33993/p2p/" + PEER
    console = Console(width=40, file=io.StringIO())
    console.print(view(a_status(addresses=(address,))), crop=False)
    assert address in console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # the StringIO


def test_trouble_is_shown() -> None:
    text = shown(
        a_status(
            state="waiting",
            waiting_for="the trainer, 4 s",
            trainer=TrainerStatus(state="backoff", restarts=3, last_error="killed by signal 9 (out of memory?)"),
            saved=SavedStatus(error="the disk is full"),
        )
    )
    assert "waiting, for the trainer, 4 s" in text
    assert "last error: killed by signal 9 (out of memory?)" in text
    assert "FAILED: the disk is full" in text


def test_nothing_known_yet() -> None:
    bare = Status(peer=PEER, swarm="s", swarm_id="", agent="", pid=1, uptime_s=0.0, state="starting")
    assert "- mixed, - after own steps" in shown(bare)
    assert "nothing yet" in shown(bare)


def test_texts_are_neither_markup_nor_obeyed() -> None:
    text = shown(a_status(agent="[red]x[/red]\x1b[2J", trainer=TrainerStatus(last_error="[bold]a\nb")))
    assert r"[red]x[/red]\x1b[2J" in text
    assert r"[bold]a\nb" in text


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"schema": 1}', b"\xff", b'{"schema": "x"}'])
def test_an_answer_that_cannot_be_read(answer: bytes) -> None:
    with pytest.raises(NoAnswerError, match="cannot be read"):
        decode(answer)


def test_a_newer_daemon() -> None:
    document = msgspec.to_builtins(a_status())
    assert decode(msgspec.json.encode(document | {"added_later": 1})) == a_status()
    with pytest.raises(NoAnswerError, match="schema 2, this command 1"):
        decode(msgspec.json.encode(document | {"schema": 2}))


def test_units() -> None:
    assert [bytes_(value) for value in (0, 999, 1000, 1_500_000, 2 * 10**9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.5 MB",
        "2.0 GB",
    ]
    assert [seconds(value) for value in (None, 0.04, 119.0, 120.0, 7200.0, 200_000.0)] == [
        "-",
        "0.0 s",
        "119.0 s",
        "2 min",
        "2 h",
        "2 d",
    ]
