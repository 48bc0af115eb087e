"""Where members were last seen, on disk: what a daemon dials at its start besides the bootstrap addresses.

A hint, nothing more: a stale or damaged book costs a few dials. So it is written without haste, and read without
complaint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from peer.core.messages import MAX_ADDRESSES, PeerId
from peer.errors import StoreError
from peer.store.atomic import atomic_write

MAX_MEMBERS = 64
MAX_BYTES = 256 * 1024

log = structlog.get_logger()


class AddressBook:
    """Addresses by member in the JSON file at `path`; of a larger swarm, those of `MAX_MEMBERS` members."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, list[str]] = {}

    def read(self) -> list[str]:
        """Return all addresses in the book; none when there is no book that can be read."""
        try:
            with self._path.open("rb") as file:
                book = msgspec.json.decode(file.read(MAX_BYTES), type=dict[str, list[str]])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            log.warning("address_book_unreadable", path=str(self._path), error=str(error))
            return []
        return [address for addresses in book.values() for address in addresses[:MAX_ADDRESSES]]

    def write(self, members: Mapping[PeerId, Sequence[str]]) -> None:
        """Put these members into the book, unless it says the same already. A full disk is no reason to complain."""
        book = {str(peer): list(addresses) for peer, addresses in sorted(members.items())[:MAX_MEMBERS] if addresses}
        if book == self._written:
            return
        try:
            atomic_write(self._path, msgspec.json.encode(book))
        except StoreError as error:
            log.info("address_book_not_written", error=str(error))
        else:
            self._written = book
