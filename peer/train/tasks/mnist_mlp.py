"""MNIST's handwritten digits, 28 x 28 pixels, from files in the set's own format, and a perceptron.

The files are those of [LeCun, Cortes & Burges 1998, The MNIST database of handwritten digits]: idx, gzipped or not.
They are not shipped; `path` is the folder in which they lie. Any set in the same files does (Fashion-MNIST, KMNIST).
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from peer.errors import TrainerError
from peer.train.task import Data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

NUM_PIXELS = 28 * 28
NUM_CLASSES = 10
_SPLIT_SEED = 1998
_IMAGES_MAGIC, _LABELS_MAGIC = 2051, 2049


class MnistMlp:
    """Perceptron 784 - `hidden` - 10 with ReLU, cross-entropy, accuracy.

    Where the folder has both of MNIST's sets (train-*, t10k-*), they are training and test set; where it has one of
    them, that one is split at random, `test_share` of it for testing.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Where the files lie, and the size of the model."""

        path: Annotated[str, msgspec.Meta(min_length=1, description="Folder with the idx files, gzipped or not.")]
        hidden: Annotated[
            int, msgspec.Meta(ge=1, le=65_536, description="Units of the hidden layer. More: a larger model.")
        ] = 64
        test_share: Annotated[
            float,
            msgspec.Meta(gt=0, lt=1, description="Share of the one set that is used for testing, if there is but one."),
        ] = 0.2

    metric_name = "accuracy"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sets: tuple[Data, Data] | None = None

    def model(self) -> nn.Module:
        """Return the perceptron with torch's default initialisation."""
        from torch import nn

        hidden = self._config.hidden
        return nn.Sequential(nn.Linear(NUM_PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, NUM_CLASSES))

    def train_data(self) -> Data:
        """Return the training set: pixels [N, 784] float32 in 0..1, digits [N] int64."""
        return self._load()[0]

    def test_data(self) -> Data:
        """Return the test set."""
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
            folder = Path(self._config.path)
            found = {name: _read_set(folder, name) for name in ("train", "t10k") if _file(folder, f"{name}-images")}
            if not found:
                raise TrainerError(
                    f"{folder}: no train-images-idx3-ubyte or t10k-images-idx3-ubyte here (gzipped or not)"
                )
            if len(found) == 2:
                self._sets = found["train"], found["t10k"]
            else:
                self._sets = _split(next(iter(found.values())), self._config.test_share)
        return self._sets


def _file(folder: Path, stem: str) -> Path | None:
    axes = 3 if stem.endswith("images") else 1
    names = (f"{stem}-idx{axes}-ubyte{suffix}" for suffix in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_set(folder: Path, name: str) -> Data:
    import torch

    images = _read(_file(folder, f"{name}-images"), folder / f"{name}-images", _IMAGES_MAGIC)
    labels = _read(_file(folder, f"{name}-labels"), folder / f"{name}-labels", _LABELS_MAGIC)
    if len(images) != len(labels) or images.shape[1:] != (28, 28):
        raise TrainerError(f"{folder}: {name} has images {images.shape} and {len(labels)} labels")
    pixels = torch.from_numpy(images.reshape(len(images), NUM_PIXELS)).float() / 255.0
    return Data(pixels, torch.from_numpy(labels).long())


def _read(path: Path | None, stem: Path, magic: int) -> NDArray[np.uint8]:
    import numpy as np

    if path is None:
        raise TrainerError(f"{stem}-...: no such file")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise TrainerError(f"{path}: cannot be read: {error}") from error
    axes = magic & 0xFF
    if len(content) < 4 + 4 * axes or struct.unpack(">I", content[:4]) != (magic,):
        raise TrainerError(f"{path}: not an idx file of {axes} axes")
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    body = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    if len(body) != int(np.prod(shape)):
        raise TrainerError(f"{path}: holds {len(body)} bytes, its header says {shape}")
    return body.reshape(shape).copy()


def _split(whole: Data, test_share: float) -> tuple[Data, Data]:
    import numpy as np
    import torch

    count = len(whole.targets)
    order = torch.from_numpy(np.random.RandomState(_SPLIT_SEED).permutation(count))
    train, test = order[round(count * test_share) :], order[: round(count * test_share)]
    return Data(whole.inputs[train], whole.targets[train]), Data(whole.inputs[test], whole.targets[test])
