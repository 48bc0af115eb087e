"""The mini-batches of one round for many rows: for each row those that `peer.train.oracle.Batches` gives it."""

# B rows, H steps, N samples of a mini-batch

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aggregation.seeding import Rng


def num_steps(num_samples: int, batch_size: int, *, epochs: int, steps: int) -> int:
    """Return the number of local steps of a round: `steps`, or if that is 0, of `epochs`; none without samples."""
    if not num_samples:
        return 0
    return steps or epochs * -(-num_samples // batch_size)


class Piece(NamedTuple):
    """Some of the rows, and for each of them samples of the shared set."""

    rows: Tensor | None
    """int64 [b]; None: all of them."""
    samples: Tensor
    """int64 [b, N]."""


class RowBatches:
    """Mini-batch `h` of every row, as indices into the set of which `shards` (int64, one per row) are parts.

    A row's permutation of epoch e is drawn from `rng(row, "batches of epoch e")`, as the trainer draws it. Rows without
    samples take no steps.
    """

    def __init__(self, shards: Sequence[Tensor], batch_size: int, *, epochs: int, steps: int, rng: Rng) -> None:
        sizes = [len(shard) for shard in shards]
        self.H = torch.tensor([num_steps(n, batch_size, epochs=epochs, steps=steps) for n in sizes], dtype=torch.int64)
        """Steps of each row, int64 [B]."""
        width = min(batch_size, max(sizes, default=0))
        num_rows, most = len(sizes), int(self.H.max()) if sizes else 0
        order = _draw(sizes, self.H.tolist(), width, most, rng).view(num_rows, most, width)
        size_B = torch.tensor(sizes, dtype=torch.int64)
        if most:
            begin_B = (size_B.cumsum(0) - size_B).masked_fill(size_B == 0, 0)
            order += begin_B[:, None, None]
        chosen = order.transpose(0, 1).reshape(-1)
        self._index = torch.cat(list(shards)).index_select(0, chosen).view(most, num_rows, width)
        h_H1 = torch.arange(most)[:, None]
        per_epoch_B = (size_B + max(1, width) - 1).div(max(1, width), rounding_mode="floor").clamp_min(1)
        count_HB = (size_B - h_H1 % per_epoch_B * width).clamp_max(width)
        goes_on_HB = h_H1 < self.H
        self._are_full: list[bool] = (count_HB.eq(width) | ~goes_on_HB).all(dim=1).tolist()
        self._count = count_HB * goes_on_HB

    def whole(self, H: Tensor) -> tuple[Tensor, Tensor]:
        """Return all mini-batches, int64 [S, B, N], and the share of each sample in its row's mean, float32 [S, B, N].

        S is the largest of `H` [B]. Shares are 0 for samples that only fill up, and in rows whose `H` steps are done.
        """
        most = int(H.max()) if len(H) else 0
        index, count_SB1 = self._index[:most], self._count[:most].unsqueeze(2)
        goes_on_SB1 = (torch.arange(most)[:, None] < H).unsqueeze(2)
        filled_SBN = (torch.arange(index.shape[2]) < count_SB1) & goes_on_SB1
        return index, filled_SBN / count_SB1.clamp_min(1)

    def is_full(self, h: int) -> bool:
        """Return whether all rows that take step `h` have equally many samples then, as many as fit."""
        return self._are_full[h]

    def pieces(self, h: int) -> list[Piece]:
        """Return mini-batch `h`. The first piece has all rows, in the size that most have; then the others come again.

        So the last piece that has a row is right for it. Rows with no more than `h` steps get any samples.
        """
        index, counts = self._index[h], self._count[h]
        if self.is_full(h):
            return [Piece(None, index)]
        nums = counts.bincount()
        nums[0] = 0
        common = int(nums.argmax())
        pieces = [Piece(None, index[:, :common].contiguous())]
        for size in nums.nonzero()[:, 0].tolist():
            if size != common:
                rows = (counts == size).nonzero()[:, 0]
                pieces.append(Piece(rows, index[rows, :size]))
        return pieces


def _draw(sizes: list[int], steps: list[int], width: int, most: int, rng: Rng) -> Tensor:
    """Return the places of each row's samples in its shard in the order in which they come, [B · most · width].

    Between epochs there is room for full mini-batches; what is not drawn is 0.
    """
    begins: list[int] = []
    drawn: list[Tensor] = []
    for row, (size, num) in enumerate(zip(sizes, steps, strict=True)):
        if not num:
            continue
        begin, end = row * most * width, (row * most + num) * width
        room = -(-size // width) * width
        for epoch, at in enumerate(range(begin, end, room)):
            order = torch.randperm(size, generator=rng(row, f"batches of epoch {epoch}"))
            begins.append(at)
            drawn.append(order if size <= end - at else order[: end - at])
    if not drawn:
        return torch.zeros(len(sizes) * most * width, dtype=torch.int64)
    found = torch.cat(drawn)
    if len(found) == len(sizes) * most * width:
        return found
    lengths = np.fromiter(map(len, drawn), np.int64, len(drawn))
    shifts = np.asarray(begins) - (lengths.cumsum() - lengths)
    places = torch.from_numpy(np.repeat(shifts, lengths) + np.arange(len(found)))
    return torch.zeros(len(sizes) * most * width, dtype=torch.int64).index_copy_(0, places, found)
