"""Runs of campaigns in the test's own process: no spawning, no second import of torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any


class Inline(Executor):
    """Does at once what is submitted."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def inline_executor(workers: int, dask: str) -> Iterator[Executor]:
    """Stand in for `running._executor`."""
    del workers, dask
    yield Inline()
