"""Local steps that leave whole rounds of plain gradient descent to an oracle that is faster at them."""

# B rows, D entries of a model

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aggregation.steps.sgd import SGD

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx
    from aggregation.method import Method
    from aggregation.steps.base import Direction, Oracle
    from aggregation.store import Store


@runtime_checkable
class DescentOracle(Protocol):
    """An oracle that can follow its own gradient."""

    def descend(self, x: Tensor, H: Tensor, rate: Tensor) -> Tensor | None:
        """Do `H` [B] steps on `x` [B, D] with rates [B, 1], in place; return the sum of losses [B], or None: cannot."""


class DelegatedSGD(SGD):
    """`SGD` without momentum and weight decay, of which the oracle does a round in one call where it can.

        x ← x − η_t·∇F(x; ξ_h),   H times

    The same up to rounding: the oracle adds to x without writing the gradient down. Directions of an algorithm that
    corrects gradients are followed step by step, as ever.
    """

    def step(self, st: Store, oracle: Oracle, H: Tensor, ctx: Ctx, direction: Direction | None = None) -> Tensor:
        """Do H [B] steps in place; return the mean loss, float64 [B]. See `LocalStep.step`."""
        if direction is None and isinstance(oracle, DescentOracle):
            x_BD = st["x"]
            loss_B = oracle.descend(x_BD, H, ctx.lr.to(x_BD)[:, None])
            if loss_B is not None:
                return loss_B.double() / H.clamp_min(1)
        return super().step(st, oracle, H, ctx, direction)


def delegated(method: Method) -> Method:
    """Return `method` with such a step, if its own is plain gradient descent; else as it is."""
    step = method.step
    if type(step) is not SGD or step.config.momentum or step.config.weight_decay:
        return method
    return replace(method, step=DelegatedSGD(step.config))
