from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from netsim.experiments import run_folder
from netsim.experiments.run_folder import RECORD, TOTALS, RunRecord, RunWriter, digest, read_run
from peer.errors import ConfigError, StoreError
from tests.netsim.experiments.synthetic import TIMING, write_synthetic


def columns(num_peers: int = 3, **changes: Any) -> dict[str, Any]:
    return {
        "peer": np.arange(num_peers),
        "round": np.zeros(num_peers, dtype=int),
        "accuracy": np.full(num_peers, 0.5),
        "alive": np.ones(num_peers, dtype=bool),
        "degree": np.full(num_peers, 2),
        "bytes_in": np.zeros(num_peers, dtype=int),
        "bytes_out": np.zeros(num_peers, dtype=int),
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_synthetic(tmp_path / "run", num_peers=12, num_instants=6)


def record_and_row(folder: Path) -> tuple[RunRecord, run_folder.TotalsRow]:
    run = read_run(folder)
    return run.record, run.totals[0]


def test_what_was_written_is_read(tmp_path: Path, folder: Path) -> None:
    record, row = record_and_row(folder)
    with RunWriter(tmp_path / "again") as writer:
        writer.row(row, columns(accuracy=np.array([0.25, math.nan, 1.0])))
        writer.row(msgspec.structs.replace(row, at_s=1.5, accuracy_mean=None), columns(1, bytes_in=np.array([2**40])))
        writer.finish(record, TIMING)
    run = read_run(tmp_path / "again")
    assert run.record == record
    assert run.timing == TIMING
    assert [(line.at_s, line.accuracy_mean) for line in run.totals] == [(0.0, row.accuracy_mean), (1.5, None)]
    table = run.peers().to_pydict()
    assert table["at_s"] == [0.0, 0.0, 0.0, 1.5]
    assert table["peer"] == [0, 1, 2, 0]
    assert table["accuracy"][::2] == [0.25, 1.0]
    assert math.isnan(table["accuracy"][1])
    assert table["bytes_in"] == [0, 0, 0, 2**40]
    assert table["alive"] == [True] * 4


def test_an_instant_at_which_nobody_is_measured_is_a_row_of_totals_only(tmp_path: Path, folder: Path) -> None:
    record, row = record_and_row(folder)
    with RunWriter(tmp_path / "again") as writer:
        writer.row(row, {name: np.empty(0) for name in columns()})
        writer.finish(record, TIMING)
    run = read_run(tmp_path / "again")
    assert len(run.totals) == 1
    assert run.peers().num_rows == 0


def test_many_row_groups_read_as_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "ROW_GROUP", 20)
    split = write_synthetic(tmp_path / "split", num_peers=12, num_instants=6)
    import pyarrow.parquet as pq

    assert pq.ParquetFile(split / run_folder.PEERS).num_row_groups > 2
    monkeypatch.undo()
    whole = write_synthetic(tmp_path / "whole", num_peers=12, num_instants=6)
    assert str(read_run(split).peers().to_pydict()) == str(read_run(whole).peers().to_pydict())  # nan != nan


def test_the_same_run_is_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    again = write_synthetic(tmp_path / "elsewhere" / "other-name", num_peers=12, num_instants=6)
    assert digest(again) == digest(folder)
    other = write_synthetic(tmp_path / "other", num_peers=12, num_instants=6, seed=2)
    assert digest(other) != digest(folder)


@pytest.mark.parametrize("name", run_folder.MEASURED)
def test_every_measured_file_enters_the_digest(folder: Path, name: str) -> None:
    before = digest(folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert digest(folder) != before


def test_timing_does_not_enter_the_digest(folder: Path) -> None:
    before = digest(folder)
    (folder / run_folder.TIMING).unlink()
    assert digest(folder) == before
    assert read_run(folder).timing is None


def test_a_folder_is_there_only_when_it_is_whole(tmp_path: Path, folder: Path) -> None:
    record, row = record_and_row(folder)
    target = tmp_path / "deep" / "target"
    with RunWriter(target) as writer:
        writer.row(row, columns())
        assert not target.exists()
        lines = (tmp_path / "deep" / "target.part" / TOTALS).read_bytes().splitlines()
        assert json.loads(lines[-1])["at_s"] == 0.0  # a watcher sees it at once
        writer.finish(record, TIMING)
        assert target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_an_interrupt_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    _, row = record_and_row(folder)

    def interrupted() -> None:
        with RunWriter(tmp_path / "target") as writer:
            writer.row(row, columns())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.glob("target*"))


