"""Ctrl-C: the first asks the daemon to stop cleanly, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterable, Awaitable, Callable

import structlog
import trio

EXIT_INTERRUPTED = 130


async def until_interrupted(serve: Callable[[], Awaitable[None]]) -> None:
    """Run `serve` to its end; SIGINT or SIGTERM cancels it once, another one ends the process with code 130.

    The receiver lives outside of what it cancels, so that it sees the second signal while `serve` still saves.
    """
    serving = trio.CancelScope()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, signals, serving)
            with serving:
                await serve()
            nursery.cancel_scope.cancel()


async def _watch(signals: AsyncIterable[int], serving: trio.CancelScope) -> None:
    async for number in signals:
        if serving.cancel_called:
            os._exit(EXIT_INTERRUPTED)  # no clean-up of any kind, that is what it is for
        structlog.get_logger().info("stopping", signal=signal.Signals(number).name, hint="again: at once, unsaved")
        serving.cancel()
