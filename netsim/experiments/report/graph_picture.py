"""The picture of a graph: who was connected to whom, who is gone, who is alone, who has learnt how much.

Where peers have positions that matter (linked peers are near each other, or an event hit an area) these are used. Else
small graphs are laid out by forces, so that one sees clusters and
bridges; large ones by degree on a sunflower, the best connected in the middle, which costs nothing and shows whether
the middle is missing. The layout is that of the edges of before and after together, the same in both pictures.
"""

# N peers, E edges

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from netsim.experiments.report.curves import Vector
from netsim.experiments.report.style import FAINT, GREY, INK, PALETTE, WIDTH_IN, Plot, new_figure
from netsim.experiments.run_folder import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BY_FORCES = 600
MOST_EDGES = 40_000
DENSE_EDGES = 1_500
SHORT_EDGES = 0.7  # of the mean distance of two peers: graphs that ignore positions have 1, geometric ones 0.3
COLOURS = "cividis"

Edges = npt.NDArray[np.int64]
Points = npt.NDArray[np.float64]


def graph_plots(record: RunRecord, final_accuracy_N: Vector, of: str = "") -> list[Plot]:
    """Return pictures of the graph before and after, or one when nothing changed; `of` is the first line of titles."""
    if not record.peers:
        return []
    before = _edges(record.edges_before)
    after = _edges(record.edges_after)
    points, how = layout(record, np.concatenate([before, after]))
    is_alive = np.zeros(len(record.peers), dtype=bool)
    is_alive[record.alive_after] = True
    picture = _Picture(record, points, how, final_accuracy_N, is_alive)
    if is_alive.all() and np.array_equal(np.unique(before, axis=0), np.unique(after, axis=0)):
        return [picture.plot("graph", f"{of}\nThe graph".strip(), after, isolated_too=True)]
    return [
        picture.plot("graph-before", f"{of}\nThe graph at the beginning".strip(), before, isolated_too=False),
        picture.plot("graph-after", f"{of}\nThe graph at the end".strip(), after, isolated_too=True),
    ]


def layout(record: RunRecord, edges_E2: Edges) -> tuple[Points, str]:
    """Return the places of all peers in the unit square or disc, and what is to be said about them."""
    positions = [peer.position for peer in record.peers]
    known = [position for position in positions if position is not None and len(position) == 2]
    if len(known) == len(positions) and _positions_matter(record, np.array(known, dtype=np.float64), edges_E2):
        return np.array(known, dtype=np.float64), "Places are those of the scenario."
    num_peers = len(record.peers)
    if num_peers <= MOST_BY_FORCES:
        return by_forces(num_peers, edges_E2), "Linked peers are drawn near each other."
    return by_degree(num_peers, edges_E2), "The best connected peers are drawn in the middle; nearness means nothing."


def _positions_matter(record: RunRecord, points: Points, edges_E2: Edges) -> bool:
    """Say whether a map shows something: an event was about an area, or edges are shorter than pairs of peers are."""
    if not len(edges_E2) or any(event.name.startswith("area") for event in record.events):
        return True
    pairs = np.random.default_rng(len(points)).integers(len(points), size=(2000, 2))
    lengths = [np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1).mean() for ends in (edges_E2, pairs)]
    return bool(lengths[0] < SHORT_EDGES * lengths[1])


def by_degree(num_peers: int, edges_E2: Edges) -> Points:
    """Return a sunflower: peers sorted by degree, each at the golden angle from the one before.

    Source: [Vogel 1979, A better way to construct the sunflower head].
    """
    degree = np.bincount(edges_E2.ravel(), minlength=num_peers)
    place = np.empty(num_peers)
    place[np.argsort(-degree, kind="stable")] = np.arange(num_peers)
    radius, angle = np.sqrt((place + 0.5) / num_peers), place * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def by_forces(num_peers: int, edges_E2: Edges, steps: int = 160) -> Points:
    """Return places at which edges are short and peers apart: all repel, linked ones attract, a centre holds parts.

        force on i = Σ_j k²/d_ij (away) + Σ_{j ∼ i} d_ij²/k (towards) + gravity,   k = 1/√n, steps cooled to 0

    O(n²) for each of `steps`. Seeded by the size alone.
    Source: [Fruchterman & Reingold 1991, Graph drawing by force-directed placement].
    """
    points = by_degree(num_peers, edges_E2) + 0.01 * np.random.default_rng(num_peers).normal(size=(num_peers, 2))
    if num_peers < 2:
        return points
    ideal = 1.0 / np.sqrt(num_peers)
    a, b = np.unique(np.sort(edges_E2, axis=1), axis=0).T if len(edges_E2) else np.empty((2, 0), dtype=np.int64)
    for step in range(steps):
        apart = points[:, None, :] - points[None, :, :]
        square = np.einsum("ijk,ijk->ij", apart, apart) + 1e-9
        force = np.einsum("ijk,ij->ik", apart, ideal**2 / square)
        along = points[b] - points[a]
        pull = along * (np.linalg.norm(along, axis=1, keepdims=True) / ideal)
        np.add.at(force, a, pull)
        np.add.at(force, b, -pull)
        force -= 0.6 * ideal * points * np.linalg.norm(points, axis=1, keepdims=True) / max(np.abs(points).max(), 1e-9)
        length = np.linalg.norm(force, axis=1, keepdims=True) + 1e-12
        points = points + force / length * np.minimum(length, 0.25 * (1 - step / steps) ** 1.5)
    centred: Points = points - points.mean(axis=0)
    return centred