def test_leaving_without_finishing_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    with RunWriter(tmp_path / "target") as writer:
        writer.row(record_and_row(folder)[1], columns())
    assert not list(tmp_path.glob("target*"))


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path, folder: Path) -> None:
    record, row = record_and_row(folder)
    shutil.copytree(folder, tmp_path / "target.part")
    (tmp_path / "target.part" / "more").touch()
    with RunWriter(tmp_path / "target") as writer:
        writer.row(row, columns())
        writer.finish(record, TIMING)
    assert len(read_run(tmp_path / "target").totals) == 1
    assert not (tmp_path / "target" / "more").exists()


def test_two_writers_of_one_run_do_not_mix(tmp_path: Path, folder: Path) -> None:
    record, row = record_and_row(folder)
    with RunWriter(tmp_path / "target") as writer:
        with pytest.raises(ConfigError, match=r"target.part: another process is at work"):
            RunWriter(tmp_path / "target")
        writer.row(row, columns())
        writer.finish(record, TIMING)
    assert len(read_run(tmp_path / "target").totals) == 1


def test_results_are_not_overwritten(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is there already"):
        RunWriter(folder)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*file"):
        RunWriter(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    "wrong",
    [
        {"peer": np.arange(2)},
        {"more": np.arange(3)},
    ],
)
def test_columns_have_to_fit(tmp_path: Path, folder: Path, wrong: dict[str, Any]) -> None:
    _, row = record_and_row(folder)
    with RunWriter(tmp_path / "target") as writer, pytest.raises(ValueError, match=r"columns"):
        writer.row(row, columns(**wrong))


def test_the_record_has_a_line_for_each_peer_and_event(folder: Path) -> None:
    text = (folder / RECORD).read_text()
    assert sum(line.startswith('    {"id":') for line in text.splitlines()) == 12
    assert json.loads(text)["events"][0]["name"] == "hub-loss"


def _spoilt(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / RECORD).read_text()) | changes
    (folder / RECORD).write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format_version": 2}, "has format 2, this murmuration reads 1"),
        ({"seed": "one"}, r"is not what a run leaves: Expected `int`, got `str` - at `\$.seed`"),
        ({"edges_before": [[0, 99]]}, "edges_before names peer 99, but there are 12"),
        ({"edges_after": [[0]]}, "edges_after names peer -1"),
        ({"alive_after": [-1]}, "alive_after names peer -1"),
        ({"events": [{"at_s": 0, "name": "x", "text": "", "peers": [12]}]}, "events names peer 12"),
    ],
)
def test_a_foreign_record_is_one_line(folder: Path, changes: dict[str, Any], complaint: str) -> None:
    _spoilt(folder, **changes)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    assert RECORD in str(caught.value)


def test_what_is_no_run_is_one_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not the folder of a run: it has no run.json"):
        read_run(tmp_path)
    (tmp_path / "a.part").mkdir()
    with pytest.raises(ConfigError, match=r"is a run that was not finished"):
        read_run(tmp_path / "a.part")
    (folder / TOTALS).write_bytes(b'{"at_s": 1\n')
    with pytest.raises(ConfigError, match=r"totals.jsonl: is not what a run leaves"):
        read_run(folder)
    (folder / TOTALS).unlink()
    with pytest.raises(ConfigError, match=r"totals.jsonl: cannot be read"):
        read_run(folder)
    (folder / RECORD).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"run.json: is not what a run leaves"):
        read_run(folder)


def test_a_foreign_table_of_peers_is_one_line(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = read_run(folder)
    pq.write_table(pa.table({"peer": [1]}), folder / run_folder.PEERS)
    with pytest.raises(ConfigError, match=r"has not the columns of format 1: at_s, peer, round"):
        run.peers()
    (folder / run_folder.PEERS).write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match=r"peers.parquet: cannot be read") as caught:
        run.peers()
    assert "\n" not in str(caught.value)
