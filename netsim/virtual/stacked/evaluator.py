"""How good received models are on each peer's own data: `peer.train.evaluator.LocalEvaluator`, for many rows."""

# B rows, M models a row, D entries of a model, P samples to judge by, C classes

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from aggregation.seeding import Rng
from netsim.virtual.stacked.model import StackedModel
from netsim.virtual.stacked.oracle import gather
from peer.train.evaluator import MAX_SAMPLES
from peer.train.task import Data

PIECE_SAMPLES = 32 * MAX_SAMPLES
"""Rows x samples of a piece."""


class StackedEvaluator:
    """`aggregation.hood.Evaluator` of B rows: judges on up to `MAX_SAMPLES` training samples of the row's own.

    They are those that `LocalEvaluator` draws from `rng(row, "samples to judge by")`, drawn when they are first needed.
    """

    def __init__(self, model: StackedModel, data: Data, shards: Sequence[Tensor], rng: Rng) -> None:
        self._model = model
        self._data = data
        self._shards = shards
        self._rng = rng

    def loss(self, models: Tensor) -> Tensor:
        """Return the task's loss of each model on the row's samples: [B, M, D] -> float64 [B, M]."""

        def score(x: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return self._model.loss(x, inputs, targets, training=False).double()

        return self._judge(models, score)

    def per_class_f1(self, models: Tensor) -> Tensor:
        """Return the F1 score of each model and class, [B, M, D] -> float64 [B, M, C]: 0 for classes not met.

        For tasks whose targets are labels [N] and whose model gives C scores for each.
        """

        def score(x: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            output_BPC = self._model.outputs_of_own(x, inputs)
            classes = torch.arange(output_BPC.shape[-1])
            guessed_BPC = output_BPC.argmax(dim=-1)[..., None] == classes
            true_BPC = targets[..., None] == classes
            hits_BC = (guessed_BPC & true_BPC).sum(dim=1).double()
            return 2 * hits_BC / (guessed_BPC.sum(dim=1) + true_BPC.sum(dim=1)).clamp_min(1)

        return self._judge(models, score)

    def _judge(self, models: Tensor, score: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        scores_BM: Tensor | None = None
        for rows, index in self._pieces:
            inputs, targets = gather(self._data.inputs, index), gather(self._data.targets, index)
            part = [score(models[rows, m], inputs, targets) for m in range(models.shape[1])]
            if not part:
                break
            scores = torch.stack(part, dim=1)
            if scores_BM is None:
                scores_BM = scores.new_full((len(models), *scores.shape[1:]), torch.nan)
            scores_BM[rows] = scores
        if scores_BM is None:
            return torch.full(models.shape[:2], torch.nan, dtype=torch.float64)
        return scores_BM

    @cached_property
    def _pieces(self) -> list[tuple[Tensor, Tensor]]:
        """Rows [b] with equally many samples, and those [b, P]: so many that a piece fits into the cache."""
        return list(self._drawn())

    def _drawn(self) -> Iterator[tuple[Tensor, Tensor]]:
        by_size: dict[int, list[int]] = {}
        for row, shard in enumerate(self._shards):
            by_size.setdefault(min(len(shard), MAX_SAMPLES), []).append(row)
        for size, rows in sorted(by_size.items()):
            if not size:
                continue  # without samples there is no judgement: NaN
            num = max(1, PIECE_SAMPLES // size)
            for start in range(0, len(rows), num):
                piece = rows[start : start + num]
                yield torch.tensor(piece), torch.stack([self._samples(row) for row in piece])

    def _samples(self, row: int) -> Tensor:
        shard = self._shards[row]
        return shard[torch.randperm(len(shard), generator=self._rng(row, "samples to judge by"))[:MAX_SAMPLES]]
