"""The demo around the daemons: folders, logs, results, plot, verdict. The whole of it is run by CI's `make demo`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from netsim.processes import command, demo
from netsim.processes.demo import MARKER, DemoOptions, demo_swarm
from netsim.processes.results import PeerResult, Results, RoundLine, plot_curves, summary, write_results
from netsim.processes.run_log import round_lines
from peer.cli.main import exit_code_of
from peer.config.pieces import check_pieces
from peer.config.swarm_file import swarm_id
from peer.errors import ConfigError

LINE = {
    "event": "round",
    "timestamp": "2026-01-01T00:00:00Z",
    "round": 3,
    "loss": None,
    "accuracy_local": 0.5,
    "accuracy_mixed": 0.6,
    "disagreement": 0.1,
    "num_mixed": 4,
    "num_expected": 4,
    "duration_s": 0.2,
    "level": "info",
}


def results(*, accuracy: float = 0.97, alone: float = 0.7, killed: bool = False) -> Results:
    rounds = tuple(msgspec.convert(LINE | {"round": round}, RoundLine) for round in range(5))
    peers = tuple(PeerResult(f"peer-{i}", accuracy, alone, 1000, 2000, 1 + killed, rounds) for i in range(3))
    return Results(
        swarm=demo_swarm(DemoOptions()),
        seed=1,
        seconds=12.0,
        centralised=0.98,
        peers=peers,
        killed_peer="peer-2" if killed else "",
        killed_at_round=2 if killed else None,
        restarted_at_round=4 if killed else None,
    )


def text_of(what: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_swarm_of_the_demo_can_be_run_with_few_and_many_peers() -> None:
    for num_peers in (2, 3, 8, 64):
        check_pieces(demo_swarm(DemoOptions(num_peers=num_peers)), Path("swarm.toml"))


def test_round_lines_of_a_log_with_torn_and_foreign_lines(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    good = json.dumps(LINE)
    log.write_bytes(f'{good}\n{{"event": "other"}}\nwarning: x\n[1]\n\xff\n{good}\n{good[:40]}'.encode("latin-1"))
    assert [line["round"] for line in round_lines(log)] == [3, 3]
    assert msgspec.convert(next(round_lines(log)), RoundLine).loss is None


def test_results_are_written_whole(tmp_path: Path) -> None:
    write_results(results(), tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["swarm_id"] == swarm_id(results().swarm).hex()
    assert len(document["peers"]) == 3
    assert document["peers"][0]["rounds"][4]["accuracy_mixed"] == 0.6


@pytest.mark.parametrize("killed", [False, True])
def test_plot_is_a_picture(tmp_path: Path, killed: bool) -> None:
    plot_curves(results(killed=killed), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_summary_says_whether_the_target_was_reached() -> None:
    assert "Every peer is within 2 points" in text_of(summary(results(), Path("out")))
    missed = text_of(summary(results(accuracy=0.95), Path("out")))
    assert "NOT every peer is within 2 points" in missed
    assert "-3.0" in missed
    assert "killed in round 2" in text_of(summary(results(killed=True), Path("out")))


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(results(), 0), (results(accuracy=0.95), 1), (results(accuracy=0.97, alone=0.975), 1)],
)
def test_exit_code_tells_the_verdict(outcome: Results, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run_demo", lambda _options, _console: outcome)
    assert exit_code_of(["demo"]) == code


def test_a_folder_that_is_not_ours_is_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    assert exit_code_of(["demo", "--out", str(tmp_path)]) == 2
    assert exit_code_of(["demo", "--out", str(precious)]) == 2
    assert precious.read_text() == "mine"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("choose another folder with --out" in line for line in lines)


def test_our_own_folder_is_emptied(tmp_path: Path) -> None:
    out = tmp_path / "out"
    demo._prepare(out)
    (out / "old").write_text("old")
    demo._prepare(out)
    assert [path.name for path in out.iterdir()] == [MARKER]
    with pytest.raises(ConfigError):
        demo._prepare(tmp_path)


@pytest.mark.parametrize("arguments", [["--peers", "1"], ["--rounds", "0"], ["--peers", "many"], ["--sed", "1"]])
def test_wrong_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["demo", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert command.demo.name == "demo"
