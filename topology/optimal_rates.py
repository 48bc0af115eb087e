"""DADAO's optimal rates: the fewest meetings per unit of time, in all, with which it converges, edge by edge.

    minimise Σ_e λ_e   such that   2 χ₁ χ₂ <= 1

with χ₁ and χ₂ of Λ = Σ_e λ_e (e_i − e_j)(e_i − e_j)ᵀ as in `spectra.chi`. Both are convex in λ; their product is not.
For one value of c₁, and c₂ = ½ / c₁, the set of all λ with χ₁ <= c₁ and χ₂ <= c₂ is convex. In μ = c₁ λ, M = c₁ Λ that
is

    F(r) = minimise Σ_e μ_e   such that   M ⪰ I − J,   bₑᵀ M⁺ bₑ <= 2 r for each edge e,   r = c₂ / c₁ = 1 / (2 c₁²)

a semidefinite program, and the total is T(r) = F(r) / c₁ = √(2 r) F(r). All resistances are bounded at once by a matrix
Y ⪰ (M + J)⁻¹, which one block [[M + J, I], [I, Y]] ⪰ 0 says: bₑᵀ Y bₑ <= 2 r.

The best r lies in an interval that is known in advance. Resistances and rates obey Σ_e λ_e Rₑ = n − 1 (Foster), so that
F(r) >= (n−1) / (2 r); and F(r) >= F(1), since χ₂ <= χ₁ always. Let T₁ be the total of equal rates. Whatever does as
well has ½ ((n−1) / T₁)² <= r <= ½ (T₁ / F(1))². T need not have one valley only, so that the interval is looked over on
a grid first, and golden section narrows the best place down. All that was tried is then scaled so that 2 χ₁ χ₂ = 1 by
its own eigenvalues, and the least total of these is taken: what is returned is no better on paper than in use.

Worth it where a few edges carry what others do not: bridges and bottlenecks.
Source: the condition, [Nabli & Oyallon 2023, DADAO: Decoupled Accelerated Decentralized Asynchronous Optimization];
the program is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from topology.edge_matrix import Vector, edge_indices
from topology.graph import Graph, Node
from topology.semidefinite import centring, laplacian_of, modelling, solve
from topology.spectra import chi, least_rate

GRID = 5
"""Points at which the interval of log r is looked at before it is narrowed down."""

PRECISION = 1e-2
"""Width of the last interval of log r. The total is flat at its minimum: it is right to the square of this or so."""


def optimal_rates(graph: Graph[Node]) -> dict[tuple[Node, Node], float]:
    """Return the rate of each edge, >= 0, in meetings per unit of time: the least total for which 2 χ₁ χ₂ = 1.

    Keys are the edges as `Graph.edges` has them. The total is right to about 1e-5 and never above that of equal rates
    (`least_rate`); where solutions are not unique, rates are one of them. A rate near 0 means that the edge is not
    needed. Raises `GraphError` when the graph is not connected or has one node, `MissingSolverError` without the extra
    `optimal`, `UnsolvedError` when the solver fails. Cost: 10 to 20 semidefinite programs with a block of 2n rows: half
    a second for n = 8, 5 s for 16, half a minute for 24.
    """
    equal = np.full(len(graph.edges), least_rate(graph))
    best = min([equal, *_candidates(graph, float(equal.sum()))], key=lambda rates: float(rates.sum()))
    return dict(zip(graph.edges, best.tolist(), strict=True))


def _candidates(graph: Graph[Node], equal: float) -> list[Vector]:
    """Return the rates of all r that were tried, [E] each: those of a grid, then of golden section around the best."""
    program, n = _program(graph), len(graph)
    tried: list[Vector] = []

    def total(log_r: float) -> float:
        mu = program(math.exp(log_r))
        tried.append(_tight(graph, mu))
        # By T, not by the total of the tight rates, which is level where χ₁ has room left and would hide the way down.
        return math.sqrt(2 * math.exp(log_r)) * float(mu.sum())

    least = float(program(1.0).sum())
    low, high = math.log(((n - 1) / equal) ** 2 / 2), math.log(min(1.0, (equal / least) ** 2 / 2))
    if high - low <= PRECISION:
        total((low + high) / 2)
        return tried
    grid = np.linspace(low, high, GRID)
    place = int(np.argmin([total(log_r) for log_r in grid]))
    _golden_section(total, float(grid[max(place - 1, 0)]), float(grid[min(place + 1, GRID - 1)]))
    return tried


def _golden_section(value: Callable[[float], float], low: float, high: float) -> None:
    """Call `value` at points that close in on its minimum in [low, high], down to `PRECISION`."""
    share = (math.sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = value(left), value(right)
    while high - low > PRECISION:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = value(right)


def _program(graph: Graph[Node]) -> Callable[[float], Vector]:
    """Return r ↦ the μ, [E], that attains F(r)."""
    cp = modelling()
    n, (i, j) = len(graph), edge_indices(graph).T
    mu, bound, ratio = cp.Variable(len(graph.edges), nonneg=True), cp.Variable((n, n), symmetric=True), cp.Parameter()
    mixed = laplacian_of(mu, graph)
    resistances = bound[i, i] + bound[j, j] - 2 * bound[i, j]
    identity = np.eye(n)
    constraints = [
        mixed - centring(n) >> 0,
        cp.bmat([[mixed + identity - centring(n), identity], [identity, bound]]) >> 0,
        resistances <= 2 * ratio,
        cp.sum(bound) <= 2 * n,  # along 1, of which no resistance depends, Y would be unbounded; (M + J)⁻¹ has n here
    ]
    problem = cp.Problem(cp.Minimize(cp.sum(mu)), constraints)

    def solved(r: float) -> Vector:
        ratio.value = r
        solve(problem, f"rates of edges on {graph!r}", nearly=True)
        return np.maximum(np.asarray(mu.value, dtype=np.float64), 0.0)

    return solved


def _tight(graph: Graph[Node], rates: Vector) -> Vector:
    """Return the rates times what makes 2 χ₁ χ₂ = 1."""
    chi1, chi2 = chi(graph, dict(zip(graph.edges, rates.tolist(), strict=True)))
    return rates * math.sqrt(2 * chi1 * chi2)
