"""The Watts–Strogatz graph: a ring of neighbourhoods with a few shortcuts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Annotated, ClassVar

import msgspec

from topology.families.positions import POSITION_BITS, position, words
from topology.families.urn import Urn
from topology.graph import Graph, Node


class WattsStrogatz:
    """A ring where everybody knows the nearest, with one end of some edges moved to a random member.

        E = {(π(i), π(i+s mod n)) : 1 ≤ s ≤ degree/2},   π(i+s) replaced with probability `rewire`

    π the members by hash(seed, name). Mean degree `degree`, least degree/2 (each member keeps the ends that are its
    own); no edge is lost or doubled. Clustering falls slowly, C ≈ 3(degree−2) / (4(degree−1)) · (1−rewire)³, while
    distances fall fast, from a diameter of about n/degree at rewire = 0 to the order of ln n once there are more than
    a few shortcuts: friends of friends, in a small world. Agreement is as slow as on a ring at 0, and near to that of
    a random graph at 1. Connected with high probability, but for a small degree with rewire near 1: nothing here
    prevents it.
    A pair is rewired by its own hash, to a member named by `urn`: a join or a leave changes 3·degree/2 edges along the
    ring and about 3·rewire·degree shortcuts in the mean, independent of n. n ≤ degree+1 gives the complete graph.
    Cost O(n·degree), 0.3 s for degree 4 and n = 10⁴.
    Source: [Watts & Strogatz 1998, Collective dynamics of 'small-world' networks]; clustering by [Barrat & Weigt 2000,
    On the properties of small-world network models]; the draws by hash are ours.
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of the Watts–Strogatz graph."""

        degree: Annotated[
            int,
            msgspec.Meta(
                ge=2,
                le=1024,
                multiple_of=2,
                description="Mean number of neighbours, an even number. Larger: faster agreement, more traffic.",
            ),
        ] = 4
        rewire: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=1,
                description="Probability that an edge of the ring becomes a shortcut. Larger: faster agreement, less"
                " clustering.",
            ),
        ] = 0.1

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the graph over `members`; it may be disconnected when much is rewired."""
        nodes = sorted(set(members))
        n = len(nodes)
        if n <= self.config.degree + 1:
            return Graph.from_edges(nodes, combinations(nodes, 2))
        urn = Urn(nodes, seed, "watts-strogatz")
        neighbours: dict[Node, set[Node]] = {name: set() for name in nodes}
        rewired: list[tuple[Node, Node]] = []
        limit = self.config.rewire * 2**POSITION_BITS
        for i, a in enumerate(urn.order):
            for step in range(1, self.config.degree // 2 + 1):
                b = urn.order[(i + step) % n]
                if position(seed, "rewire", a, b) < limit:
                    rewired.append((a, b))
                else:
                    neighbours[a].add(b)
                    neighbours[b].add(a)
        for a, b in rewired:
            self._rewire(a, b, urn, neighbours, seed)
        return Graph(neighbours)

    def _rewire(self, a: Node, b: Node, urn: Urn[Node], neighbours: dict[Node, set[Node]], seed: int) -> None:
        """Give `a` a random neighbour in place of `b`; none is left to give when all are its neighbours already."""
        numbers = words(seed, "shortcut", a, b)
        while len(neighbours[a]) < len(urn.order) - 1:
            other = urn.order[urn.draw(numbers)]
            if other != a and other not in neighbours[a]:
                neighbours[a].add(other)
                neighbours[other].add(a)
                return
