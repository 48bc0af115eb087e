"""Uniform weights over whoever was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx, Meta
    from aggregation.store import Store


class Uniform:
    """Average oneself and everybody who was heard, all alike.

        w_ij = 1 / (1 + k_i),   k_i the number of slots that are ok

    Rows sum to 1, columns need not: well connected peers count for more, and the mean drifts where neighbours are
    missed. In exchange a peer uses all that it hears at full weight.
    Shapes: [B, K] float64. Cost O(B·K).
    Source: [de Vos et al. 2023, Epidemic Learning: Boosting Decentralized Learning with Randomized Communication].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Uniform weights have no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, meta: Meta, st: Store | None, ctx: Ctx) -> Tensor:  # noqa: ARG002  the interface of weights
        """Return 1 / (1 + k), [B, K]."""
        num_heard_B = meta.ok.sum(dim=1, keepdim=True).double()
        return (1.0 / (1.0 + num_heard_B)).expand(meta.shape)
