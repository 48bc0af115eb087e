"""The folder of snapshots: newest sound one first, bounded, and whole after whatever happens to the disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from peer.errors import IntegrityError, StoreError
from peer.store.atomic import Sink
from peer.store.snapshots import Kind, Origin, Snapshot, SnapshotStore, verify_file
from tests.store.power import FailingPower, FullDisk, names, plug_in_again

GENEROUS = 1 << 30


def content(round: int, size_bytes: int = 1000) -> bytes:
    return bytes([round]) * size_bytes


class Bytes:
    """Content of a file that is just these bytes."""

    def __init__(self, data: bytes) -> None:
        self.size_bytes = len(data)
        self._data = data

    def write(self, sink: Sink) -> None:
        sink.write(self._data)


def origin(round: int) -> Origin:
    return Origin(swarm=b"s" * 32, space=b"p" * 32, round=round, steps=10 * round)


def commit(store: SnapshotStore, round: int, kind: Kind = "checkpoint", size_bytes: int = 1000) -> Snapshot:
    return store.commit(kind, Bytes(content(round, size_bytes)), origin(round))


def new_store(folder: Path, **settings: object) -> SnapshotStore:
    return SnapshotStore(folder, **({"max_bytes": GENEROUS} | settings))  # type: ignore[arg-type]  # test shorthand


def rounds(store: SnapshotStore, kind: Kind = "checkpoint") -> list[int]:
    headers = sorted(store.folder.glob(f"{kind}-*.json"))
    return [json.loads(path.read_text())["round"] for path in headers]


def test_what_was_committed_is_found_by_the_next_process(tmp_path: Path) -> None:
    snapshot = commit(new_store(tmp_path), 3)
    found = new_store(tmp_path).newest_sound("checkpoint")
    assert found == snapshot
    assert found.path.read_bytes() == content(3)
    assert (found.header.round, found.header.steps) == (3, 30)
    assert found.header.swarm == (b"s" * 32).hex()
    assert new_store(tmp_path).newest_sound("snapshot") is None


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert new_store(tmp_path / "new" / "folder").newest_sound("snapshot") is None


def test_the_same_round_again_does_not_touch_the_first(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    first, second = commit(store, 5), commit(store, 5)
    assert first.path != second.path
    assert store.newest_sound("checkpoint") == second


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "missing", "header", "header_kind", "empty_header"])
def test_a_damaged_file_is_set_aside_for_the_one_before(tmp_path: Path, damage: str) -> None:
    store = new_store(tmp_path)
    first, second = commit(store, 1), commit(store, 2)
    header = second.path.with_suffix(".json")
    data = second.path.read_bytes()
    if damage == "flip":
        second.path.write_bytes(b"\xff" + data[1:])
    elif damage == "cut":
        second.path.write_bytes(data[:-1])
    elif damage == "grow":
        second.path.write_bytes(data + b"\0")
    elif damage == "missing":
        second.path.unlink()
    elif damage == "header":
        header.write_text(header.read_text().replace("sha256", "sha255"))
    elif damage == "header_kind":
        header.write_text(header.read_text().replace("checkpoint", "snapshot"))
    else:
        header.write_bytes(b"")
    heard: list[tuple[str, str]] = []
    store = new_store(tmp_path, on_damaged=lambda name, reason: heard.append((name, reason)))
    assert store.newest_sound("checkpoint") == first
    assert store.newest_sound("checkpoint") == first
    assert store.num_damaged == 1
    assert [name for name, _ in heard] == [second.name]
    assert second.name in heard[0][1]
    assert header.with_name(header.name + ".damaged").exists()
    assert commit(store, 3).name > second.name, "a name is never used again"


def test_all_damaged_means_none_and_one_is_kept_to_look_at(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for path in (commit(store, 1).path, commit(store, 2).path):
        path.write_bytes(b"")
    store = new_store(tmp_path)
    assert store.newest_sound("checkpoint") is None
    assert store.num_damaged == 2
    assert len(list(tmp_path.glob("*.safetensors.damaged"))) == 1


def test_an_unreadable_file_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    path = commit(new_store(tmp_path), 1).path
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError) as caught:
        new_store(tmp_path).newest_sound("checkpoint")
    assert not isinstance(caught.value, IntegrityError)


def test_only_the_newest_are_kept_of_each_kind(tmp_path: Path) -> None:
    store = new_store(tmp_path, keep=2)
    for turn in range(5):
        commit(store, turn)
        commit(store, turn, "snapshot")
    assert rounds(store) == [3, 4]
    assert rounds(store, "snapshot") == [3, 4]


def test_the_byte_bound_holds_and_spares_the_newest_of_each_kind(tmp_path: Path) -> None:
    store = new_store(tmp_path, keep=10, max_bytes=10_000)
    for turn in range(8):
        commit(store, turn, "snapshot")
        commit(store, turn, size_bytes=1000)
        assert store.size_bytes() <= 10_000
    full = rounds(store) + rounds(store, "snapshot")
    with pytest.raises(StoreError, match=r"no room .* of `store.max_bytes`"):
        commit(store, 9, size_bytes=5000)
    assert rounds(store) == [7]
    assert rounds(store, "snapshot") == [7]
    assert len(full) > 2


def test_pruning_never_takes_the_last_sound_one(tmp_path: Path) -> None:
    store = new_store(tmp_path, keep=3)
    sound = commit(store, 1)
    for turn in (2, 3):
        commit(store, turn).path.write_bytes(b"damaged meanwhile" * 100)
    store = new_store(tmp_path, keep=1, max_bytes=7000)
    store.prune()
    assert store.newest_sound("checkpoint") == sound
    assert commit(store, 4, size_bytes=1500).header.round == 4
    assert not list(tmp_path.glob("*.damaged")), "room is made at their cost first"


def test_cleaning_removes_what_interrupted_writes_left(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    kept = commit(store, 1)
    (tmp_path / ".checkpoint-0000000002.safetensors.0123456789abcdef.tmp").write_bytes(b"half")
    (tmp_path / "checkpoint-0000000002.safetensors").write_bytes(b"no header yet")
    (tmp_path / "snapshot-0000000003.json").write_bytes(b"no tensors any more")
    (tmp_path / "notes.txt").write_bytes(b"not ours")
    assert store.clean() == 3
    assert names(tmp_path) == [kept.name + ".json", kept.name + ".safetensors", "notes.txt"]


@pytest.mark.parametrize("free_bytes", [0, 500, 1000, 1100])
def test_a_full_disk_costs_the_new_file_only(tmp_path: Path, free_bytes: int) -> None:
    first = commit(new_store(tmp_path), 1)
    before = names(tmp_path)
    store = new_store(tmp_path, disk=FullDisk(free_bytes, errno.ENOSPC))
    with pytest.raises(StoreError, match="the disk is full"):
        commit(store, 2)
    assert names(tmp_path) == before
    assert store.newest_sound("checkpoint") == first


def test_power_may_fail_after_any_call(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    disk = FailingPower(folder)
    store = new_store(folder, keep=1, disk=disk)
    num_calls = []
    for turn in (1, 2, 3):
        commit(store, turn)
        num_calls.append(len(disk.calls))
    for call, found in enumerate(zip(disk.strict, disk.eager, strict=True), start=1):
        promised = max((i for i, done in enumerate(num_calls, start=1) if done <= call), default=0)
        for variant, files in enumerate(found):
            after = tmp_path / f"after-{call}-{variant}"
            plug_in_again(after, files)
            again = new_store(after)
            again.clean()
            newest = again.newest_sound("checkpoint")
            assert (newest.header.round if newest else 0) >= promised
            if newest is not None:
                assert newest.path.read_bytes() == content(newest.header.round)


def test_verify_file_reads_to_the_end(tmp_path: Path) -> None:
    path = commit(new_store(tmp_path), 1, size_bytes=(1 << 20) + 7).path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    sha256 = new_store(tmp_path).newest_sound("checkpoint")
    assert sha256 is not None
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="SHA-256"):
        verify_file(path, len(data), bytes.fromhex(sha256.header.sha256))


def test_our_own_misuse_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep"):
        new_store(tmp_path, keep=0)
