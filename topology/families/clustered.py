"""The stochastic block model: dense clusters, loosely coupled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import msgspec

from topology.families.placed import Place, scatter
from topology.families.positions import POSITION_BITS, position
from topology.graph import Graph, Node

_CORE = 0.8  # share of a cluster's field, along each side, that its members are in: fields stay apart on the map


class Clustered:
    """Each member is in one of k clusters by its hash; pairs are edges with one probability inside, another between.

        P((a, b) ∈ E) = p_in if c(a) = c(b), else p_out,   c(a) = ⌊k · hash(seed, a) / 2⁶⁴⌋

    Clusters have n/k members in the mean, mean degree (n/k − 1)·p_in + (n − n/k)·p_out. Where p_out ≪ p_in clusters
    agree within themselves first: 1−λ is about k·p_out / (p_in + (k−1)·p_out). Villages, buildings, data centres; each
    has a field of the map of its own. Connected with high probability only when n/k·p_in and n·p_out are well above
    ln n and 1: **otherwise members or clusters stand alone**, and nothing here prevents it. A pair's fate depends on no
    third member: a join or a leave changes the edges at that member only, the least possible.
    Cost: n hashes and n²/2 scrambled numbers, 2 s for n = 10⁴; numpy is imported to build.
    Source: [Holland, Laskey & Leinhardt 1983, Stochastic blockmodels: First steps].
    """

    stable: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Parameters of the stochastic block model."""

        p_in: Annotated[
            float,
            msgspec.Meta(
                ge=0, le=1, description="Probability of an edge inside a cluster. Larger: clusters agree faster."
            ),
        ]
        p_out: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=1,
                description="Probability of an edge between clusters. Larger: all agree faster, clusters differ less.",
            ),
        ]
        clusters: Annotated[
            int,
            msgspec.Meta(ge=1, le=100_000, description="Number of clusters. Larger: smaller ones, that agree later."),
        ] = 4

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, members: Iterable[Node], seed: int) -> Graph[Node]:
        """Return the graph over `members`; it may be disconnected."""
        nodes = sorted(set(members))
        clusters = [self.cluster(name, seed) for name in nodes]
        keys = [position(seed, "clustered", name) for name in nodes]
        edges = self._edges(clusters, keys)
        return Graph.from_edges(nodes, ((nodes[i], nodes[j]) for i, j in edges))

    def cluster(self, name: int | str, seed: int) -> int:
        """Return the cluster of a member, in [0, clusters)."""
        return self.config.clusters * position(seed, "cluster", name) >> POSITION_BITS

    def positions(self, members: Iterable[Node], seed: int) -> dict[Node, Place]:
        """Return a random place for each member in the field of its cluster; fields tile the map, row by row."""
        columns = math.isqrt(self.config.clusters - 1) + 1
        rows = -(-self.config.clusters // columns)
        places = {}
        for name, (x, y) in scatter(members, seed).items():
            row, column = divmod(self.cluster(name, seed), columns)
            places[name] = (column + _margin(x)) / columns, (row + _margin(y)) / rows
        return places

    def _edges(self, clusters: list[int], keys: list[int]) -> Iterator[tuple[int, int]]:
        import numpy as np

        from topology.families.pair_hash import pair_hashes

        cluster_N, key_N = np.array(clusters, dtype=np.int64), np.array(keys, dtype=np.uint64)
        for i in range(len(keys) - 1):
            inside_L = cluster_N[i + 1 :] == cluster_N[i]
            hash_L = pair_hashes(keys[i], key_N[i + 1 :])
            p_L = np.where(inside_L, self.config.p_in, self.config.p_out)
            for later in np.flatnonzero(hash_L < p_L):
                yield i, i + 1 + int(later)


def _margin(x: float) -> float:
    return (1 - _CORE) / 2 + _CORE * x
