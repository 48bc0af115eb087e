"""Handwritten digits, 8 x 8 pixels, and a small perceptron: learns in seconds on a CPU, which is what it is for.

Data: scikit-learn's copy of the UCI set "Optical Recognition of Handwritten Digits" [Alpaydin & Kaynak 1998], 1797
samples, read straight from the installed package: importing scikit-learn takes 1.3 s in each trainer process, reading
the file 0.01 s.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from peer.errors import TrainerError
from peer.train.task import Data

if TYPE_CHECKING:
    from torch import Tensor, nn

NUM_TRAIN = 1300
NUM_PIXELS = 64
NUM_CLASSES = 10
_SPLIT_SEED = 1998  # of the one split into training and test set; the year of the data, nothing more
_FILE = "datasets/data/digits.csv.gz"


class DigitsMlp:
    """Perceptron 64 - `hidden` - 10 with ReLU, cross-entropy, accuracy; 1300 training and 497 test samples."""

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """`hidden`: units of the hidden layer. More: a larger model; the set needs few."""

        hidden: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 64

    metric_name = "accuracy"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sets: tuple[Data, Data] | None = None

    def model(self) -> nn.Module:
        """Return the perceptron with torch's default initialisation."""
        from torch import nn

        return nn.Sequential(
            nn.Linear(NUM_PIXELS, self._config.hidden), nn.ReLU(), nn.Linear(self._config.hidden, NUM_CLASSES)
        )

    def train_data(self) -> Data:
        """Return 1300 samples: pixels [1300, 64] float32 in 0..1, digits [1300] int64."""
        return self._load()[0]

    def test_data(self) -> Data:
        """Return the other 497."""
        return self._load()[1]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(output, target)

    def metric(self, output: Tensor, target: Tensor) -> float:
        """Return the share of samples whose largest output is the right digit."""
        return float((output.argmax(1) == target).double().mean())

    def _load(self) -> tuple[Data, Data]:
        if self._sets is None:
            self._sets = _split(_digits_file())
        return self._sets


def _digits_file() -> Path:
    package = importlib.util.find_spec("sklearn")  # finds it without importing it
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    raise TrainerError("the digits come with scikit-learn, which is not installed here: pip install scikit-learn")


def _split(path: Path) -> tuple[Data, Data]:
    import numpy as np
    import torch

    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    # RandomState: its numbers are the same in every version of numpy, so all devices split alike.
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(table))
    pixels = torch.from_numpy(table[order, :NUM_PIXELS] / 16.0)
    digits = torch.from_numpy(table[order, NUM_PIXELS].astype(np.int64))
    return Data(pixels[:NUM_TRAIN], digits[:NUM_TRAIN]), Data(pixels[NUM_TRAIN:], digits[NUM_TRAIN:])
