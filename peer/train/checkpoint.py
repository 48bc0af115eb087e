"""What a trainer must not forget, in memory and as a file. Imports torch.

    store.<name>    every tensor of the `aggregation.Store`: x, and what optimizers and rules keep
    local.<name>    tensors of the model that are not exchanged (integer counters, personal layers)
    trainer.loss    of the local steps of the round, when they are done

Round and steps are in the header of the file (`peer.store.snapshots`).
"""

from __future__ import annotations

from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor

from aggregation.store import Store
from peer.errors import TrainerError
from peer.store.snapshots import Snapshot
from peer.store.tensor_file import TensorFile
from peer.train.tensors import tensor_file

_STORE = "store."
_LOCAL = "local."
_LOSS = "trainer.loss"


@dataclass
class State:
    """Where a trainer stands. `local` are live tensors of the model; all of `store` has one row (B = 1)."""

    store: Store
    local: dict[str, Tensor]
    round: int = 0
    steps: int = 0  # over the peer's whole life
    trained: bool = False  # the local steps of `round` are in `store`
    loss: float = 0.0  # their mean loss

    def begin(self, round: int) -> None:
        """Stand at the beginning of `round`."""
        self.round = round
        self.trained = False

    def copy(self) -> State:
        """Return a copy that later steps do not touch."""
        store = Store({name: tensor.clone() for name, tensor in self.store.items()})
        local = {name: tensor.clone() for name, tensor in self.local.items()}
        return State(store, local, self.round, self.steps, self.trained, self.loss)

    def restore(self, before: State) -> None:
        """Go back to what `copy` returned, which is used up by this."""
        self.store = before.store
        for name, tensor in self.local.items():
            tensor.data.copy_(before.local[name])
        self.round, self.steps, self.trained, self.loss = before.round, before.steps, before.trained, before.loss


def checkpoint_file(state: State) -> TensorFile:
    """Return the content of a checkpoint; `state` must not change until it is written."""
    tensors = {_STORE + name: tensor for name, tensor in state.store.items()}
    tensors |= {_LOCAL + name: tensor for name, tensor in state.local.items()}
    tensors[_LOSS] = torch.tensor(state.loss, dtype=torch.float64)
    return tensor_file(tensors)


def load_checkpoint(snapshot: Snapshot, state: State) -> None:
    """Bring a fresh `state` to where `snapshot` was taken. Raises `TrainerError` when it is of another model."""
    tensors = safetensors.torch.load_file(snapshot.path)
    x = state.store["x"]
    store = {name.removeprefix(_STORE): t.to(x.device) for name, t in tensors.items() if name.startswith(_STORE)}
    local = {name.removeprefix(_LOCAL): t for name, t in tensors.items() if name.startswith(_LOCAL)}
    fits = "x" in store and store["x"].shape == x.shape and _shapes(local) == _shapes(state.local)
    if not fits or _LOSS not in tensors:
        raise TrainerError(f"{snapshot.path} is a checkpoint of another model than the task's")
    header = snapshot.header
    state.restore(State(Store(store), local, header.round, header.steps, header.trained, float(tensors[_LOSS])))


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
