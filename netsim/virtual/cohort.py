"""All peers of a simulation as one: a model, a training set and everybody's share of it, computed in batches."""

# B rows, D entries of a model

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aggregation.attacks.base import Attack
from aggregation.hood import Ctx
from aggregation.method import Method
from aggregation.param_space import ParamSpace
from aggregation.seeding import Rng, derived_seed
from aggregation.selectors import registry as selectors
from aggregation.store import Store
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.cast import Cast
from netsim.virtual.shares import shares_of
from netsim.virtual.stacked import StackedEvaluator, StackedOracle, num_steps, stacked_model, train_rows
from peer.errors import ConfigError
from peer.train.task import Data, Task, tasks


class Cohort:
    """What `plan.PlannedLearning` computes with: first model, local steps, judgements and metrics of rows of models.

    `shares[i]` are the places of peer i's samples in `train_set`; none: it has no data.
    """

    def __init__(
        self,
        task: Task,
        train_set: Data,
        test_set: Data,
        first: torch.nn.Module,
        space: ParamSpace,
        shares: Sequence[Tensor],
        *,
        batch_size: int,
        epochs: int,
        steps: int,
        threads: int = 1,
    ) -> None:
        self.space = space
        self._train_set = train_set
        self._test_set = test_set
        self._first = space.flatten(first)
        self._model = stacked_model(task, first, space)
        self._shares = shares
        self._batch_size = batch_size
        self._epochs = epochs
        self._steps = steps
        self._threads = threads

    @classmethod
    def of(
        cls, scenario: Scenario, cast: Cast, *, seed: int, swarm: bytes, threads: int = 1, attack: Attack | None = None
    ) -> Cohort:
        """Load the task of a scenario and deal its data out. Raises `ConfigError` where that cannot be."""
        method = scenario.method
        task = tasks.build(scenario.task.name, scenario.task.params)
        with _seeded(seed, swarm, "data"):
            train_set, test_set = task.train_data(), task.test_data()
        with _seeded(seed, swarm, "model"):
            model = task.model()
        choice = method.selector
        space = ParamSpace.from_module(model, selectors.build(choice.name, choice.params).kind)
        if train_set.targets.ndim != 1 or train_set.targets.is_floating_point():
            raise ConfigError("task: its targets are not labels [N], so its data cannot be split among peers")
        groups = getattr(task, "train_groups", None)
        labels = train_set.targets.numpy()
        shares = [
            torch.from_numpy(share)
            for share in shares_of(
                scenario.data, cast.holds_data, labels, None if groups is None else np.asarray(groups()), seed=seed
            )
        ]
        if attack is not None and type(attack).labels is not Attack.labels:
            train_set, shares = _poisoned(train_set, shares, attack, cast.attackers)
        return cls(
            task,
            train_set,
            _some(test_set, scenario.measure.test_samples, seed, swarm),
            model,
            space,
            shares,
            batch_size=method.batch_size,
            epochs=method.local_epochs,
            steps=method.local_steps,
            threads=threads,
        )

    def first_model(self) -> Tensor:
        """Return the common initialisation, [D]."""
        return self._first

    def num_samples(self, peer: int) -> int:
        """Return the size of the peer's training set."""
        return len(self._shares[peer])

    def num_steps(self, peer: int) -> int:
        """Return the number of local steps of a round."""
        return num_steps(len(self._shares[peer]), self._batch_size, epochs=self._epochs, steps=self._steps)

    def train(self, method: Method, st: Store, peers: Sequence[int], ctx: Ctx) -> npt.NDArray[np.float64]:
        """Do the local steps of a round on all rows of `st`, which are those of `peers`; return mean losses, [B]."""
        H = torch.tensor([self.num_steps(peer) for peer in peers])

        def oracle_of(rows: Tensor, ctx_b: Ctx) -> StackedOracle:
            return StackedOracle(
                self._model,
                self._train_set,
                [self._shares[peers[row]] for row in rows.tolist()],
                batch_size=self._batch_size,
                epochs=self._epochs,
                steps=self._steps,
                rng=ctx_b.rng,
            )

        loss_B = train_rows(method, st, torch.arange(len(peers)), H, oracle_of, ctx.rows, threads=self._threads)
        return np.asarray(loss_B.numpy())

    def judge(self, peers: Sequence[int], rng: Rng) -> StackedEvaluator:
        """Return who judges models on the peers' own data, for rules that look at losses."""
        return StackedEvaluator(self._model, self._train_set, [self._shares[peer] for peer in peers], rng)

    def metric(self, x_BD: Tensor) -> Tensor:
        """Return the task's metric of each row on the test set, float64 [B]."""
        return self._model.metric(x_BD, self._test_set)


def _poisoned(
    train_set: Data, shares: Sequence[Tensor], attack: Attack, attackers: Sequence[int]
) -> tuple[Data, list[Tensor]]:
    """Give attackers that train on other labels a copy of the set with those."""
    targets = train_set.targets
    others = attack.labels(targets, int(targets.max()) + 1)
    moved = [share + len(targets) if peer in attackers else share for peer, share in enumerate(shares)]
    inputs = torch.cat([train_set.inputs, train_set.inputs])
    return Data(inputs, torch.cat([targets, others])), moved


def _some(data: Data, count: int, seed: int, swarm: bytes) -> Data:
    """Return `count` samples, drawn once; all for 0."""
    if not 0 < count < len(data.targets):
        return data
    generator = torch.Generator().manual_seed(derived_seed(seed, swarm, "", 0, "test samples"))
    chosen = torch.randperm(len(data.targets), generator=generator)[:count].sort().values
    return Data(data.inputs[chosen], data.targets[chosen])


@contextlib.contextmanager
def _seeded(seed: int, swarm: bytes, purpose: str) -> Iterator[None]:
    """Seed torch's own generator as the trainer does, the same for all peers, and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, swarm, "", 0, purpose))
        yield