class _Picture:
    def __init__(
        self, record: RunRecord, points: Points, how: str, final_N: Vector, is_alive: npt.NDArray[np.bool_]
    ) -> None:
        self._points = points
        self._how = how
        self._final = final_N
        self._is_alive = is_alive
        self._is_bad = np.array([peer.is_byzantine for peer in record.peers])
        self._count = len(record.peers)

    def plot(self, name: str, title: str, edges: Edges, *, isolated_too: bool) -> Plot:
        figure, (axes,) = new_figure(title, size=(WIDTH_IN, 5.4))
        axes.set_aspect("equal")
        axes.axis("off")
        drawn = edges[:: -(-len(edges) // MOST_EDGES) or 1]
        self._edges(axes, drawn)
        self._nodes(figure, axes, edges, isolated_too)
        handles, names = axes.get_legend_handles_labels()
        if handles:
            scale = 1.0 if self._count <= MOST_BY_FORCES else 2.5  # tiny marks cannot be told apart
            figure.legend(
                handles, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False, markerscale=scale
            )
        sampled = f" {len(drawn)} of {len(edges)} edges are drawn." if len(drawn) < len(edges) else ""
        num_there = int(self._is_alive.sum()) if isolated_too else self._count
        caption = f"{num_there} peers, {len(edges)} edges. {self._how}{sampled}"
        return Plot(name, title, caption, figure, is_dense=len(drawn) + self._count > DENSE_EDGES)

    def _edges(self, axes: Axes, edges: Edges) -> None:
        from matplotlib.collections import LineCollection

        opacity = float(np.clip(1500 / (len(edges) + 1), 0.05, 0.6))
        width = float(np.clip(20 / np.sqrt(len(edges) + 1), 0.25, 0.9))
        axes.add_collection(
            LineCollection(list(self._points[edges]), colors=FAINT, linewidths=width, alpha=opacity, zorder=1)
        )

    def _nodes(self, figure: Figure, axes: Axes, edges: Edges, isolated_too: bool) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        degree = np.bincount(edges.ravel(), minlength=self._count)
        size = float(np.clip(5200 / self._count, 2.5, 70)) * (0.55 + 0.45 * np.sqrt(degree / max(degree.mean(), 1.0)))
        size = np.minimum(size, 260.0)
        known = np.isfinite(self._final) & self._is_alive & ~self._is_bad
        plain = self._is_alive & ~known & ~self._is_bad
        isolated = self._is_alive & (degree == 0) if isolated_too else np.zeros_like(known)
        edge = 0.4 if self._count <= 2000 else 0.0

        def draw(chosen: npt.NDArray[np.bool_], name: str, **style: object) -> None:
            if chosen.any():
                places = self._points[chosen]
                label = f"{name} ({int(chosen.sum())})"
                axes.scatter(places[:, 0], places[:, 1], s=size[chosen], label=label, **style)  # type: ignore[arg-type]

        draw(~self._is_alive, "gone at the end", color=GREY, marker="x", linewidths=0.8, zorder=1.5)
        draw(plain, "not measured", color="white", edgecolors=FAINT, linewidths=0.6, zorder=2)
        if known.any():
            values = 100 * self._final[known]
            low, high = float(values.min()), float(values.max())
            norm = Normalize(low if high - low > 0.5 else high - 0.5, high)
            places = self._points[known]
            axes.scatter(
                places[:, 0], places[:, 1], s=size[known], c=values, cmap=COLOURS, norm=norm, edgecolors="white",
                linewidths=edge, zorder=3,
            )  # fmt: skip
            bar = figure.colorbar(
                ScalarMappable(norm, COLOURS), ax=axes, location="bottom", shrink=0.55, aspect=34, pad=0.01
            )
            bar.set_label("accuracy at the end, %", fontsize=8.5, color=INK)
            bar.ax.tick_params(labelsize=8)
        bad = {"color": PALETTE[1], "marker": "s", "edgecolors": INK, "linewidths": 0.5}
        draw(self._is_bad & self._is_alive, "Byzantine", **bad, zorder=4)
        if isolated.any():
            places = self._points[isolated]
            axes.scatter(
                places[:, 0], places[:, 1], s=size[isolated] * 2.2 + (14 if edge else 4), facecolors="none",
                edgecolors=INK, linewidths=1.1 if edge else 0.5, zorder=5, label=f"isolated ({int(isolated.sum())})",
            )  # fmt: skip


def _edges(pairs: list[list[int]]) -> Edges:
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return np.sort(edges, axis=1)
