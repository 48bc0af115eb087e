"""The metric of many rows over a whole data set, in pieces of bounded memory."""

# B rows, D entries of a model, P samples of a piece

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from peer.train.oracle import EVALUATION_BATCH
from peer.train.task import Data, Task

PIECE_SAMPLES = 32 * EVALUATION_BATCH
"""Rows x samples of a piece: what a layer of 64 units gives takes 8 MiB."""


def metric_of_rows(task: Task, outputs: Callable[[Tensor, Tensor], Tensor], x: Tensor, data: Data) -> Tensor:
    """Return the task's metric of each row of `x` [B, D] over `data`, float64 [B].

    `outputs` gives [B, P, ...] for rows and shared inputs. Batches are those of `ModelOracle.evaluate`, since a metric
    need not be a mean over samples.
    """
    total_B = torch.zeros(len(x), dtype=torch.float64)
    for start, stop in pairwise([*range(0, len(data.targets), EVALUATION_BATCH), len(data.targets)]):
        inputs, targets = data.inputs[start:stop], data.targets[start:stop]
        num_rows = max(1, PIECE_SAMPLES // (stop - start))
        for first in range(0, len(x), num_rows):
            piece = outputs(x[first : first + num_rows], inputs)
            scores = [task.metric(output, targets) * (stop - start) for output in piece]
            total_B[first : first + num_rows] += torch.tensor(scores, dtype=torch.float64)
    return total_B / max(1, len(data.targets))
