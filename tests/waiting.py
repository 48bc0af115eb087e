"""Waiting for what another task, socket or process does: a condition, looked at until it holds."""

from __future__ import annotations

from collections.abc import Callable

import trio

GUARD_S = 60  # only reached when something hangs


async def until(condition: Callable[[], object], *, within_s: float = GUARD_S, every_s: float = 0.002) -> None:
    """Return when the condition holds; `TooSlowError` after `within_s`. There is no event: it happens elsewhere."""
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(every_s)
