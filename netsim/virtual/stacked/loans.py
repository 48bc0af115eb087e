"""Things that one thread at a time may use, kept for the next: modules whose tensors are swapped, scratch memory."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

MAX_VIEWS = 256


class Loans(Generic[T]):
    """As many of a thing as were ever on loan at once; `make` makes one more when all are."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: deque[T] = deque()  # its append and pop are atomic

    @contextlib.contextmanager
    def loan(self) -> Iterator[T]:
        """Have one for the length of a block."""
        try:
            thing = self._idle.pop()
        except IndexError:
            thing = self._make()
        try:
            yield thing
        finally:
            self._idle.append(thing)


class Scratch:
    """Tensors by name whose values do not outlive a call; each name keeps the memory of its largest shape."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}
        self._views: dict[tuple[str, tuple[int, ...]], Tensor] = {}  # slicing costs as much as a small product

    def empty(self, name: str, *shape: int, like: Tensor) -> Tensor:
        """Return a contiguous tensor of a shape, in the dtype and on the device of `like`; it holds anything."""
        view = self._views.get((name, shape))
        if view is not None and view.dtype == like.dtype and view.device == like.device:
            return view
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size or flat.dtype != like.dtype or flat.device != like.device:
            flat = self._flat[name] = torch.empty(size, dtype=like.dtype, device=like.device)
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
        if len(self._views) >= MAX_VIEWS:
            self._views.clear()
        view = self._views[name, shape] = flat[:size].view(shape)
        return view
