"""Random walks on a graph: whom a token (a model that travels) goes to next.

The Metropolis–Hastings walk visits all nodes equally often in the long run, whatever their degrees:

    P_ij = 1 / max(d_i, d_j) for neighbours,   P_ii = 1 − Σ_j P_ij,   μ_i = 1/n

The self-repellent walk (SRRW) takes the same steps, but shuns what it has visited often:

    K_ij ∝ P_ij (x̂_j / μ_j)^(−α)

x̂ is the share of visits so far, α >= 0 how strongly it shuns: α = 0 is the walk above. For every α the shares converge
to μ as well, and their asymptotic variance falls as O(1/α). Each node counts as visited once before the walk begins,
which keeps x̂ above 0 as the theory demands; constant factors cancel, so the counts are all that a token has to carry.

Source: [Doshi, Hu & Eun 2023, Self-Repellent Random Walks on General Graphs: Achieving Minimal Sampling Variance via
Nonlinear Markov Chains, ICML]; [Hastings 1970, Monte Carlo sampling methods using Markov chains].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

from topology.graph import Graph, Node


def metropolis_hastings(graph: Graph[Node], node: Node) -> dict[Node, float]:
    """Return the probabilities of the next node of the plain walk, sorted by node: neighbours and `node` itself.

    They sum to 1. Needs the degrees of the neighbours, nothing else. O(deg).
    """
    own = graph.degree(node)
    moves = {other: 1.0 / max(own, graph.degree(other)) for other in graph.neighbours(node)}
    moves[node] = max(0.0, 1.0 - math.fsum(moves.values()))
    return dict(sorted(moves.items()))


def self_repellent(graph: Graph[Node], node: Node, visits: Mapping[Node, int], alpha: float) -> dict[Node, float]:
    """Return the probabilities of the next node of the self-repellent walk, sorted by node.

    `visits`: how often the walk was at each node, those without an entry never. `alpha` >= 0: the authors use 5 to 10.
    Raises `ValueError` for a negative or infinite `alpha`. O(deg).
    """
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha must be at least 0 and finite, got {alpha}")
    plain = {other: p for other, p in metropolis_hastings(graph, node).items() if p > 0}
    least = min(visits.get(other, 0) + 1 for other in plain)  # relative to it no power overflows, and one of them is 1
    weights = {other: p * ((visits.get(other, 0) + 1) / least) ** -alpha for other, p in plain.items()}
    total = math.fsum(weights.values())
    return {other: weight / total for other, weight in weights.items()}


def step(
    graph: Graph[Node], node: Node, draw: float, *, visits: Mapping[Node, int] | None = None, alpha: float = 0.0
) -> Node:
    """Return where the walk goes from `node`, which may be `node` itself; a node without neighbours is never left.

    `draw`: uniform in [0, 1). The caller counts the visit. With `alpha` = 0 `visits` are of no consequence.
    """
    moves = self_repellent(graph, node, visits or {}, alpha)
    reached = list(moves)
    for other, bound in zip(reached, accumulate(moves.values()), strict=True):
        if draw < bound:
            return other
    return reached[-1]  # rounding left the sum a little below 1
