"""One model with many values: every row of a matrix [B, D] holds the parameters of one peer.

    g_b = ∇ L(x_b; inputs_b, targets_b),   L the task's mean loss over a mini-batch,   b = 1 .. B

There are two ways to compute that, which agree up to rounding, and with the daemon's autograd for one peer:

    general (`functional.py`)   any module without running statistics, by `torch.func.vmap`
    fast (`perceptron.py`)      sequences of linear layers, ReLU and tanh, by hand

What is not in the `ParamSpace` is not trained: all rows have it as the module has it when `stacked_model` is called.
"""

# B rows, D entries of a model, N samples of a mini-batch, P samples that all rows see, S steps

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from aggregation.param_space import ParamSpace
from peer.train.task import Data


class StackedModel(Protocol):
    """Losses, gradients and outputs of B models; every call may be made by several threads at once."""

    space: ParamSpace
    draws: bool
    """Whether training draws from torch's default generator (dropout): then it must be seeded, and not be shared."""

    def weighs(self, x: Tensor, inputs: Tensor, targets: Tensor) -> bool:
        """Return whether `share` can be given for such rows and samples."""

    def gradient(
        self, x: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None, *, share: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients [B, D] and losses [B] of `x` [B, D] on one mini-batch for each row, in training mode.

        `inputs` is [B, N, ...], `targets` [B, N, ...]. The gradient is 0 at buffers; it is written to `out` if given.
        `share` [B, N] is that of each sample in the row's mean; None: 1/N.
        """

    def loss(
        self, x: Tensor, inputs: Tensor, targets: Tensor, *, training: bool = True, share: Tensor | None = None
    ) -> Tensor:
        """Return the losses [B] alone; `training` False: in the mode of evaluation (no dropout)."""

    def outputs(self, x: Tensor, inputs: Tensor) -> Tensor:
        """Return what each row says of the same `inputs` [P, ...], [B, P, ...], in the mode of evaluation."""

    def outputs_of_own(self, x: Tensor, inputs: Tensor) -> Tensor:
        """Return what each row says of its own `inputs` [B, N, ...], [B, N, ...], in the mode of evaluation."""

    def metric(self, x: Tensor, data: Data) -> Tensor:
        """Return the task's metric of each row over `data`, float64 [B], as `ModelOracle.evaluate` takes it."""


class MiniBatches(NamedTuple):
    """Some steps of every row, one after the other; rows need not have equally many samples."""

    inputs: Tensor
    """[S, B, N, ...]."""
    targets: Tensor
    """[S, B, N]."""
    share: Tensor
    """[S, B, N]: 1 / number of samples of the row; 0 for what is none of them, and for rows that take no step."""


@runtime_checkable
class Descends(Protocol):
    """A stacked model that can do plain gradient descent without writing gradients down."""

    def descend(self, x: Tensor, rate: Tensor, steps: Iterator[MiniBatches]) -> Tensor | None:
        """Do x_b ← x_b − η_b · ∇ L(x_b) for each mini-batch, in place; return the sum of the losses [B].

        `rate` [B, 1] has the η_b.

        Equal, up to rounding, to following `gradient`. None, and nothing done, if this loss needs to be followed so.
        """
