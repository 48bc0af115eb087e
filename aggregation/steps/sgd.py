"""Stochastic gradient descent with heavy-ball momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx
    from aggregation.steps.base import Oracle
    from aggregation.store import Store


class SGD:
    """Follow the gradient, with an optional memory of the way so far.

        v ← m·v + ∇F(x; ξ_h) + wd·x,    x ← x − η_t·v,    η_t = lr·decay^t

    t is the local round. v starts at zero in every round: what it remembers of the way before the mixing step points
    away from where mixing led. wd is the weight decay; it leaves buffers (running statistics) alone.
    Shapes: x and v [B, D] float32. Cost per step: one gradient and O(B·D); memory for v if m > 0.
    Source: [Polyak 1964, Some methods of speeding up the convergence of iteration methods]; restart of v per round as
    in DFedAvgM [Sun, Li & Wang 2021, Decentralized Federated Averaging].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of SGD."""

        lr: Annotated[
            float,
            msgspec.Meta(gt=0, le=1000, description="Learning rate of round 0. Larger: faster, less stable."),
        ] = 0.1
        momentum: Annotated[
            float,
            msgspec.Meta(ge=0, lt=1, description="m. The step grows to lr / (1 - m) within a round."),
        ] = 0.0
        weight_decay: Annotated[
            float,
            msgspec.Meta(ge=0, le=10, description="wd, pull towards zero per step and unit of learning rate."),
        ] = 0.0
        decay: Annotated[
            float,
            msgspec.Meta(gt=0, le=1, description="Factor of the learning rate per round. 1: constant."),
        ] = 1.0

    def __init__(self, config: Config) -> None:
        self.config = config

    def rate(self, t: Tensor) -> Tensor:
        """Return lr·decay^t, [B] float64."""
        return self.config.lr * self.config.decay ** t.double()

    def step(self, st: Store, oracle: Oracle, H: Tensor, ctx: Ctx) -> Tensor:
        """Do H [B] steps of SGD in place; return the mean loss, float64 [B].

        A node whose H is smaller than the others' keeps its x from then on.
        """
        import torch

        x_BD = st["x"]
        if self.config.momentum:
            st.state("sgd.v", x_BD).zero_()
        num_steps = int(H.max()) if len(H) else 0
        is_uneven = bool((num_steps > H).any())
        off_HB = (torch.arange(num_steps)[:, None] >= H).to(x_BD.device)
        rate_HB = ctx.lr.to(x_BD).expand(off_HB.shape).masked_fill(off_HB, 0.0)
        loss_B = x_BD.new_zeros(H.shape)
        for h, (is_off_B, rate_B) in enumerate(zip(off_HB, rate_HB, strict=True)):
            g_BD, now_B = oracle(x_BD, h)
            loss_B += now_B.to(loss_B).masked_fill(is_off_B, 0.0)
            d_BD = self._direction(st, g_BD, ctx)
            if is_uneven:
                d_BD = d_BD.masked_fill(is_off_B[:, None], 0.0)  # 0 · inf is NaN
            x_BD -= rate_B[:, None] * d_BD
        return loss_B.cpu().double() / H.clamp_min(1)

    def _direction(self, st: Store, g_BD: Tensor, ctx: Ctx) -> Tensor:
        x_BD = st["x"]
        if self.config.weight_decay:
            g_BD = g_BD.clone()
            for span in ctx.space.trained:
                g_BD[:, span] += self.config.weight_decay * x_BD[:, span]
        if not self.config.momentum:
            return g_BD
        v_BD = st.state("sgd.v", x_BD)
        v_BD *= self.config.momentum
        v_BD += g_BD
        return v_BD
