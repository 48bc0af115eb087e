"""The committed pages are what the code says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.reference import PAGES as WORLD_PAGES
from peer.reference import PAGES as PEER_PAGES
from peer.reference import write_pages

PAGES = {**PEER_PAGES, **WORLD_PAGES}

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_page_is_not_stale(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_the_generator_writes_all_pages(tmp_path: Path) -> None:
    write_pages(PAGES, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(PAGES)
