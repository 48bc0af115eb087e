"""What a weight factor is, and how factors become the weights of a mixing event."""

# B nodes, K slots

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx, Meta
    from aggregation.store import Store


class Weights(Protocol):
    """A factor of the weight of each slot."""

    def factor(self, meta: Meta, st: Store | None, ctx: Ctx) -> Tensor:
        """Return the factor, float64 [B, K], >= 0; what it holds at slots that are not ok is ignored."""


def weigh(weights: Weights, meta: Meta, st: Store | None, ctx: Ctx) -> Meta:
    """Return `meta` with its weights `w` set from `weights`: the one way that `w` is made.

    Slots that are not ok get 0. A row that sums to more than 1 is scaled down to 1, so that mixing stays a convex
    combination whatever the factors are. What is missing to 1 is one's own weight.
    """
    w_BK = weights.factor(meta, st, ctx).masked_fill(~meta.ok, 0.0)
    return meta.weighed(w_BK / w_BK.sum(dim=1, keepdim=True).clamp_min(1.0))
