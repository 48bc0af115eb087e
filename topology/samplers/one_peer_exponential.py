"""One peer at a time, at distances that double."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import msgspec

from topology.digraph import Digraph
from topology.families.positions import ordered
from topology.graph import Graph, Node


class OnePeerExponential:
    """Everybody gives to the one whose place in a circle is a power of two further on; the power grows by the round.

        π(i) → π(i + 2^(k mod τ) mod n),   τ = ⌈log₂ n⌉,   round k,   π the circle of members

    One model given and one taken per member and round: doubly stochastic with weights ½, so the mean is kept. For
    n = 2^τ any τ rounds in a row give the exact average: Π_k ½(I + P^(2^k)) = J; for other n it is nearly as fast.
    A join or leave moves everybody behind it by one place, so views must agree. Cost O(n log n).
    Source: [Assran, Loizou, Ballas & Rabbat 2019, Stochastic Gradient Push for Distributed Deep Learning];
    exact average by [Ying et al. 2021, Exponential Graph is Provably Efficient for Decentralized Deep Training].
    """

    changes: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """How members stand in the circle."""

        order: Annotated[
            Literal["hash", "sorted"],
            msgspec.Meta(
                description="How members stand in the circle: by a hash of the seed and their names, so that nobody"
                " chooses its place, or sorted by name."
            ),
        ] = "hash"

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:  # noqa: ARG002  the interface
        """Return to whom each member gives; one alone gives to nobody."""
        nodes = sorted(set(members))
        if len(nodes) < 2:
            return Digraph.from_receivers(dict.fromkeys(nodes, ()))
        order = ordered(nodes, seed, "one-peer-exponential") if self.config.order == "hash" else nodes
        distance = 1 << round % (len(nodes) - 1).bit_length()
        turned = order[distance:] + order[:distance]
        return Digraph.from_receivers({node: (other,) for node, other in zip(order, turned, strict=True)})
