"""Epidemic Learning, local version: everybody pushes to random members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec

from topology.digraph import Digraph
from topology.graph import Graph, Node
from topology.samplers.draws import distinct_others, generator


class EpidemicLocal:
    """Everybody pushes its model to s members drawn uniformly from all others (EL-Local).

        S_i ~ Uniform{S ⊆ V ∖ {i} : |S| = s},   i → j  iff  j ∈ S_i

    s receivers each; the number of senders is Binomial(n−1, s/(n−1)), nearly Poisson(s), so e^(−s) of the members hear
    nothing in a round. Row-stochastic: the mean is kept in expectation, not in each round. Draws do not depend on each
    other: a member whose view differs errs about its own receivers only. Needs that anybody can be reached.
    Cost O(n·s²), 0.2 s for s = 14 and n = 10⁴.
    Source: [de Vos, Farhadkhani, Guerraoui, Kermarrec, Pires & Sharma 2023, Epidemic Learning: Boosting Decentralized
    Learning with Randomized Communication].
    """

    changes: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """To how many."""

        count: Annotated[
            int,
            msgspec.Meta(
                ge=0,
                le=1024,
                description="Members s that each one pushes to; 0: ⌈log₂ n⌉, the authors' choice. Larger: faster"
                " agreement, traffic in proportion.",
            ),
        ] = 0

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:  # noqa: ARG002  the interface
        """Return whom each member pushes to: all others, where there are no more than s."""
        import numpy as np

        nodes = sorted(set(members))
        n = len(nodes)
        count = min(self.config.count or (n - 1).bit_length(), max(n - 1, 0))
        drawn_NS = distinct_others(generator(seed, round, "epidemic-local"), np.arange(n), count, n).tolist()
        return Digraph.from_receivers(
            {node: [nodes[j] for j in row] for node, row in zip(nodes, drawn_NS, strict=True)}
        )
