"""What is said of the models of all peers, whoever keeps them: metric, mean, distance from it, digest."""

# B rows, D entries of a model

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from netsim.virtual.cohort import Cohort

PIECE_ROWS = 256


class Evaluation(ABC):
    """The looking part of `Learning`, for those who can hand out models."""

    _cohort: Cohort

    @abstractmethod
    def models(self, peers: Sequence[int]) -> Tensor:
        """Return copies of the models of peers, [len(peers), D], when all work on them is done."""

    def _pieces(self, peers: Sequence[int]) -> Iterator[Tensor]:
        for start in range(0, len(peers), PIECE_ROWS):
            yield self.models(peers[start : start + PIECE_ROWS])

    def accuracy(self, peers: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the metric of the peers' models on the test set."""
        parts = [self._cohort.metric(x).numpy() for x in self._pieces(peers)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _mean(self, peers: Sequence[int]) -> Tensor:
        total = torch.zeros(self._cohort.space.width, dtype=torch.float64)
        for x in self._pieces(peers):
            total += x.double().sum(dim=0)
        return total / len(peers)

    def merged_accuracy(self, peers: Sequence[int]) -> float:
        """Return the metric of the mean model."""
        return float(self._cohort.metric(self._mean(peers).float()[None])[0])

    def consensus(self, peers: Sequence[int]) -> float:
        """Return mean ‖x_i − x̄‖²."""
        mean = self._mean(peers)
        return sum(float((x - mean).square().sum()) for x in self._pieces(peers)) / len(peers)

    def digest(self, peers: Sequence[int]) -> str:
        """Return SHA-256 over the bytes of the models."""
        digest = hashlib.sha256()
        for x in self._pieces(peers):
            digest.update(x.numpy().tobytes())
        return digest.hexdigest()
