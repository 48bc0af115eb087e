from __future__ import annotations

from pathlib import Path

import pytest

from peer.address_book import MAX_MEMBERS, AddressBook
from peer.core.messages import PeerId

A, B = PeerId("a"), PeerId("b")


def test_what_was_written_is_read_by_the_next_life(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    AddressBook(path).write({A: ("/one", "/two"), B: ()})
    assert AddressBook(path).read() == ["/one", "/two"]


def test_no_book_is_no_complaint(tmp_path: Path) -> None:
    assert AddressBook(tmp_path / "addresses.json").read() == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b'["a"]', b"\xff" * 10])
def test_damaged_book_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "addresses.json"
    path.write_bytes(content)
    assert AddressBook(path).read() == []


def test_the_same_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    book = AddressBook(path)
    book.write({A: ("/one",)})
    path.unlink()
    book.write({A: ("/one",)})
    assert not path.exists()
    book.write({A: ("/other",)})
    assert AddressBook(path).read() == ["/other"]


def test_book_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    AddressBook(path).write({PeerId(f"p{i:04}"): (f"/{i}",) for i in range(1000)})
    assert len(AddressBook(path).read()) == MAX_MEMBERS


def test_disk_that_refuses_costs_the_book_only(tmp_path: Path) -> None:
    AddressBook(tmp_path / "missing" / "addresses.json").write({A: ("/one",)})
