"""How fast peers agree, read from eigenvalues: of the gossip matrix W in steps, of the Laplacian Λ in meetings.

Steps: ‖x(t) − x̄‖ shrinks by λ = ‖W − J‖₂, J = 11ᵀ/n, which is the second largest magnitude of an eigenvalue of W
(SLEM). Meetings of pairs at random times: by what Λ = Σ_e λ_e (e_i − e_j)(e_i − e_j)ᵀ has as its smallest eigenvalue
above 0. I − W is the Laplacian of the weights, so both are one calculation: eigenvalues of a Laplacian on vectors of
mean zero. Up to `DENSE_UP_TO` nodes they are all calculated, O(n³), exact to rounding; above, `lanczos` finds the two
ends from products with the E edges, to a relative 1e-6 of 1 − λ₂, of the algebraic connectivity and of the largest
eigenvalue. A matrix that is given written out, [n, n], is treated as such whatever its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from topology.edge_matrix import EdgeMatrix, Indices, Matrix, Vector, edge_indices, sums_at_nodes
from topology.errors import GraphError
from topology.graph import Graph, Node
from topology.lanczos import extreme_eigenvalues

DENSE_UP_TO = 300
"""Nodes. There both ways take about as long, hundredths of a second; above, Lanczos is faster even on rings."""

Rates = float | Mapping[tuple[Node, Node], float]
"""Meetings per unit of time: the same along all edges, or by edge as `Graph.edges` has it."""


def edge_rates(graph: Graph[Node], rates: Rates[Node] = 1.0) -> Vector:
    """Return the rates in the order of `graph.edges`, float64 [E]. Raises `GraphError` for an edge without a rate."""
    if not isinstance(rates, Mapping):
        return np.full(len(graph.edges), float(rates))
    try:
        return np.array([rates[edge] for edge in graph.edges], dtype=np.float64)
    except KeyError as missing:
        raise GraphError(f"edge {missing.args[0]!r} has no rate; edges are (smaller, larger) node") from None


def sparse_laplacian(graph: Graph[Node], rates: Rates[Node] = 1.0) -> EdgeMatrix[Node]:
    """Return Λ = Σ_e λ_e (e_i − e_j)(e_i − e_j)ᵀ as numbers per edge and node; O(n + E)."""
    ends, along = edge_indices(graph), edge_rates(graph, rates)
    return EdgeMatrix(graph.nodes, ends, -along, -along, sums_at_nodes(ends, along, len(graph)))


def laplacian(graph: Graph[Node], rates: Rates[Node] = 1.0) -> Matrix:
    """Return `sparse_laplacian` written out, float64 [n, n], nodes in their order."""
    return sparse_laplacian(graph, rates).dense()


def laplacian_extremes(graph: Graph[Node], rates: Rates[Node] = 1.0) -> tuple[float, float]:
    """Return (smallest eigenvalue but for the one of 1, largest) of Λ; the first is 0 where not everybody is connected.

    Between them lies what best constant weights and semi-iterative methods depend on. (0, 0) for one node. Cost and
    accuracy: see the module.
    """
    along = edge_rates(graph, rates)
    if not (along >= 0).all() or not np.isfinite(along).all():
        raise GraphError("rates of edges must be finite and not negative")
    smallest, largest = _ends(edge_indices(graph), along, len(graph))
    return max(smallest, 0.0) if _joins_all(graph, along) else 0.0, largest


def algebraic_connectivity(graph: Graph[Node], rates: Rates[Node] = 1.0) -> float:
    """Return the second smallest eigenvalue of Λ, >= 0: 0 exactly when the graph is not connected, and for one node.

    It is 1/χ₁; 2 − 2 cos(2π/n) for a ring, n for a complete graph, at most the least degree for any other.
    Cost and accuracy: see the module.
    Source: [Fiedler 1973, Algebraic connectivity of graphs].
    """
    return laplacian_extremes(graph, rates)[0]


def chi(graph: Graph[Node], rates: Rates[Node] = 1.0) -> tuple[float, float]:
    """Return (χ₁, χ₂) of a connected graph whose edges are used at `rates`: how slowly it mixes, overall and next door.

        χ₁ = 1 / λ₂(Λ),   χ₂ = ½ max_{(i,j) ∈ E} (e_i − e_j)ᵀ Λ⁺ (e_i − e_j)

    χ₂ ≤ χ₁, with equality on the complete graph; rates times c divide both by c. χ₂ is half the largest effective
    resistance between neighbours, along edges of rate 0 too. Raises `GraphError` when the edges of rates above 0 do not
    connect two nodes or more, or when a rate is negative or the one rate for all is 0. Cost O(n³).
    Source: [Nabli & Oyallon 2023, DADAO: Decoupled Accelerated Decentralized Asynchronous Optimization].
    """
    along = edge_rates(graph, rates)
    usable = len(graph) > 1 and bool(((along >= 0) & np.isfinite(along)).all()) and _joins_all(graph, along)
    if not usable:
        raise GraphError(f"χ₁ and χ₂ need a connected graph of two nodes or more and positive rates; got {graph!r}")
    n, matrix = len(graph), laplacian(graph, rates)
    # On differences (Λ + cJ)⁻¹ is Λ⁺ for every c > 0; the mean rate keeps the matrix well conditioned.
    inverse = np.linalg.inv(matrix + np.trace(matrix) / n**2)
    i, j = edge_indices(graph).T
    resistance = inverse[i, i] + inverse[j, j] - 2 * inverse[i, j]
    return 1.0 / algebraic_connectivity(graph, rates), float(resistance.max() / 2)


def least_rate(graph: Graph[Node]) -> float:
    """Return the meetings per edge and unit of time that DADAO needs when all edges are used alike: 2 χ₁ χ₂ = 1.

    With `chi` at rate 1 it is √(2 χ₁ χ₂); times the number of edges it is λ_mix, the total. Fewer meetings make it
    diverge; more are of no use to it. `optimal_rates` has the least total when edges may differ.
    """
    chi1, chi2 = chi(graph)
    return math.sqrt(2 * chi1 * chi2)


def pairwise_contraction(graph: Graph[Node], rates: Rates[Node] = 1.0) -> float:
    """Return λ₂(E[W]) of one meeting at random times in which a pair takes its mean: how the expectation contracts.

        E[W] = I − Λ / (2 Σ_e λ_e),   λ₂(E[W]) = 1 − λ₂(Λ) / (2 Σ_e λ_e)

    Edge e is the next with probability λ_e / Σ λ. E x(t) − x̄ shrinks by exactly this per meeting along the slowest
    mode, and E‖x − x̄‖² at least as fast, since W² = W. Per unit of time: exp(−λ₂(Λ)/2).
    Raises `GraphError` for negative rates and where no edge is used.
    Source: [Boyd, Ghosh, Prabhakar & Shah 2006, Randomized gossip algorithms].
    """
    total = float(edge_rates(graph, rates).sum())
    if not total > 0:
        raise GraphError(f"somebody has to meet: no edge of {graph!r} has a rate above 0")
    return 1.0 - algebraic_connectivity(graph, rates) / (2 * total)


def second_eigenvalue(weights: Matrix | EdgeMatrix[Any]) -> float:
    """Return λ = ‖W − J‖₂ of a symmetric W with W 1 = 1: what disagreement shrinks by in one step, λ = max(λ₂, |λₙ|).

    0 for a complete graph, 1 for a disconnected one, above 1 where W diverges; 0 for n = 1. Raises `GraphError` when W
    is not symmetric or has rows that do not sum to 1. Cost and accuracy: see the module.
    """
    smallest, largest = disagreement_extremes(weights)
    return max(abs(smallest), abs(largest))


def second_largest_eigenvalue(weights: Matrix | EdgeMatrix[Any]) -> float:
    """Return λ₂ of a symmetric W with W 1 = 1, with its sign: the largest eigenvalue on vectors of mean zero.

    0 for n = 1. Negative values exist: −1/(n−1) is that of a complete graph whose nodes give themselves nothing.
    """
    return disagreement_extremes(weights)[1]


def smallest_eigenvalue(weights: Matrix | EdgeMatrix[Any]) -> float:
    """Return λ_min of a symmetric gossip matrix: D² needs λ_min > −1/3, and (I + W)/2 always has λ_min >= 0."""
    return min(disagreement_extremes(weights)[0], 1.0) if len(weights) > 1 else 1.0


def spectral_gap(weights: Matrix | EdgeMatrix[Any]) -> float:
    """Return 1 − λ (see `second_eigenvalue`)."""
    return 1.0 - second_eigenvalue(weights)


def disagreement_extremes(weights: Matrix | EdgeMatrix[Any]) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue of W on vectors of mean zero; (0, 0) for n = 1.

    W is symmetric with W 1 = 1, else `GraphError`.
    """
    if not _is_symmetric(weights):
        raise GraphError("the second eigenvalue is defined here for symmetric matrices only")
    if not np.allclose(weights @ np.ones(len(weights)), 1.0, rtol=0, atol=1e-9):
        raise GraphError("a gossip matrix has rows that sum to 1")
    if isinstance(weights, EdgeMatrix):
        if len(weights) < 2:
            return 0.0, 0.0
        slowest, fastest = _ends(weights.edges, weights.upper, len(weights))
        return 1.0 - fastest, 1.0 - slowest
    values = np.linalg.eigvalsh(_on_disagreement(np.asarray(weights, dtype=np.float64)))
    return (float(values[0]), float(values[-1])) if len(values) else (0.0, 0.0)


