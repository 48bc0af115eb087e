"""Models on a GPU, what is known about them on the CPU, neighbours in files: the same numbers as all on the CPU."""

import pytest
import torch

from aggregation.hood import Ctx, Hood, Meta
from aggregation.mixers import registry as mixers
from aggregation.param_space import ParamSpace
from aggregation.seeding import rows_rng
from aggregation.steps import registry as steps
from aggregation.store import Store
from aggregation.values import Gathered
from tests.conformance.cases import case, example, space
from tests.conformance.test_mixers import Nearest, Shortened

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("rule", [*mixers.names(), Nearest, Shortened], ids=str)
def test_mixing_on_a_gpu(rule):
    mixer = example(mixers, rule) if isinstance(rule, str) else rule(None)
    c = case()
    expected = mixer(c.hood(), c.ctx)
    for v in (c.v, c.v.cuda()):
        mixed = mixer(Hood.dense(c.own.cuda(), v, c.meta), c.ctx)
        assert mixed.is_cuda
        torch.testing.assert_close(mixed.cpu(), expected, rtol=0, atol=1e-6)
    table, ids = c.v.flatten(0, 1), torch.arange(c.v.shape[0] * c.v.shape[1]).view(c.v.shape[:2])
    cov = torch.ones(c.v.shape, dtype=torch.bool)
    mixed = mixer(Hood(c.own.cuda(), Gathered(table.cuda(), ids), c.meta, cov), c.ctx)
    torch.testing.assert_close(mixed.cpu(), expected, rtol=0, atol=1e-6)


def test_the_daemons_neighbourhood_with_vectors_on_the_cpu():
    own, vectors = torch.randn(1000), [torch.randn(1000) for _ in range(3)]
    meta = Meta.single(range(3)).weighed(torch.full((1, 3), 0.25, dtype=torch.float64))
    mixer = mixers.build("linear")
    mixed = mixer(Hood.single(own.cuda(), vectors, meta), None)
    torch.testing.assert_close(mixed.cpu(), mixer(Hood.single(own, vectors, meta), None), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", steps.names())
def test_local_steps_on_a_gpu(name):
    step = example(steps, name)
    ctx = Ctx.single(t=0, lr=0.1, neighbours=0, space=space(50), rng=rows_rng(0, "test", ["me"], [0]))
    results = []
    for device in ("cpu", "cuda"):
        store = Store(x=torch.linspace(0, 1, 50, device=device)[None])
        step.step(store, lambda x, h: (x - 2.0, (x - 2.0).square().sum(1)), torch.tensor([3]), ctx)
        sub = store.take(torch.tensor([0]))
        store.put(torch.tensor([0]), sub)
        results.append(store["x"].cpu())
    torch.testing.assert_close(results[1], results[0])


def test_flatten_and_back_on_a_gpu():
    model = torch.nn.Linear(3, 2).cuda()
    layout = ParamSpace.from_module(model)
    x = layout.flatten(model)
    assert x.is_cuda
    layout.unflatten_(model, x.cpu() * 2)
    assert torch.equal(layout.flatten(model), x * 2)
