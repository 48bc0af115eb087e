"""All peers of a simulation as one: a model, a training set and everybody's share of it, computed in batches."""

# B rows, D entries of a model

from __future__ import annotations

import numpy as np
import torch

from aggregation.hood import Ctx
from aggregation.method import Method
from aggregation.param_space import ParamSpace
from aggregation.seeding import derived_seed
from aggregation.selectors import registry as selectors
from aggregation.store import Store
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.cast import Cast
from netsim.virtual.shares import shares_of
from peer.train.oracle import Batches
from peer.train.task import tasks


class Cohort:
    """What `plan.PlannedLearning` computes with."""

    def __init__(self, scenario, cast, *, seed, swarm, threads, attack):
        method = scenario.method
        self._task = task = tasks.build(scenario.task.name, scenario.task.params)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, swarm, "", 0, "data"))
            self._train, self._test = task.train_data(), task.test_data()
            torch.manual_seed(derived_seed(seed, swarm, "", 0, "model"))
            self._model = task.model()
        choice = method.selector
        self.space = ParamSpace.from_module(self._model, selectors.build(choice.name, choice.params).kind)
        self._shares = [
            torch.from_numpy(s)
            for s in shares_of(scenario.data, cast.holds_data, self._train.targets.numpy(), None, seed=seed)
        ]
        self._batch = method.batch_size
        self._epochs, self._steps = method.local_epochs, method.local_steps

    @classmethod
    def of(cls, scenario: Scenario, cast: Cast, **k):
        return cls(scenario, cast, **k)

    def first_model(self):
        return self.space.flatten(self._model)

    def num_samples(self, peer):
        return len(self._shares[peer])

    def num_steps(self, peer):
        n = len(self._shares[peer])
        return 0 if not n else self._steps or self._epochs * -(-n // self._batch)

    def _call(self, x_D, inputs):
        views = {s.name: x_D[s.span].view(s.shape) for s in self.space.segments}
        return torch.func.functional_call(self._model, views, (inputs,))

    def train(self, method: Method, st: Store, peers, ctx: Ctx):
        out = np.empty(len(peers))
        for a in range(0, len(peers), 128):
            rows = torch.arange(a, min(a + 128, len(peers)))
            sub = st.take(rows)
            c = ctx.rows(rows)
            bs = [
                Batches(
                    len(self._shares[peers[i]]),
                    self._batch,
                    epochs=self._epochs,
                    steps=self._steps,
                    permutation=lambda e, b=b: c.rng(b, f"batches of epoch {e}"),
                )
                for b, i in enumerate(rows.tolist())
            ]
            H = torch.tensor([len(b) for b in bs])
            gf = torch.func.vmap(torch.func.grad_and_value(lambda x, X, y: self._task.loss(self._call(x, X), y)))

            def oracle(x, h):
                idx = torch.stack(
                    [self._shares[peers[i]][bs[b][min(h, len(bs[b]) - 1)]] for b, i in enumerate(rows.tolist())]
                )
                return gf(x, self._train.inputs[idx], self._train.targets[idx])

            out[a : a + 128] = method.train(sub, oracle, H, c).numpy()
            st.put(rows, sub)
        return out

    def judge(self, peers, rng):
        return None

    def metric(self, x_BD):
        return torch.tensor(
            [self._task.metric(self._call(x, self._test.inputs), self._test.targets) for x in x_BD], dtype=torch.float64
        )
