"""Gossip matrices from degrees: W with W 1 = 1 on the edges of a graph, so that x ← W x is a step of averaging.

All are `EdgeMatrix`, O(n + E) numbers; `.dense()` writes them out. Those that need more of the graph than degrees, and
mix faster for it, are in `optimal_weights`; how fast a matrix mixes is in `spectra`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topology.edge_matrix import EdgeMatrix, Matrix, Vector, degrees, edge_indices, sums_at_nodes
from topology.graph import Graph, Node
from topology.weights import metropolis

__all__ = [
    "Matrix",
    "lazy",
    "max_degree_weights",
    "metropolis_matrix",
    "metropolis_weights",
    "symmetric_weights",
    "uniform_weights",
]


def symmetric_weights(graph: Graph[Node], weights: Vector) -> EdgeMatrix[Node]:
    """Return the symmetric W with w_e on the edges, [E] in the order of `graph.edges`, and w_ii = 1 − Σ_j w_ij."""
    ends = edge_indices(graph)
    return EdgeMatrix(graph.nodes, ends, weights, weights, 1.0 - sums_at_nodes(ends, weights, len(graph)))


def metropolis_weights(graph: Graph[Node]) -> EdgeMatrix[Node]:
    """Return W with Metropolis weights: w_ij = 1 / (1 + max(d_i, d_j)) (see `weights.metropolis`).

    Symmetric and doubly stochastic with w_ii > 0: it mixes on every connected graph. A node without neighbours has
    w_ii = 1.
    """
    return _from_degrees(graph, metropolis)


def max_degree_weights(graph: Graph[Node]) -> EdgeMatrix[Node]:
    """Return W with one weight on all edges, w_ij = 1 / (1 + d_max), d_max the largest degree.

    Symmetric and doubly stochastic with w_ii > 0. One hub slows everybody down: Metropolis weights are at least as
    large on every edge, so that their λ₂ is never larger. The degree of the hub has to be known everywhere.
    Source: [Xiao & Boyd 2004, Fast linear iterations for distributed averaging, §4.1], there with 1 / d_max.
    """
    largest = degrees(graph).max(initial=0.0)
    return _from_degrees(graph, lambda a, b: np.full_like(a + b, 1.0 / (1.0 + largest)))


def uniform_weights(graph: Graph[Node]) -> EdgeMatrix[Node]:
    """Return W with which each node takes the plain mean of itself and its neighbours: w_ij = 1 / (1 + d_i).

    Row-stochastic, and symmetric only where all degrees are equal: on other graphs consensus is reached at the mean
    weighted by π_i = (1 + d_i) / Σ_j (1 + d_j), not at the mean.
    """
    ends, shares = edge_indices(graph), 1.0 / (1.0 + degrees(graph))
    return EdgeMatrix(graph.nodes, ends, shares[ends[:, 0]], shares[ends[:, 1]], shares)


def lazy(weights: EdgeMatrix[Node]) -> EdgeMatrix[Node]:
    """Return (I + W)/2: half a step, λ₂ becomes (1 + λ₂)/2.

    No eigenvalue is negative when W has none below −1, so that it mixes on connected graphs whatever W is.
    """
    return EdgeMatrix(weights.nodes, weights.edges, weights.upper / 2, weights.lower / 2, 0.5 + weights.diagonal / 2)


def metropolis_matrix(graph: Graph[Node]) -> tuple[tuple[Node, ...], Matrix]:
    """Return the nodes in their order and `metropolis_weights` written out, float64 [n, n]."""
    return graph.nodes, metropolis_weights(graph).dense()


def _from_degrees(graph: Graph[Node], weight: Callable[[Vector, Vector], Vector]) -> EdgeMatrix[Node]:
    ends, degree = edge_indices(graph), degrees(graph)
    return symmetric_weights(graph, weight(degree[ends[:, 0]], degree[ends[:, 1]]))
