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


def weigh(weights: Weights, meta: Meta, st: Store | None, ctx: Ctx, *, catching_up: bool = False) -> Meta:
    """Return `meta` with its weights `w` set from `weights`: the one way that `w` is made.

    Slots that are not ok get 0; what is missing to 1 is one's own weight. Factors that are no shares of a whole, such
    as a discount for age alone, may sum to s > 1 over a row: then oneself counts as one more slot of factor 1 and the
    row is divided by 1 + s. So mixing is a convex combination that keeps some of oneself, whatever the factors are.

    `catching_up`: the node was away for so long that its neighbours would refuse its model as too old; by the same
    measure it counts for nothing itself, and the row is divided by s. An empty neighbourhood leaves it as it is.
    """
    w_BK = weights.factor(meta, st, ctx).masked_fill(~meta.ok, 0.0)
    sum_B1 = w_BK.sum(dim=1, keepdim=True)
    if catching_up:
        return meta.weighed(w_BK / sum_B1.masked_fill(sum_B1 == 0.0, 1.0))
    return meta.weighed(w_BK / (1.0 + sum_B1).masked_fill(sum_B1 <= 1.0, 1.0))
