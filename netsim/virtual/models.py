"""Where the models of a simulation lie: rows of one matrix, counted by those who need them.

A peer has a current model; a snapshot of it that was published is the same row, until mixing gives the peer a new one.
So n peers need about 2 n rows: what each works on, and what each last published.

A row that nobody needs is given out again only after `settle`: work that was put off (`plan.py`) may still write to it.
"""

# S rows, D entries of a model

from __future__ import annotations

import torch


class ModelRows:
    """Rows of `matrix` [S, D] float32 with counts of their holders. Rows that were never used take no memory."""

    def __init__(self, width: int, num_rows: int) -> None:
        self.matrix = torch.empty(num_rows, width)
        self._holders = [0] * num_rows
        self._free = list(range(num_rows - 1, -1, -1))
        self._limbo: list[int] = []
        self.num_used = 0
        """Most rows that were ever in use at once."""

    @property
    def num_free(self) -> int:
        """Rows that can be taken now."""
        return len(self._free)

    def take(self) -> int:
        """Return a row for one holder; what it holds is undefined."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._holders[row] = 1
        self.num_used = max(self.num_used, len(self._holders) - len(self._free))
        return row

    def hold(self, row: int) -> None:
        """Count one more holder."""
        assert self._holders[row] > 0, "nobody holds this row"
        self._holders[row] += 1

    def release(self, row: int) -> None:
        """Count one holder less."""
        assert self._holders[row] > 0, "nobody holds this row"
        self._holders[row] -= 1
        if not self._holders[row]:
            self._limbo.append(row)

    def settle(self) -> None:
        """Rows without holders may be given out from now on: all work on them is done."""
        self._free.extend(reversed(self._limbo))
        self._limbo.clear()

    @property
    def num_held(self) -> int:
        """Rows that somebody holds."""
        return len(self._holders) - len(self._free) - len(self._limbo)

    def _grow(self) -> None:
        old = len(self._holders)
        more = max(64, old // 2)
        self.matrix = torch.cat([self.matrix, torch.empty(more, self.matrix.shape[1])])
        self._holders += [0] * more
        self._free = list(range(old + more - 1, old - 1, -1))
