"""The symmetric gossip matrices that mix fastest on a graph: λ = ‖W − J‖₂ is convex in the weights of the edges.

    minimise s   such that   −s I ⪯ W − J ⪯ s I,   W = I − Σ_e w_e (e_i − e_j)(e_i − e_j)ᵀ

Free w, fastest distributed linear averaging: weights may be negative, which is of use for averaging, and no longer a
convex combination of models: robust rules and privacy arguments that need one do not hold. With w >= 0 and w_ii >= 0,
the fastest mixing Markov chain. With one w for all edges, the best constant weight, in closed form.

**Closed form.** An automorphism of the graph permutes the weights of a solution into another solution, and λ is convex,
so that the mean over all automorphisms is a solution too. Where they take each edge to each (edge-transitive graphs),
it has the same weight everywhere: the best constant weight is optimal. Among constant weights λ is convex with its
minimum there, and w_ii = 1 − d_i w >= 0 says w <= 1/d_max: the best chain has the smaller of the two. Complete graphs,
rings, complete bipartite graphs (stars among them) and hypercubes are edge-transitive, and recognised; no program is
solved.
Source: [Xiao & Boyd 2004, Fast linear iterations for distributed averaging]; [Boyd, Diaconis & Xiao 2004, Fastest
mixing Markov chain on a graph]; symmetry: [Boyd, Diaconis, Parrilo & Xiao 2009, Fastest mixing Markov chain on graphs
with symmetries].
"""

from __future__ import annotations

import numpy as np

from topology.edge_matrix import EdgeMatrix, Vector, sums_at_nodes
from topology.errors import GraphError
from topology.graph import Graph, Node
from topology.matrices import symmetric_weights
from topology.semidefinite import centring, laplacian_of, modelling, solve
from topology.spectra import laplacian_extremes


def best_constant_weight(graph: Graph[Node]) -> float:
    """Return 2 / (λ₁(L) + λ_{n−1}(L)), L's largest and smallest nonzero eigenvalue: the best w that all edges share.

    λ = (λ₁ − λ_{n−1}) / (λ₁ + λ_{n−1}) then. 0 for one node. Raises `GraphError` when the graph is not connected.
    Cost and accuracy: see `spectra`; 10,000 nodes are no trouble.
    Source: [Xiao & Boyd 2004, §4.1].
    """
    _check_connected(graph)
    smallest, largest = laplacian_extremes(graph)
    return 2.0 / (smallest + largest) if len(graph) > 1 else 0.0


def best_constant_weights(graph: Graph[Node]) -> EdgeMatrix[Node]:
    """Return W with `best_constant_weight` on all edges. w_ii is negative at nodes of degree above 1/w."""
    return symmetric_weights(graph, np.full(len(graph.edges), best_constant_weight(graph)))


def fastest_averaging_weights(graph: Graph[Node]) -> EdgeMatrix[Node]:
    """Return the symmetric W of least λ = ‖W − J‖₂ on a connected graph (FDLA); weights may be negative.

    Closed form on graphs that are known to be edge-transitive, else the program above, to about 1e-7 in λ. Raises
    `GraphError` when the graph is not connected, `MissingSolverError` without the extra `optimal`, `UnsolvedError` when
    the solver fails. Cost: a program with two blocks of n rows: below 0.1 s for n = 16, a second for 32, 15 s for 64 on
    one core, and out of reach beyond 100 or so.
    """
    _check_connected(graph)
    if is_known_edge_transitive(graph):
        return best_constant_weights(graph)
    return symmetric_weights(graph, _solved(graph, nonnegative=False))


def fastest_mixing_weights(graph: Graph[Node]) -> EdgeMatrix[Node]:
    """Return the symmetric W >= 0 of least λ = ‖W − J‖₂ on a connected graph (fastest mixing Markov chain).

    Closed form, accuracy, errors and cost as `fastest_averaging_weights`.
    """
    _check_connected(graph)
    if is_known_edge_transitive(graph):
        return _nonnegative(best_constant_weights(graph))
    return _nonnegative(symmetric_weights(graph, _solved(graph, nonnegative=True)))


def is_known_edge_transitive(graph: Graph[Node]) -> bool:
    """Say whether the graph is complete, a ring, complete bipartite (a star, say) or a hypercube; O(n + E).

    Other edge-transitive graphs (tori with sides of one length, Petersen's) are not recognised.
    """
    n, num_edges = len(graph), len(graph.edges)
    if not graph.is_connected():
        return False
    if num_edges == n * (n - 1) // 2 or all(graph.degree(node) == 2 for node in graph.nodes):
        return True
    return _is_complete_bipartite(graph) or _is_hypercube(graph)


def _solved(graph: Graph[Node], *, nonnegative: bool) -> Vector:
    cp = modelling()
    n = len(graph)
    weights, slack = cp.Variable(len(graph.edges)), cp.Variable()
    disagreement = centring(n) - laplacian_of(weights, graph)
    constraints = [slack * np.eye(n) - disagreement >> 0, slack * np.eye(n) + disagreement >> 0]
    if nonnegative:
        constraints += [weights >= 0, cp.diag(laplacian_of(weights, graph)) <= 1]
    solve(cp.Problem(cp.Minimize(slack), constraints), f"fastest weights on {graph!r}")
    return np.asarray(weights.value, dtype=np.float64)


def _nonnegative(weights: EdgeMatrix[Node]) -> EdgeMatrix[Node]:
    """Return W >= 0: weights below 0 become 0, and all are scaled down so far that the fullest node keeps w_ii = 0.

    Exact for one weight on all edges; solutions of the program miss W >= 0 by the solver's tolerance only.
    """
    along = np.maximum(weights.upper, 0.0)
    along = along / max(1.0, float(sums_at_nodes(weights.edges, along, len(weights)).max()))
    diagonal = 1.0 - sums_at_nodes(weights.edges, along, len(weights))
    return EdgeMatrix(weights.nodes, weights.edges, along, along, np.maximum(diagonal, 0.0))


def _check_connected(graph: Graph[Node]) -> None:
    if not (len(graph) and graph.is_connected()):
        raise GraphError(f"weights that mix fastest need a connected graph; got {graph!r}")


def _is_complete_bipartite(graph: Graph[Node]) -> bool:
    one = set(graph.neighbours(graph.nodes[0]))
    other = set(graph.nodes) - one
    return len(graph.edges) == len(one) * len(other) and all((a in one) != (b in one) for a, b in graph.edges)


def _is_hypercube(graph: Graph[Node]) -> bool:
    """Say whether nodes can be named by the numbers below 2ᵏ so that edges are those pairs that differ in one bit.

    One node is 0 and its neighbours are the powers of 2, without loss of generality. Level by level each name is then
    the union of the bits of the neighbours one level nearer; the names are checked, not trusted.
    """
    n, root = len(graph), graph.nodes[0]
    dimension = graph.degree(root)
    if n != 1 << dimension or len(graph.edges) * 2 != n * dimension:
        return False
    names = {root: 0} | {node: 1 << bit for bit, node in enumerate(graph.neighbours(root))}
    level = list(graph.neighbours(root))
    while level:
        reached: dict[Node, int] = {}
        for node in level:
            for other in graph.neighbours(node):
                if other not in names:
                    reached[other] = reached.get(other, 0) | names[node]
        names |= reached
        level = list(reached)
    return len(set(names.values())) == n and all((names[a] ^ names[b]).bit_count() == 1 for a, b in graph.edges)
