"""The Barabási–Albert graph: newcomers attach to those who have many neighbours already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec

from topology.families.positions import words
from topology.families.urn import Urn
from topology.graph import Graph, Node


class BarabasiAlbert:
    """Members arrive in the order of hash(seed, name); each attaches to m earlier ones by preference for degree.

        P(newcomer → i) = d_i / Σ_j d_j,   d the degrees among those who arrived earlier

    The first m+1 are a complete graph. A target is drawn as one of the two ends of an earlier edge, and the edge as
    one of the m of an earlier member, both uniform, which is the same law. Then
    P(degree = k) → 2m(m+1) / (k(k+1)(k+2)): a tail of k⁻³, mean degree 2m, hubs of the order of m·√n. Diameter of the
    order of ln n / ln ln n for m ≥ 2; fewer than m losses never disconnect it. Random losses do little, the loss of
    hubs does much.
    Draws name members, not ranks (`urn`), so that a join or a leave changes about 10·m edges in the mean, whatever n
    is, and more where a hub comes or goes; drawn by rank, all later edges would change. Cost O(m·n), 0.6 s for m = 2
    and n = 10⁴.
    Source: [Barabási & Albert 1999, Emergence of Scaling in Random Networks]; its law by copying the ends of edges
    [Krapivsky & Redner 2001, Organization of growing random networks]; arrival and draws by hash are ours.
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of the Barabási–Albert graph."""

        m: Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=512,
                description="Earlier members that each newcomer attaches to; the mean degree is twice that. 1 gives a"
                " tree. Larger: faster agreement, more traffic.",
            ),
        ] = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the graph over `members`; m+1 or fewer are a complete graph."""
        urn = Urn(members, seed, "barabasi-albert arrival")
        targets: list[list[int]] = []
        for rank, name in enumerate(urn.order):
            targets.append(list(range(rank)) if rank <= self.config.m else self._attach(urn, targets, name, seed))
        edges = ((urn.order[i], urn.order[j]) for i, chosen in enumerate(targets) for j in chosen)
        return Graph.from_edges(urn.order, edges)

    def _attach(self, urn: Urn[Node], targets: list[list[int]], name: Node, seed: int) -> list[int]:
        """Return m distinct earlier ranks. Each has a stream of draws of its own, so that one can change alone."""
        chosen: list[int] = []
        for slot in range(self.config.m):
            numbers = words(seed, "barabasi-albert", name, slot)
            while True:
                owner = urn.draw_before(len(targets), numbers)
                edge, end = divmod(next(numbers) % (2 * self.config.m), 2)
                if edge < len(targets[owner]):  # the first m+1 have fewer edges to earlier ones than m
                    target = targets[owner][edge] if end else owner
                    if target not in chosen:
                        chosen.append(target)
                        break
        return chosen