def _is_symmetric(weights: Matrix | EdgeMatrix[Any]) -> bool:
    if isinstance(weights, EdgeMatrix):
        return weights.is_symmetric
    return np.allclose(weights, weights.T, rtol=0, atol=1e-12)


def _ends(edges: Indices, along: Vector, n: int) -> tuple[float, float]:
    """Return both ends of the spectrum of a Laplacian on vectors of mean zero; (0, 0) for n = 1."""
    i, j = edges.T
    if n < 2:
        return 0.0, 0.0
    if n <= DENSE_UP_TO:
        matrix = np.zeros((n, n))
        matrix[i, j] = matrix[j, i] = -along
        np.fill_diagonal(matrix, -matrix.sum(axis=1))
        values = np.linalg.eigvalsh(_on_disagreement(matrix))
        return float(values[0]), float(values[-1])

    def product(x: Vector) -> Vector:
        # Differences first: small eigenvalues come out to digits that I - W would have lost.
        flow = along * (x[i] - x[j])
        return (np.bincount(i, flow, n) - np.bincount(j, flow, n)).astype(np.float64, copy=False)

    return extreme_eigenvalues(product, n)


def _on_disagreement(matrix: Matrix) -> Matrix:
    """Return a symmetric matrix [n, n] that maps 1 to a multiple of it as it acts on vectors of mean zero, [n−1, n−1].

    The Householder reflection that exchanges 1/√n and the first axis leaves the rest of the axes as a basis.
    """
    n = len(matrix)
    normal: Vector = np.full(n, 1 / math.sqrt(n))
    normal[0] += 1.0
    normal /= np.linalg.norm(normal)
    half = matrix - 2 * np.outer(matrix @ normal, normal)
    reflected: Matrix = half - 2 * np.outer(normal, normal @ half)
    return reflected[1:, 1:]


def _joins_all(graph: Graph[Node], along: Vector) -> bool:
    """Say whether the edges of rates above 0 connect all nodes."""
    if (along > 0).all():
        return graph.is_connected()
    used = (edge for edge, rate in zip(graph.edges, along, strict=True) if rate > 0)
    return Graph.from_edges(graph.nodes, used).is_connected()
