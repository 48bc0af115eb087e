from __future__ import annotations

from pathlib import Path

import pytest

from peer.core.messages import Manifest
from peer.errors import StoreError
from peer.incarnation import MAX_INCARNATION, SEQ_PER_INCARNATION, next_incarnation
from tests.core.harness import manifest


def test_each_start_has_a_larger_number(tmp_path: Path) -> None:
    path = tmp_path / "incarnation"
    assert [next_incarnation(path) for _ in range(3)] == [1, 2, 3]


def test_number_is_above_what_others_have_seen(tmp_path: Path) -> None:
    path = tmp_path / "incarnation"
    assert next_incarnation(path, above=41) == 42
    assert next_incarnation(path, above=7) == 43


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"1.5", b"\xff"])
def test_damaged_file_is_not_guessed_at(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "incarnation"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        next_incarnation(path)
    assert path.read_bytes() == content


def test_largest_sequence_number_fits_the_wire_format(tmp_path: Path) -> None:
    path = tmp_path / "incarnation"
    path.write_text(str(MAX_INCARNATION))
    with pytest.raises(StoreError, match="more than the format allows"):
        next_incarnation(path)
    largest: Manifest = manifest("a", seq=MAX_INCARNATION * SEQ_PER_INCARNATION + SEQ_PER_INCARNATION - 1)
    assert largest.seq < 2**53
