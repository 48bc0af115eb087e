"""What a local step is, and where its gradients come from."""

# B nodes, D entries of the model

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx
    from aggregation.store import Store


class Oracle(Protocol):
    """Gradients of every node's own loss."""

    def __call__(self, x: Tensor, h: int) -> tuple[Tensor, Tensor]:
        """Return the gradient [B, D] and the loss [B] at `x` [B, D], on mini-batch number `h` of this round.

        The same `h` means the same mini-batch, so that a step may look at one batch from two points (SAM). Gradients
        are zero at buffer segments. The oracle may move those entries of `x` itself (running statistics) the first
        time it is called with an `h`, and only then; it writes nothing else. The result may be overwritten by the
        next call.
        """


class LocalStep(Protocol):
    """A local optimizer over a batch of nodes, with all its state in the Store (so that it can be checkpointed)."""

    def rate(self, t: Tensor) -> Tensor:
        """Return the learning rate [B] float64 in local rounds `t` [B]: what the runtime puts into `ctx.lr`."""

    def step(self, st: Store, oracle: Oracle, H: Tensor, ctx: Ctx) -> Tensor:
        """Do `H` [B] int64 steps on `st["x"]`, in place; return the mean loss over them, float64 [B] (0 for H = 0)."""
