"""Gossip matrices and how fast they agree."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from topology.errors import GraphError
from topology.graph import Graph, Node
from topology.weights import metropolis

Matrix = npt.NDArray[np.float64]


def metropolis_matrix(graph: Graph[Node]) -> tuple[tuple[Node, ...], Matrix]:
    """Return the nodes in their order and W, float64 [n, n], with Metropolis weights (see `weights.metropolis`).

    W is symmetric with rows and columns that sum to 1; a node without neighbours has w_ii = 1.
    """
    nodes = graph.nodes
    index = {node: i for i, node in enumerate(nodes)}
    degrees = np.array([graph.degree(node) for node in nodes], dtype=np.float64)
    weights = np.zeros((len(nodes), len(nodes)))
    for a, b in graph.edges:
        i, j = index[a], index[b]
        weights[i, j] = weights[j, i] = metropolis(degrees[i], degrees[j])
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return nodes, weights


def second_eigenvalue(weights: Matrix) -> float:
    """Return λ = max(|λ₂|, |λₙ|) of a symmetric stochastic matrix [n, n]: what disagreement shrinks by in one step.

    0 for a complete graph, 1 for a disconnected one; 0 for n = 1. Raises `GraphError` when W is not symmetric.
    Cost O(n³).
    """
    if not np.allclose(weights, weights.T, rtol=0, atol=1e-12):
        raise GraphError("the second eigenvalue is defined here for symmetric matrices only")
    magnitudes = np.sort(np.abs(np.linalg.eigvalsh(weights)))
    return float(cast("np.float64", magnitudes[-2])) if len(magnitudes) > 1 else 0.0


def spectral_gap(weights: Matrix) -> float:
    """Return 1 − λ (see `second_eigenvalue`)."""
    return 1.0 - second_eigenvalue(weights)
