"""Models that are mixed and never trained: a cohort whose members each begin with numbers of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from aggregation.composition import Composition
from aggregation.param_space import ParamSpace
from netsim.virtual.learning import Learning
from netsim.virtual.numbers import Numbers
from netsim.virtual.plan_events import PlannedEvents
from netsim.virtual.plan_pairs import PlannedPairs
from netsim.virtual.plan_pushes import PlannedPushes
from netsim.virtual.world import World
from tests.netsim.virtual.worlds import scenario

WIDTH = 40
BY_PROTOCOL: dict[str, type[PlannedEvents]] = {"pairs": PlannedPairs, "pushes": PlannedPushes}


class StillCohort:
    """Trains nobody: `drift` times its number is what a round of local steps adds to a peer."""

    def __init__(self, steps: int = 10, drift: float = 0.0) -> None:
        self.space = ParamSpace.from_module(torch.nn.Linear(WIDTH, 1, bias=False))
        self.steps = steps
        self.drift = drift

    def first_model(self) -> torch.Tensor:
        return torch.zeros(WIDTH)

    def num_samples(self, peer: int) -> int:
        return 1

    def num_steps(self, peer: int) -> int:
        return self.steps

    def train(self, method: Any, st: Any, peers: Sequence[int], ctx: Any) -> np.ndarray:
        x0 = st["x"].clone()
        st["x"] = st["x"] + self.drift * (1.0 + torch.tensor(peers))[:, None]
        method.algorithm.local_done(st, x0, torch.ones(len(peers)), ctx)
        return np.zeros(len(peers))

    def metric(self, x_BD: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x_BD), dtype=torch.float64)


def starts(count: int) -> np.ndarray:
    """Return what peers begin with, [count, WIDTH], mean not zero."""
    return np.random.default_rng(7).normal(size=(count, WIDTH)) + 0.5


def numbers_world(
    protocol: str, count: int = 16, *, seed: int = 1, params: dict[str, Any] | None = None, **tables: Any
) -> World:
    """Return a world whose peers hold float64 numbers."""
    algorithm = {"pairs": "ad-psgd", "pushes": "push-sum"}[protocol]
    told = scenario(
        count, protocol={"name": protocol, **(params or {})}, method={"algorithm": {"name": algorithm}}, **tables
    )
    return World(told, seed, lambda world: cast(Learning, Numbers(starts(count))))


def models_world(
    protocol: str,
    algorithm: dict[str, Any],
    count: int = 16,
    *,
    seed: int = 1,
    params: dict[str, Any] | None = None,
    cohort: StillCohort | None = None,
    **tables: Any,
) -> World:
    """Return a world whose peers hold vectors that the real hooks of an algorithm mix."""
    told = scenario(count, protocol={"name": protocol, **(params or {})}, method={"algorithm": algorithm}, **tables)

    def learning(world: World) -> Learning:
        method = Composition(algorithm=told.method.algorithm, step=told.method.step).build()
        planned = BY_PROTOCOL[protocol](
            cast(Any, cohort or StillCohort()),
            method,
            swarm=world.swarm,
            seed=seed,
            names=world.names,
            total_rounds=told.rounds.total,
        )
        planned.state["x"] = torch.from_numpy(starts(count)).float()
        if "noloco.phi" in planned.state:
            planned.state["noloco.phi"] = planned.state["x"].clone()
        return cast(Learning, planned)

    return World(told, seed, learning)
