"""Models, tasks and data for tests of the batched training, and the daemon's way to do the same."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from aggregation.algorithms import registry as algorithms
from aggregation.hood import Ctx
from aggregation.method import Method
from aggregation.param_space import ParamSpace
from aggregation.seeding import rows_rng
from aggregation.steps import registry as steps
from aggregation.store import Store
from aggregation.weights import registry as weights
from netsim.virtual.stacked import StackedOracle
from peer.train.oracle import Batches, ModelOracle
from peer.train.task import Data


class Labels:
    """Classes, cross-entropy, accuracy."""

    metric_name = "accuracy"

    def loss(self, output, target):
        return cross_entropy(output, target)

    def metric(self, output, target):
        return float((output.argmax(1) == target).double().mean())


class Smoothed(Labels):
    """A loss that has no closed form here."""

    def loss(self, output, target):
        return cross_entropy(output, target, label_smoothing=0.1)


class Reals:
    """Squared error of one output."""

    metric_name = "negative squared error"

    def loss(self, output, target):
        return (output[:, 0] - target).square().mean()

    def metric(self, output, target):
        return -float((output[:, 0] - target).square().mean())


def rng_of(seed):
    return torch.Generator().manual_seed(seed)


def labelled(num, *shape, classes=3, seed=0):
    g = rng_of(seed)
    return Data(torch.randn(num, *shape, generator=g), torch.randint(0, classes, (num,), generator=g))


def real(num, *shape, seed=0):
    g = rng_of(seed)
    return Data(torch.randn(num, *shape, generator=g), torch.randn(num, generator=g))


def perceptron(*sizes, activation=nn.ReLU, bias=True):
    """Layers of these sizes, with seeded values."""
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), activation()]
    return seeded(nn.Sequential(*layers[:-1]))


def seeded(model, seed=0):
    g = rng_of(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.5)
    return model


def rows_of(model, num, seed=1):
    """As many models, all different."""
    space = ParamSpace.from_module(model)
    x = space.flatten(model)
    return space, x + 0.2 * torch.randn(num, space.width, generator=rng_of(seed))


def shards_of(sizes, num_samples, seed=2):
    g = rng_of(seed)
    return [torch.randint(0, num_samples, (size,), generator=g) for size in sizes]


def rng(num, round=0):
    return rows_rng(7, b"swarm", [f"peer-{i}" for i in range(num)], [round] * num)


def ctx_of(method, space, num, round=0):
    t = torch.full((num,), round)
    now = torch.zeros(num, dtype=torch.float64)
    rates = method.step.rate(t)
    return Ctx(t=t, now=now, lr=rates, neighbours=t, space=space, rng=rng(num, round))


def method_of(step, algorithm="gossip", **params):
    return Method(algorithms.build(algorithm, {}), steps.build(step, params), weights.build("uniform", {}), {})


def oracle_of(model, data, shards, batch_size, *, epochs=1, steps=0, rng=None, round=0):
    rng = rng or globals()["rng"](len(shards), round)
    return StackedOracle(model, data, shards, batch_size=batch_size, epochs=epochs, steps=steps, rng=rng)


def batches_of(shard, rng, row, batch_size, *, epochs=1, steps=0):
    """The daemon's."""
    return Batches(
        len(shard), batch_size, epochs=epochs, steps=steps, permutation=lambda e: rng(row, f"batches of epoch {e}")
    )


def daemon_oracle(task, model, space, data, shard, batches):
    own = Data(data.inputs[shard], data.targets[shard])
    oracle = ModelOracle(model, space, task, own, lambda *_: None)
    oracle.begin(batches)
    return oracle


def daemon_row(method, task, model, space, data, x, shard, ctx, batch_size, *, epochs=1, steps=0):
    """Model [D] and loss of one round of a peer whose context is `ctx`, as the daemon trains it from `x` [D]."""
    st = Store(x=x.clone()[None])
    method.init(st, ctx)
    batches = batches_of(shard, ctx.rng, 0, batch_size, epochs=epochs, steps=steps)
    oracle = daemon_oracle(task, model, space, data, shard, batches)
    loss = method.train(st, oracle, torch.tensor([len(batches)]), ctx)
    return st["x"][0], loss[0]


def agree(a, b, tolerance=1e-5):
    """Whether a and b differ by no more than `tolerance` of the largest entry."""
    return bool((a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-3))
