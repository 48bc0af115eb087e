"""Metropolis–Hastings weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from topology.weights import metropolis

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx, Meta
    from aggregation.store import Store


class Metropolis:
    """Weigh an edge by the larger degree of its ends.

        w_ij = 1 / (1 + max(d_i, d_j))

    d_i is the own degree as published (`ctx.neighbours`), d_j comes with the neighbour's message (`meta.degree`):
    both ends compute the same number as long as each knows the other's newest degree, so W is symmetric and doubly
    stochastic and the swarm agrees on the plain mean. More slots than the own degree (the view has just changed)
    count as the degree, so that one's own weight is never below 1/(1 + d_i).
    Shapes: [B, K] float64. Cost O(B·K).
    Source: [Xiao, Boyd & Lall 2006, Distributed average consensus with time-varying Metropolis weights].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Metropolis weights have no parameters."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, meta: Meta, st: Store | None, ctx: Ctx) -> Tensor:  # noqa: ARG002  the interface of weights
        """Return 1 / (1 + max(d_i, d_j)), [B, K]."""
        own_B = ctx.neighbours.maximum(meta.ok.sum(dim=1))
        return metropolis(own_B.double()[:, None], meta.degree.double())
