"""Broken rules: counted every time, logged once per kind and culprit, in bounded memory."""

from __future__ import annotations

from collections import Counter, OrderedDict

import structlog

MAX_REMEMBERED = 1024  # (kind, culprit) pairs; a forgotten pair is logged once more, nothing else


class FaultLog:
    """Counts what remotes do wrong and keeps the log short.

    `counts` is what metrics read: one number per kind, never per peer, so that strangers cannot make it grow.
    """

    def __init__(self, event: str) -> None:
        self.counts: Counter[str] = Counter()
        self._event = event
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._log = structlog.get_logger()

    def note(self, kind: str, culprit: str, **detail: object) -> None:
        """Count one fault of `kind` (snake_case, from a fixed set) by `culprit` (peer id or IP address)."""
        self.counts[kind] += 1
        key = (kind, culprit)
        if key in self._seen:
            self._seen.move_to_end(key)
            return
        self._seen[key] = None
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        self._log.warning(self._event, kind=kind, peer=culprit, **detail)
