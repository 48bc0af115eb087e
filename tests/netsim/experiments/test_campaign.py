"""Campaigns: names of runs, what was done is not done again, what fails says how to repeat it, parts of array jobs."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from netsim.experiments import library, run_folder, running
from netsim.experiments.campaign import Shard, remove_parts, run_campaign, run_task, tasks_of
from netsim.experiments.run_folder import PART, TOTALS, digest, read_run
from netsim.scenario.reading import read_scenario, scenario_hash
from netsim.virtual.round_protocol import RoundProtocol
from netsim.virtual.watch import InvariantError, Watch
from peer.cli.main import exit_code_of
from peer.errors import ConfigError, StoreError
from tests.netsim.experiments.inline import Inline, inline_executor

TINY = """
name = "tiny"
seeds = [1, 2]
[peers]
count = 4
[topology]
family = { name = "complete" }
[rounds]
total = 2
[method]
local_steps = 1
batch_size = 4
[data]
samples_per_peer = 8
[measure]
test_samples = 50
[links]
latency_s = { name = "uniform", low = 0.01, high = 0.1 }
"""
RING = {"name": "ring"}


@pytest.fixture
def scenario(tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(running, "_executor", inline_executor)


def done(tasks, out, executor=None):
    """Run a campaign in this process; return the results and how many were reported."""
    told = []
    results = run_campaign(tasks, out, executor or Inline(), on_result=told.append, on_progress=lambda *_: None)
    assert sorted(result.task.folder for result in told) == sorted(result.task.folder for result in results)
    return results


def planned(scenario, shard=None, **grid):
    grid = {key.replace("__", "."): values for key, values in grid.items()}
    return tasks_of(read_scenario(scenario), grid, str(scenario), **({"shard": shard} if shard else {}))


# Plans ------------------------------------------------------------------------------------------------------------


def test_folders_are_named_by_scenario_hash_and_seed(scenario):
    first, second = planned(scenario)
    assert first.folder == f"tiny-{scenario_hash(read_scenario(scenario))[:12]}-s1"
    assert second.folder == first.folder[:-1] + "2"
    assert first.replay == f"murmuration sim {scenario} --seed 1"
    (lossy, _) = planned(scenario, links__loss=[0.25])
    assert lossy.folder != first.folder
    assert lossy.replay.endswith(" --seed 1 --set links.loss=0.25")
    assert lossy.title == "links.loss=0.25 seed 1"


def test_a_grid_is_all_combinations_and_what_is_the_same_only_once(scenario):
    tasks = planned(scenario, links__loss=[0.0, 0.1], peers__count=[4, 5, 6])
    assert len({task.folder for task in tasks}) == len(tasks) == 12
    assert len(planned(scenario, links__loss=[0.1, 0.1, 0.1])) == 2


@pytest.mark.parametrize("of", [1, 3, 11])
def test_shards_are_the_whole_without_overlap(scenario, of):
    whole = [task.folder for task in planned(scenario, links__loss=[0.0, 0.1, 0.2, 0.3, 0.4])]
    parts = [
        [task.folder for task in planned(scenario, Shard(number, of), links__loss=[0.0, 0.1, 0.2, 0.3, 0.4])]
        for number in range(1, of + 1)
    ]
    assert sorted(folder for part in parts for folder in part) == sorted(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/0", "1/2/3", "-1/2", ""])
def test_what_is_no_shard(text):
    with pytest.raises(ConfigError, match="--shard"):
        running.parse_shard(text)


def test_settings_of_the_command_line():
    assert running.parse_setting("links.loss = 0.1") == ("links.loss", 0.1)
    assert running.parse_setting("churn={name='renewal'}") == ("churn", {"name": "renewal"})
    assert running.parse_setting("protocol.name=modest") == ("protocol.name", "modest")
    for text in ("links.loss", "=3", ""):
        with pytest.raises(ConfigError, match="write key=value"):
            running.parse_setting(text)


# Runs -------------------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_done_again_and_what_was_killed_is(scenario, out):
    first, second = planned(scenario)
    done([first], out)
    before = (out / first.folder / TOTALS).stat().st_mtime_ns
    part = out / f"{second.folder}{PART}"
    part.mkdir()
    (part / TOTALS).write_text("half a line")
    results = done([first, second], out)
    assert [result.was_there for result in results] == [True, False]
    assert (out / first.folder / TOTALS).stat().st_mtime_ns == before
    assert sorted(path.name for path in out.iterdir()) == [first.folder, second.folder]
    assert read_run(out / second.folder).record.command == second.replay


def test_a_run_is_repeated_to_the_byte_and_not_by_another_seed(scenario, out):
    first, second = planned(scenario)
    done([first, second], out)
    done([first], out / "again")
    assert digest(out / first.folder) == digest(out / "again" / first.folder)
    assert digest(out / first.folder) != digest(out / second.folder)


def test_threads_make_no_difference(scenario, out):
    (task, _) = planned(scenario, peers__count=[7])
    assert run_task(task, out / "one", threads=1) is None
    assert run_task(task, out / "four", threads=4) is None
    assert digest(out / "one" / task.folder) == digest(out / "four" / task.folder)


def broken_for_seed_1(monkeypatch):
    progress = Watch.progress

    def break_down(watch, now):
        if watch._world.seed == 1:
            watch._fail(0, "a test says so")
        progress(watch, now)

    monkeypatch.setattr(Watch, "progress", break_down)


def test_a_run_that_fails_says_how_to_repeat_it_and_the_others_go_on(scenario, out, monkeypatch):
    broken_for_seed_1(monkeypatch)
    tasks = planned(scenario, links__loss=[0.0, 0.1])
    results = done(tasks, out)
    assert [result.failure is None for result in results] == [False, True, False, True]
    said = results[2].failure.error
    assert said.startswith("tiny, seed 1, at ")
    assert "a test says so" in said
    assert said.endswith(f"; to repeat it: murmuration sim {scenario} --seed 1 --set links.loss=0.1")
    assert "\n" not in said
    assert not results[2].failure.is_refusal
    assert sorted(path.name for path in out.iterdir()) == sorted(tasks[place].folder for place in (1, 3))
    assert issubclass(InvariantError, Exception)


def test_a_bug_of_the_simulated_code_is_one_line_too(scenario, out, monkeypatch):
    def stumble(protocol, shell):
        raise KeyError("a\nlong\nstory")

    monkeypatch.setattr(RoundProtocol, "round_done", stumble)
    (result, _) = done(planned(scenario), out)
    assert "KeyError: 'a\\nlong\\nstory'; to repeat it: murmuration sim" in result.failure.error
    assert "\n" not in result.failure.error
    assert list(out.parent.glob("runs*/*")) == []


def test_another_process_that_is_at_work_on_a_run_is_left_alone(scenario, out):
    first, second = planned(scenario)
    for task in (first, second):
        (out / f"{task.folder}{PART}").mkdir(parents=True)
        (out / f"{task.folder}{PART}" / TOTALS).touch()
    with (out / f"{first.folder}{PART}" / TOTALS).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_parts([first, second], out)
        assert [path.name for path in out.iterdir()] == [f"{first.folder}{PART}"]
        (result,) = done([first], out)
        assert "another process is at work on this run" in result.failure.error


def test_a_place_that_cannot_be_written_to(scenario, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*file/runs: "):
        done(planned(scenario), tmp_path / "file" / "runs")


def test_nothing_is_left_where_nothing_could_be_run(scenario, out):
    (result, _) = done(planned(scenario, peers__count=[1400], data__samples_per_peer=[0], topology__family=[RING]), out)
    assert result.failure.is_refusal
    assert result.failure.error.startswith(f"{scenario}: data: 1300 samples cannot be split among 1400 peers")
    assert not out.exists()


# The commands -----------------------------------------------------------------------------------------------------


def test_sim_runs_all_seeds_and_writes_a_report(scenario, out, capsys, inline):
    assert exit_code_of(["sim", str(scenario), "--out", str(out), "--set", "links.loss=0.1", "--no-open"]) == 0
    said = capsys.readouterr().out
    runs = sorted(path for path in out.iterdir() if path.is_dir())
    assert len(runs) == 2
    assert all(f"seed {seed}: {run}\n" in said for seed, run in zip((1, 2), runs, strict=True))  # paths are not wrapped
    assert f"Report: {out / 'tiny.html'}" in said
    assert "<html" in (out / "tiny.html").read_text()
    assert read_run(runs[0]).record.scenario["links"]["loss"] == 0.1
    assert exit_code_of(["sim", str(scenario), "--out", str(out), "--set", "links.loss=0.1", "--seed", "2"]) == 0
    assert "(was there)" in capsys.readouterr().out


def test_sim_replays_by_the_command_that_it_says(scenario, out, inline):
    assert exit_code_of(["sim", str(scenario), "--out", str(out), "--seed", "2", "--no-report"]) == 0
    (run,) = out.iterdir()
    command = read_run(run).record.command.split()
    assert command[0] == "murmuration"
    assert exit_code_of([*command[1:], "--out", str(out / "again"), "--no-report"]) == 0
    assert digest(run) == digest(out / "again" / run.name)


def test_sim_demo_at_a_smaller_size(out, capsys, inline):
    smaller = ["peers.count=12", "rounds.total=4", "timeline[0].at_round=2", "measure.test_samples=50"]
    options = [option for setting in smaller for option in ("--set", setting)]
    assert exit_code_of(["sim", "demo", "--out", str(out), *options, "--no-open"]) == 0
    (run,) = (path for path in out.iterdir() if path.is_dir())
    record = read_run(run).record
    assert record.outcome.reason == "rounds"
    assert [event.name for event in record.events] == ["hub-loss"]
    assert len(record.alive_after) == 11
    assert (out / "demo.html").stat().st_size > 10_000


def test_a_full_disk_is_one_line_and_leaves_nothing(scenario, out, capsys, monkeypatch, inline):
    def is_full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "_sync", is_full)
    assert exit_code_of(["sim", str(scenario), "--out", str(out), "--seed", "1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"murmuration: 1 of 1 runs failed; the first: cannot write {out}/tiny-")
    assert said.count("\n") == 1
    assert [path for path in out.parent.rglob("*") if path.name.endswith(PART)] == []


def test_sim_says_that_a_run_failed(scenario, out, capsys, monkeypatch, inline):
    broken_for_seed_1(monkeypatch)
    assert exit_code_of(["sim", str(scenario), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("murmuration: 1 of 2 runs failed; the first: tiny, seed 1, at ")
    assert said.count("\n") == 1
    assert len(list(out.iterdir())) == 1


def test_brackets_in_errors_are_no_markup(scenario, out, capsys, monkeypatch, inline):
    monkeypatch.setattr(Watch, "progress", lambda watch, now: watch._fail(0, "got [/dev/null] of [bold]"))
    assert exit_code_of(["sim", str(scenario), "--out", str(out), "--seed", "1"]) == 1
    assert "got [/dev/null] of [bold]" in capsys.readouterr().out


def test_sim_lists_and_shows(capsys):
    assert exit_code_of(["sim", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(library.names())
    assert "demo" in listed
    assert exit_code_of(["sim", "demo", "--show"]) == 0
    assert capsys.readouterr().out == (library.FOLDER / "demo.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["sim"], "name a scenario"),
        (["sim", "dmeo"], "no scenario 'dmeo' comes with murmuration"),
        (["sim", "nowhere.toml"], "nowhere.toml: no such file"),
        (["sim", "nowhere.toml", "--show"], "nowhere.toml: cannot be read: No such file"),
        (["sim", "{folder}", "--show"], "{folder}: cannot be read: Is a directory"),
        (["sim", "{folder}"], "{folder}: cannot be read: Is a directory"),
        (["sim", "demo", "--set", "links.loss"], "--set 'links.loss': write key=value"),
        (["sim", "demo", "--set", "links.lost=1"], "--set: links.lost is not a setting; did you mean links.loss?"),
        (["sim", "demo", "--set", "timeline[3].at_s=1"], "--set: timeline[3].at_s: there is no 3 here"),
        (["sim", "demo", "--set", "topology.family.m=0"], "demo: topology.family: graph family 'barabasi-albert'"),
        (["sim", "demo", "--shard", "3/2"], "--shard '3/2': write i/n"),
        (["sim", "demo", "--seed", "-1"], "Invalid value for '--seed'"),
        (["sim", "demo", "--seed", str(2**53 + 1)], "Invalid value for '--seed'"),
        (["sweep", "demo", "--over", "links.loss=0.1"], "--over 'links.loss=0.1': write a list of values"),
        (["sweep", "demo", "--over", "links.loss=[]"], "--over 'links.loss=[]': write a list of values"),
        (["sweep", "demo", "--over", "links.loss=[0.1, 1.1]"], "--set: links.loss = 1.1"),
        (["sim", "demo", "--out", "{folder}/file/runs"], "cannot write {folder}/file/runs: "),
    ],
)
def test_what_the_commands_refuse(arguments, complaint, tmp_path, capsys, inline):
    (tmp_path / "file").write_text("")
    code = exit_code_of([argument.format(folder=tmp_path) for argument in arguments])
    assert code == (1 if complaint.startswith("cannot write") else 2)
    said = capsys.readouterr().err
    assert said.startswith(f"murmuration: {complaint.format(folder=tmp_path)}")
    assert said.count("\n") == 1


def test_a_sweep_says_what_it_would_do_goes_on_where_it_stopped_and_writes_one_report(scenario, out, capsys, inline):
    grid = ["sweep", str(scenario), "--over", "links.loss=[0.0, 0.1]", "--out", str(out), "--no-report"]
    assert exit_code_of([*grid, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("  to do  " in line for line in lines)
    assert not out.exists()
    assert exit_code_of([*grid, "--shard", "1/2"]) == 0
    capsys.readouterr()
    assert exit_code_of([*grid, "--dry-run"]) == 0
    assert [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()] == ["done", "to do", "done", "to do"]
    assert exit_code_of(grid[:-1]) == 0
    assert capsys.readouterr().out.count("(was there)") == 2
    assert "<html" in (out / "tiny-sweep.html").read_text()
    assert len([path for path in out.iterdir() if path.is_dir()]) == 4


# Real processes ---------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_worker_processes_make_no_difference(scenario, out):
    arguments = ["sim", str(scenario), "--set", "seeds=[1, 2, 3, 4]", "--no-report"]
    assert exit_code_of([*arguments, "--out", str(out), "--workers", "4"]) == 0
    tasks = planned(scenario, seeds=[[1, 2, 3, 4]])
    assert len(tasks) == 4
    for task in tasks:
        assert run_task(task, out / "here") is None
        assert digest(out / task.folder) == digest(out / "here" / task.folder)


@pytest.mark.processes
def test_an_interrupt_leaves_what_was_done_and_nothing_else(scenario, out):
    """As a terminal does it: everybody in the group of processes gets the signal, workers at work and idle ones."""
    grid = ["--over", "rounds.total=[1, 1000000]", "--seed", "1", "--workers", "2"]
    command = [sys.executable, "-m", "peer.cli.main", "sweep", str(scenario), "--out", str(out), *grid]
    short, long = planned(scenario, rounds__total=[1, 1_000_000], seeds=[[1]])
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        deadline = time.monotonic() + 120
        while not ((out / short.folder).exists() and has_rows(out / f"{long.folder}{PART}")):
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.1)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
        assert (running.returncode, errors.strip()) == (130, "murmuration: interrupted")
        assert [path.name for path in out.iterdir()] == [short.folder]
        assert members(running.pid) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)


def has_rows(part):
    try:
        return (part / TOTALS).stat().st_size > 0
    except FileNotFoundError:
        return False


def members(session):
    """Return the command lines of the processes of a session that are still there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append((stat.parent / "cmdline").read_text())
    return found


@pytest.mark.processes
def test_a_dask_cluster_does_the_same(scenario, out):
    pytest.importorskip("distributed", reason="needs the extra `hpc`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        code = exit_code_of(
            ["sim", str(scenario), "--out", str(out), "--dask", "local", "--workers", "2", "--no-report"]
        )
    assert code == 0
    for task in planned(scenario):
        assert run_task(task, out / "here") is None
        assert digest(out / task.folder) == digest(out / "here" / task.folder)
