"""The two ends of the spectrum of a large symmetric matrix, from products with vectors alone.

The Lanczos recursion builds an orthonormal basis of span{v, A v, A² v, …} in which A is tridiagonal,

    β_k v_{k+1} = A v_k − α_k v_k − β_{k−1} v_{k−1}

and the extreme eigenvalues of the small matrix T_m approach those of A from inside, after √(range of the spectrum / gap
at its end) steps or so. We keep three vectors only. Rounding then makes the basis lose its orthogonality, which gives
copies of eigenvalues that have been found already, and never a wrong one: the ends stay right, and the ends are all
that is read. They come from T_m by bisection with Sturm sequences, O(m) per probe.

Averages stand still under gossip, so that everything happens on vectors of mean zero: whatever rounding brings back of
the constant vector is taken out in each step.
Source: [Lanczos 1950]; without reorthogonalisation [Paige 1980, Accuracy and effectiveness of the Lanczos algorithm
for the symmetric eigenproblem]; bisection [Barth, Martin & Wilkinson 1967].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from topology.edge_matrix import Vector
from topology.errors import UnsolvedError

FIRST_CHECK = 64
MAX_STEPS = 1 << 16
"""A ring of 10,000 nodes takes 2¹³ steps; what takes more is thinner than any graph that one would gossip on."""

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def start_vector(n: int) -> Vector:
    """Return a fixed vector of mean zero and length one, [n], without structure that a graph might share.

    The fractional parts of k²·φ behave like random numbers; an eigenvector that happened to be orthogonal to them
    to 16 digits would be missed.
    """
    squares = np.arange(1, n + 1, dtype=np.float64) ** 2
    vector: Vector = np.mod(squares * GOLDEN_RATIO, 1.0)
    vector -= vector.mean()
    vector /= np.linalg.norm(vector)
    return vector


def extreme_eigenvalues(product: Callable[[Vector], Vector], n: int, accuracy: float = 1e-7) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue of A on the vectors of mean zero; `product` is x ↦ A x, n >= 2.

    A is symmetric and maps vectors of mean zero to such. The steps are doubled until both ends have moved by less than
    `accuracy`, as a share of the value itself, or by less than 1e-13 of the largest magnitude: rounding allows no
    better, so that an end of 0 is 0 to that much. The error falls to its square when steps double: it is far below the
    last move. Deterministic. Raises `UnsolvedError` after `MAX_STEPS`.
    """
    alphas: list[float] = []
    betas: list[float] = []
    vector, before, beta = start_vector(n), np.zeros(n), 0.0
    scale, check, ends = 0.0, FIRST_CHECK, (math.inf, -math.inf)
    while True:
        image = product(vector) - beta * before
        alpha = float(vector @ image)
        alphas.append(alpha)
        image -= alpha * vector
        image -= image.mean()
        beta = float(np.linalg.norm(image))
        scale = max(scale, abs(alpha), beta)
        # The space is whole, and what T_m has are eigenvalues of A: a complete graph, a star, a small n.
        whole = beta <= 1e-12 * scale
        if whole or len(alphas) == check:
            last, ends = ends, _ends_of_tridiagonal(alphas, betas)
            magnitude = max(abs(ends[0]), abs(ends[1]))
            moved = max(
                abs(now - then) - max(accuracy * abs(now), 1e-13 * magnitude)
                for now, then in zip(ends, last, strict=True)
            )
            if whole or moved <= 0:
                return ends
            if check >= MAX_STEPS:
                raise UnsolvedError(
                    f"eigenvalues of {n} nodes are not known to {accuracy} after {check} steps: the graph is too thin"
                )
            check *= 2
        betas.append(beta)
        before, vector = vector, image / beta


def _ends_of_tridiagonal(alphas: list[float], betas: list[float]) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue of the symmetric matrix with these two diagonals."""
    squares = [beta * beta for beta in betas]
    smallest = _smallest_of_tridiagonal(alphas, squares)
    return smallest, -_smallest_of_tridiagonal([-alpha for alpha in alphas], squares)


def _smallest_of_tridiagonal(alphas: list[float], squares: list[float]) -> float:
    reach = [math.sqrt(square) for square in [0.0, *squares, 0.0]]
    radii = [a + b for a, b in pairwise(reach)]
    low = min(alpha - radius for alpha, radius in zip(alphas, radii, strict=True))
    high = min(alphas)
    finest = 2e-16 * max(abs(low), abs(high))
    while high - low > finest:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _has_eigenvalue_below(middle, alphas, squares):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _has_eigenvalue_below(x: float, alphas: list[float], squares: list[float]) -> bool:
    """Say whether T − x has a negative pivot, which is to say a negative eigenvalue (Sylvester's law of inertia)."""
    pivot = alphas[0] - x
    for alpha, square in zip(alphas[1:], squares, strict=True):
        if pivot < 0:
            return True
        pivot = alpha - x - square / (pivot or 1e-300)
    return pivot < 0
