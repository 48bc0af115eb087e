"""A discount for stale models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.hood import Ctx, Meta
    from aggregation.store import Store


class Age:
    """Let the weight fall with the age of what was heard. A factor for `product`; alone it discounts a uniform mean.

        (1 + age)^(−a)

    Non-increasing in age, 1 for fresh models; what is taken away stays with oneself. Ages below 0 count as 0.
    Shapes: [B, K] float64. Cost O(B·K).
    Source: [Xie, Koyejo & Gupta 2019, Asynchronous Federated Optimization, polynomial staleness function].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of the discount."""

        exponent: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=100,
                description="a in (1 + age)^(-a), age in rounds. Larger: less harm by stale models, less use of slow"
                " peers. 0: age does not matter.",
            ),
        ] = 0.5

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, meta: Meta, st: Store | None, ctx: Ctx) -> Tensor:  # noqa: ARG002  the interface of weights
        """Return (1 + age)^(-a), [B, K]."""
        return (1.0 + meta.age.clamp_min(0.0)) ** -self.config.exponent
