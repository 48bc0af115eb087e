"""Accelerated gossip: mixing steps with momentum."""

# B nodes, D entries of the model

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec

from aggregation.algorithms.base import Algorithm
from aggregation.delivery import Channel, model_channel
from topology.chebyshev import shift_register_momentum

if TYPE_CHECKING:
    from aggregation.hood import Ctx, Inbox
    from aggregation.mixers.base import Mixer
    from aggregation.store import Store

MOTION = "accelerated-gossip.s"


class AcceleratedGossip(Algorithm):
    """Carry the motion of each mixing step on into the next: agreement in √ of the steps that averaging takes.

        x ← (1 + η) W x − η x⁻,   η = (1 − √(1 − λ₂²)) / (1 + √(1 − λ₂²))
        as here:  m = W x − x,   s ← m + η (m + s),   x ← x + s;   the first step is plain: s = m

    x⁻ is x before the last mixing step, s = x − x⁻. λ₂ is the largest eigenvalue of W below 1; disagreement shrinks by
    √η per step, 1 − √(2(1 − λ₂)) or so in place of λ₂. With doubly stochastic W the mean is kept. `lazy` mixes by
    (I + W)/2 (and uses its λ₂), whose eigenvalues are never negative: then it contracts whatever W is.
    Made for several gossip steps per round, each of them an exchange: the last one ends the motion, s = 0, so that the
    next round begins with a plain step. `carry` keeps s from round to round, for averaging without training. A change
    of neighbours ends it too (`restart`): momentum along a graph that is gone only disturbs. Where some peers stop and
    others do not, the mean moves a little.
    Shapes: x, s [B, D]. Channel x, LATEST. A robust rule may take W's place, without the rate. Cost: that of the rule
    and O(B·D) per step; memory D.
    Source: [Liu & Morse 2011, Accelerated Linear Iterations for Distributed Averaging]; as the procedure FastMix in
    [Ye, Luo, Zhou & Zhang 2020, Multi-consensus Decentralized Accelerated Gradient Descent].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How slowly W mixes, and when the motion ends."""

        second_eigenvalue: Annotated[
            float,
            msgspec.Meta(
                ge=0, lt=1, description="λ₂ of W. Too large: slower than need be. Too small: hardly any momentum."
            ),
        ] = 0.9
        lazy: Annotated[
            bool, msgspec.Meta(description="Mix by (I + W)/2. False: √2 fewer steps, if no eigenvalue is below -λ₂.")
        ] = True
        carry: Annotated[
            bool,
            msgspec.Meta(description="Keep the motion from round to round. True suits averaging without training."),
        ] = False
        restart: Annotated[
            bool,
            msgspec.Meta(
                description="Stop the motion when neighbours change. False is faster where single edges change rarely."
            ),
        ] = True

        @property
        def eta(self) -> float:
            """η, of the matrix that is mixed by."""
            largest = (1 + self.second_eigenvalue) / 2 if self.lazy else self.second_eigenvalue
            return shift_register_momentum(largest)

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The model."""
        return (model_channel(),)

    def mix(self, st: Store, inbox: Inbox, mixers: Mapping[str, Mixer], ctx: Ctx) -> None:
        """Do a mixing step with momentum; whoever hears nobody rests."""
        x_BD = st["x"]
        m_BD = mixers["x"](inbox.hood("x", x_BD), ctx, st) - x_BD
        if self.config.lazy:
            m_BD *= 0.5
        s_BD = st.state(MOTION, x_BD)
        begins_B1 = ~s_BD.any(dim=1, keepdim=True)
        further_BD = (self.config.eta * (m_BD + s_BD)).masked_fill(begins_B1, 0.0)
        s_BD = m_BD.clone()
        for span in ctx.space.trained:  # running statistics are mixed, no more: extrapolated variances turn negative
            s_BD[:, span] += further_BD[:, span]
        alone_B1 = ~inbox.meta.ok.any(dim=1, keepdim=True).to(x_BD.device)
        s_BD.masked_fill_(alone_B1, 0.0)
        st["x"] = x_BD + s_BD
        st[MOTION] = s_BD

    def finish(self, st: Store, ctx: Ctx) -> None:  # noqa: ARG002  the interface of algorithms
        """End the motion of this round."""
        if not self.config.carry:
            st.state(MOTION, st["x"]).zero_()

    def on_view(self, st: Store, ctx: Ctx) -> None:  # noqa: ARG002  the interface of algorithms
        """Stop."""
        if self.config.restart:
            st.state(MOTION, st["x"]).zero_()
