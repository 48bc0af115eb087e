"""The newest admitted snapshot of each neighbour: what a mixing event reads.

Bounded by the number of neighbours. A snapshot that is replaced or forgotten while a mixing event reads it is kept
until that event is over: its file must not vanish under the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass

from peer.core.messages import Manifest, PeerId


@dataclass(frozen=True)
class Entry:
    """An admitted snapshot and when it was first offered (seconds of the caller's clock)."""

    manifest: Manifest
    offered_at: float


class Inbox:
    """Newest admitted snapshot per author; `take_dropped` returns the files that nobody needs any more."""

    def __init__(self) -> None:
        self._entries: dict[PeerId, Entry] = {}
        self._pinned: set[Manifest] = set()
        self._dropped: list[Manifest] = []

    def put(self, author: PeerId, manifest: Manifest, offered_at: float) -> bool:
        """Store unless what is there is as new; return whether it was stored."""
        old = self._entries.get(author)
        if old is not None and old.manifest.seq >= manifest.seq:
            self._dropped.append(manifest)
            return False
        self._entries[author] = Entry(manifest, offered_at)
        if old is not None:
            self._dropped.append(old.manifest)
        return True

    def remove(self, author: PeerId) -> None:
        """Forget the author's snapshot, if there is one."""
        entry = self._entries.pop(author, None)
        if entry is not None:
            self._dropped.append(entry.manifest)

    def discard(self, manifest: Manifest) -> None:
        """Have the file of a snapshot that never got in removed (refused by admission, overtaken)."""
        self._dropped.append(manifest)

    def get(self, author: PeerId) -> Entry | None:
        """Return the author's newest admitted snapshot."""
        return self._entries.get(author)

    def items(self) -> list[tuple[PeerId, Entry]]:
        """All entries, sorted by author."""
        return sorted(self._entries.items())

    def pin(self, manifests: set[Manifest]) -> None:
        """Keep the files of these until `unpin`."""
        self._pinned = set(manifests)

    def unpin(self) -> None:
        """End the protection of `pin`; what was replaced meanwhile becomes droppable."""
        self._pinned = set()

    def take_dropped(self) -> list[Manifest]:
        """Snapshots whose files can be deleted now; each is returned once."""
        live = {entry.manifest for entry in self._entries.values()}
        ready = [m for m in dict.fromkeys(self._dropped) if m not in live and m not in self._pinned]
        self._dropped = [m for m in self._dropped if m in self._pinned]
        return ready
