"""A matrix on a graph: one number per edge and direction, and one per node, so that 10,000 nodes need no n² numbers."""

# n nodes, E edges, A = 2 E arcs, D columns

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import numpy as np
import numpy.typing as npt

from topology.graph import Graph, Node

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def edge_indices(graph: Graph[Node]) -> Indices:
    """Return the edges as (i, j), i < j, places in `graph.nodes`: int64 [E, 2], in the order of `graph.edges`."""
    index = {node: i for i, node in enumerate(graph.nodes)}
    return np.array([(index[a], index[b]) for a, b in graph.edges], dtype=np.int64).reshape(-1, 2)


def degrees(graph: Graph[Node]) -> Vector:
    """Return the numbers of neighbours, float64 [n], nodes in their order."""
    return np.array([graph.degree(node) for node in graph.nodes], dtype=np.float64)


def sums_at_nodes(edges: Indices, along: Vector, n: int) -> Vector:
    """Return at each node, [n], the sum of the numbers [E] on its edges [E, 2]."""
    return np.bincount(edges.ravel(), np.repeat(along, 2), n).astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class EdgeMatrix(Generic[Node]):
    """A real n × n matrix that is zero but on the diagonal and at the edges of a graph. Memory O(n + E).

        M[i, j] = upper[e],  M[j, i] = lower[e]  for edge e = (i, j), i < j;   M[i, i] = diagonal[i]

    Shapes: `nodes` n names in their order; `edges` int64 [E, 2], rows (i, j) of places in `nodes`; `upper`, `lower`
    float64 [E], one array where M is symmetric; `diagonal` float64 [n]. `M @ x` takes x [n] or [n, D] in O((n + E)·D).
    """

    nodes: tuple[Node, ...]
    edges: Indices
    upper: Vector
    lower: Vector
    diagonal: Vector

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def is_symmetric(self) -> bool:
        """Whether M = Mᵀ, to 1e-12."""
        return bool(np.allclose(self.upper, self.lower, rtol=0, atol=1e-12))

    @property
    def row_sums(self) -> Vector:
        """The sums of the rows, [n]."""
        return self @ np.ones(len(self))

    def dense(self) -> Matrix:
        """Return the matrix with all its zeros, [n, n]."""
        matrix = np.diag(self.diagonal)
        i, j = self.edges.T
        matrix[i, j] = self.upper
        matrix[j, i] = self.lower
        return matrix

    def __matmul__(self, x: Matrix) -> Matrix:
        columns = x.reshape(len(self), -1)
        product = self.diagonal[:, None] * columns
        if len(self.edges):
            rows, starts, sources, values = self._by_row
            product[rows] += np.add.reduceat(values[:, None] * columns[sources], starts, axis=0)
        return product.reshape(x.shape)

    @cached_property
    def _by_row(self) -> tuple[Indices, Indices, Indices, Vector]:
        """The entries off the diagonal by row: rows that have any, where each begins, columns [A], values [A]."""
        i, j = self.edges.T
        targets = np.concatenate([i, j])
        order = np.argsort(targets, kind="stable")
        rows, starts = np.unique(targets[order], return_index=True)
        sources = np.concatenate([j, i])[order]
        return rows, starts.astype(np.int64), sources, np.concatenate([self.upper, self.lower])[order]
