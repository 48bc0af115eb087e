"""The newest admitted snapshot of each neighbour: what a mixing event reads.

Bounded by the number of neighbours. A snapshot that is replaced or forgotten while a mixing event reads it is kept
until that event is over: its file must not vanish under the trainer.
"""

from __future__ import annotations

import msgspec

from peer.core.exchange_events import MixSlot
from peer.core.messages import Manifest, PeerId


class Entry(msgspec.Struct, frozen=True):
    """An admitted snapshot and when it was first offered (seconds of the caller's clock)."""

    manifest: Manifest
    offered_at: float


class Inbox:
    """Newest admitted snapshot per author, in `entries`: look, and change them by the methods."""

    __slots__ = ("_mixed", "_pinned", "_waiting", "entries")

    def __init__(self) -> None:
        self.entries: dict[PeerId, Entry] = {}
        self._mixed: tuple[MixSlot, ...] = ()
        self._pinned: dict[PeerId, Manifest] = {}  # the same by author; made when it is needed first
        self._waiting: dict[Manifest, PeerId] = {}  # droppable when the mixing event is over

    def put(self, author: PeerId, entry: Entry) -> Manifest | None:
        """Store the author's newest snapshot; return the one that it replaces."""
        old = self.entries.get(author)
        self.entries[author] = entry
        if old is None:
            return None
        assert old.manifest.seq < entry.manifest.seq
        return old.manifest

    def remove(self, author: PeerId) -> None:
        """Forget the author's snapshot."""
        self.entries.pop(author, None)

    def keeps(self, author: PeerId, manifest: Manifest) -> bool:
        """Say whether a snapshot that was replaced, removed or refused is in use; if so, `unpin` will name it."""
        if self._mixed and self._is_pinned(author, manifest):
            self._waiting[manifest] = author
            return True
        entry = self.entries.get(author)
        return entry is not None and entry.manifest == manifest

    def get(self, author: PeerId) -> Entry | None:
        """Return the author's newest admitted snapshot."""
        return self.entries.get(author)

    def pin(self, slots: tuple[MixSlot, ...]) -> None:
        """Keep the files of these until `unpin`."""
        self._mixed = slots

    def _is_pinned(self, author: PeerId, manifest: Manifest) -> bool:
        if not self._pinned:
            self._pinned = {slot.peer: slot.manifest for slot in self._mixed}
        return self._pinned.get(author) == manifest

    def unpin(self) -> list[Manifest]:
        """End the protection of `pin`; return what was replaced meanwhile and is not in use again."""
        self._mixed = ()
        if not self._pinned:
            return []
        self._pinned = {}
        waiting, self._waiting = self._waiting, {}
        return [manifest for manifest, author in waiting.items() if not self.keeps(author, manifest)]
