"""Random pull at a mean rate that may be far below one peer per round."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec

from topology.digraph import Digraph
from topology.graph import Graph, Node
from topology.samplers.draws import distinct_others, generator


class ExpectedPull:
    """Everybody pulls the models of k random members, k being R in the mean.

        k_i = ⌊R⌋ + Bernoulli(R − ⌊R⌋),   S_i ~ Uniform{S ⊆ V ∖ {i} : |S| = k_i},   j → i  iff  j ∈ S_i

    R = 0.2: one member in five averages with one other. R >= n−1 pulls all others, an exact all-reduce. Receivers draw,
    so nothing has to be agreed on: whoever does not answer is skipped. Row-stochastic: the mean is kept in expectation,
    not in each round. Needs that anybody can be reached. Cost O(n·R²).
    Source: [Zhu, Zhang, Wang, Zhou & Wang 2025, A Single Merging Suffices: Recovering Server-based Learning Performance
    in Decentralized Learning, arXiv 2507.06542].
    """

    changes: ClassVar[bool] = True

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """From how many in the mean."""

        mean: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=1024,
                description="Members R that each one pulls from, in the mean over rounds. Larger: faster agreement,"
                " traffic in proportion; 0 is no exchange at all.",
            ),
        ] = 0.2

    def __init__(self, config: Config) -> None:
        self.config = config

    def draw(self, members: Iterable[Node], *, seed: int, round: int, graph: Graph[Node]) -> Digraph[Node]:  # noqa: ARG002  the interface
        """Return who pulls from whom, as edges from the one who is pulled from."""
        import numpy as np

        nodes = sorted(set(members))
        n = len(nodes)
        rng = generator(seed, round, "expected-pull")
        least = math.floor(self.config.mean)
        has_more_N = rng.random_sample(n) < self.config.mean - least
        senders: dict[Node, list[Node]] = {}
        for count, is_row_N in ((least, ~has_more_N), (least + 1, has_more_N)):
            who_N = np.flatnonzero(is_row_N)
            drawn_NS = distinct_others(rng, who_N, min(count, max(n - 1, 0)), n)
            for i, row in zip(who_N.tolist(), drawn_NS.tolist(), strict=True):
                senders[nodes[i]] = [nodes[j] for j in row]
        return Digraph.from_senders(senders)
