"""D-PSGD on one graph after the other, against what the spectra of their gossip matrices promise.

Source: [Lian et al. 2017, Can Decentralized Algorithms Outperform Centralized Algorithms?]; the spectral gap in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netsim.experiments.findings.experiment import Claim, Column, Experiment, OfRun, Picture, Runs, Variation
from netsim.experiments.findings.figures import accuracy, final, worst
from netsim.experiments.findings.pictures import scatter
from netsim.experiments.report.curves import estimate
from netsim.experiments.run_folder import Run
from topology.graph import Graph
from topology.matrices import metropolis_weights
from topology.spectra import spectral_gap

FAMILIES = {
    "ring": {"name": "ring"},
    "star": {"name": "star"},
    "torus": {"name": "torus"},
    "regular, degree 4": {"name": "regular", "degree": 4},
    "hypercube": {"name": "hypercube"},
    "exponential": {"name": "exponential"},
    "complete": {"name": "complete"},
}

consensus = final("consensus")


def graph_of(run: Run) -> Graph[int]:
    """Return the graph of the beginning."""
    around: dict[int, list[int]] = {peer: [] for peer in range(len(run.record.peers))}
    for one, other in run.record.edges_before:
        around[one].append(other)
        around[other].append(one)
    return Graph(around)


def gap(run: Run) -> float:
    """Return 1 - λ of the Metropolis matrix of the graph."""
    return spectral_gap(metropolis_weights(graph_of(run)))


def left_over(run: Run) -> float:
    """Return what mixing leaves of disagreement that comes anew in every round, as a multiple of what comes.

        (1/n) Σ_{k≥2} λ_k² / (1 - λ_k²),   λ_k the eigenvalues of the Metropolis matrix

    Independent noise of each round and peer, mixed once in the round in which it comes, twice one round later, ...
    """
    values = np.linalg.eigvalsh(metropolis_weights(graph_of(run)).dense())[:-1]
    squares = values**2
    return float((squares / (1.0 - squares)).sum() / (len(values) + 1))


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's ρ: the correlation of ranks, equal values sharing theirs; NaN where one is constant."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return float("nan")
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def _correlations(runs: Runs, one: OfRun, other: OfRun) -> list[float | None]:
    """Return Spearman's ρ over the graphs, for each seed."""
    columns = [(runs.figures(name, one), runs.figures(name, other)) for name in runs]
    found: list[float | None] = []
    for seed in range(len(columns[0][0])):
        pairs = [(xs[seed], ys[seed]) for xs, ys in columns]
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        found.append(rank_correlation([x for x, _ in known], [y for _, y in known]))
    return found


def _claims(runs: Runs) -> list[Claim]:
    def ratio(one: str, other: str, of: OfRun) -> list[float | None]:
        return runs.paired([one, other], of, lambda a, b: a / b)

    return [
        Claim("rank correlation of gap and consensus", _correlations(runs, gap, consensus), "-1", -1.0, -0.75, 2),
        Claim(
            "rank correlation of what theory leaves over and consensus distance",
            _correlations(runs, left_over, consensus), "1", 0.85, 1.0, 2,
        ),
        Claim("rank correlation of gap and worst accuracy", _correlations(runs, gap, worst), "1", 0.7, 1.0, 2),
        Claim("rank correlation of gap and mean accuracy", _correlations(runs, gap, accuracy), "1", 0.6, 1.0, 2),
        Claim("consensus distance, ring over torus", ratio("ring", "torus", consensus), low=1.0, digits=2),
        Claim(
            "consensus distance, torus over regular of the same degree",
            ratio("torus", "regular, degree 4", consensus), low=1.0, digits=2,
        ),
        Claim(
            "complete graph: consensus distance over that of the ring", ratio("complete", "ring", consensus),
            high=0.05, digits=4,
        ),
    ]  # fmt: skip


def _pictures(runs: Runs) -> list[Picture]:
    points = {
        name: (estimate(runs.figures(name, left_over)).mean, estimate(runs.figures(name, consensus)).mean)
        for name in runs
        if name != "complete"  # nothing is left over there, which has no place on a logarithmic axis
    }
    figure = scatter(
        "Consensus distance against theory",
        points,
        x_label="left over of the noise of a round",
        y_label="distance² from the mean model",
        log=(True, True),
    )
    return [Picture("topologies", "Means over the seeds, without the complete graph.", figure)]


EXPERIMENT = Experiment(
    name="topologies",
    title="D-PSGD by topology, against the spectrum",
    question="Does the graph matter as much, and in the order, that the spectra of the gossip matrices say?",
    setup="""\
64 peers whose data have few labels each (Dirichlet, alpha = 0.1), 40 rounds of 4 local steps of SGD (lr 0.05,
momentum 0.5, batches of 16) and one mixing with Metropolis weights. *Gap* is 1 - λ of that matrix, *left over* is
(1/n) Σ λ² / (1 - λ²) over its other eigenvalues: how many times the disagreement that each round brings anew stays
in the swarm. *Consensus* is the mean squared distance from the mean model after the last mixing.""",
    variations=tuple(
        Variation(name, "by-topology", {} if name == "ring" else {"topology.family": family})
        for name, family in FAMILIES.items()
    ),
    columns=(
        Column("gap", gap, 4),
        Column("left over", left_over, 3),
        Column("consensus", consensus, 4),
        Column("accuracy", accuracy),
        Column("worst peer", worst),
        Column("merged model", final("accuracy_merged")),
        Column("MB sent", lambda run: run.totals[-1].bytes_sent / 1e6, 0),
    ),
    claims=_claims,
    pictures=_pictures,
    reading="""\
How far models are apart follows *left over* over two powers of ten, in order and nearly in proportion; the gap
alone has ring and star the wrong way round, since a star has one slow direction for each leaf and a ring has few.
Hypercube and exponential graph have nearly the same gap; *left over* differs by a factor of two, and so do the
models.""",
)
