"""Where convex programs over positive semidefinite matrices are solved: cvxpy and Clarabel, both optional.

Clarabel is an interior-point method: 10 to 20 steps, each of which factors a matrix with one row per entry of the
semidefinite blocks. Memory grows with the fourth power of the number of nodes and time, in the end, with the sixth:
these programs are for dozens of nodes.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np

from topology.edge_matrix import Matrix, edge_indices
from topology.errors import MissingSolverError, UnsolvedError
from topology.graph import Graph, Node

if TYPE_CHECKING:
    import cvxpy

TOLERANCE = 1e-7
"""Of Clarabel, each: duality gap absolute and relative, and how far constraints are missed.

1e-8 is beyond it on graphs with many equal eigenvalues (a torus); at 1e-7 it is right to 3e-8 on all that we know.
"""


def modelling() -> ModuleType:
    """Return the module cvxpy. Raises `MissingSolverError` when it, or Clarabel, is not installed."""
    try:
        import cvxpy

        importlib.import_module("clarabel")  # which cvxpy calls by name
    except ImportError:
        raise MissingSolverError(
            "optimal weights and rates need a solver of convex programs: pip install 'murmuration[optimal]'"
        ) from None
    return cvxpy


def solve(problem: cvxpy.Problem, what: str, *, nearly: bool = False) -> None:
    """Solve to `TOLERANCE`, in place. Raises `UnsolvedError`, naming `what`, when the solver says anything less.

    `nearly` is content with what Clarabel calls almost solved (gap 5e-5, constraints 1e-4): for callers who measure
    what they got.
    """
    cp = modelling()
    limits = {"tol_gap_abs": TOLERANCE, "tol_gap_rel": TOLERANCE, "tol_feas": TOLERANCE}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")  # the status says so, and is read
            problem.solve(solver=cp.CLARABEL, **limits)  # type: ignore[no-untyped-call]  # cvxpy is typed in part
    except cp.error.SolverError as error:
        raise UnsolvedError(f"{what}: the solver gave up: {error}") from error
    if problem.status != cp.OPTIMAL and not (nearly and problem.status == cp.OPTIMAL_INACCURATE):
        raise UnsolvedError(f"{what}: the solver ended as {problem.status}, not optimal to {TOLERANCE}")


def laplacian_of(rates: cvxpy.Variable, graph: Graph[Node]) -> cvxpy.Expression:
    """Return Λ = Σ_e rates_e (e_i − e_j)(e_i − e_j)ᵀ, [n, n], linear in `rates`, [E]."""
    cp = modelling()
    sparse = importlib.import_module("scipy.sparse")  # cvxpy brings it
    n, (i, j) = len(graph), edge_indices(graph).T
    entries = np.concatenate([i * n + i, j * n + j, i * n + j, j * n + i])
    signs = np.repeat([1.0, -1.0], 2 * len(i))
    stacked = sparse.csr_array((signs, (entries, np.tile(np.arange(len(i)), 4))), shape=(n * n, len(i)))
    return cast("cvxpy.Expression", cp.reshape(stacked @ rates, (n, n), order="C"))


def centring(n: int) -> Matrix:
    """Return I − J, [n, n], J = 11ᵀ/n."""
    return np.eye(n) - 1.0 / n
