"""Copies of states, and parcels of mass: rows of several tensors, kept as long as somebody needs them."""

# S rows

from __future__ import annotations

import torch
from torch import Tensor

from aggregation.store import Store
from netsim.virtual.models import ModelRows

FIRST_ROWS = 256


class Copies:
    """Rows of tensors by name, which come to be when they are first written. Rows are counted as in `ModelRows`.

    What a row was not given under a name that others have is zero, as in a `Store`.
    """

    def __init__(self) -> None:
        self._rows = ModelRows(0, FIRST_ROWS)
        self._tensors: dict[str, Tensor] = {}

    def take(self) -> int:
        """Return a row for one holder."""
        return self._rows.take()

    def hold(self, row: int) -> None:
        """Count one more holder."""
        self._rows.hold(row)

    def release(self, row: int) -> None:
        """Count one holder less."""
        self._rows.release(row)

    def settle(self) -> None:
        """Rows without holders may be given out again: all work on them is done."""
        self._rows.settle()

    @property
    def num_held(self) -> int:
        """Rows that somebody holds."""
        return self._rows.num_held

    def put(self, rows: Tensor, sub: dict[str, Tensor]) -> None:
        """Write tensors [len(rows), ...] to `rows`."""
        room = len(self._rows.matrix)
        for name, values in sub.items():
            known = self._tensors.get(name)
            if known is None or len(known) < room:
                more = values.new_zeros((room - (0 if known is None else len(known)), *values.shape[1:]))
                self._tensors[name] = more if known is None else torch.cat([known, more])
        for name, tensor in self._tensors.items():
            if name in sub:
                tensor.index_copy_(0, rows, sub[name])
            else:
                tensor.index_fill_(0, rows[rows < len(tensor)], 0)

    def get(self, rows: Tensor) -> Store:
        """Return copies of `rows`."""
        found = Store()
        for name, tensor in self._tensors.items():
            inside = rows < len(tensor)
            part = tensor.index_select(0, torch.where(inside, rows, 0))
            part[~inside] = 0
            found[name] = part
        return found
