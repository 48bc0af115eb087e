"""What every weight factor must do."""

import pytest
import torch

from aggregation.weights import registry, weigh
from tests.conformance.cases import case, example


@pytest.fixture(params=registry.names())
def weights(request):
    return example(registry, request.param)


@pytest.fixture
def c():
    return case()


def test_weights_are_a_convex_combination(weights, c):
    w = weigh(weights, c.meta, None, c.ctx).w
    assert w.shape == c.meta.shape
    assert w.dtype == torch.float64
    assert (w[~c.meta.ok] == 0).all()
    assert (w[c.meta.ok] > 0).all()
    assert (w.sum(1) < 1).all()  # some weight is left for oneself


def test_a_node_that_catches_up_takes_the_others_in_the_same_proportions(weights, c):
    w = weigh(weights, c.meta, None, c.ctx).w
    catching_up = weigh(weights, c.meta, None, c.ctx, catching_up=True).w
    heard = c.meta.ok.any(1)
    assert heard.any()
    torch.testing.assert_close(catching_up.sum(1), heard.to(torch.float64))
    torch.testing.assert_close(catching_up[heard], (w / w.sum(1, keepdim=True))[heard])


def test_a_batch_is_many_singles(weights, c):
    w = weigh(weights, c.meta, None, c.ctx).w
    for b in range(len(c.own)):
        hood, ctx = c.single(b)
        assert torch.equal(weigh(weights, hood.meta, None, ctx).w[0], w[b, c.meta.ok[b]])


def test_the_order_of_slots_makes_no_difference(weights, c):
    order = torch.tensor([3, 1, 0, 2])
    w = weigh(weights, c.meta, None, c.ctx).w
    assert torch.allclose(weigh(weights, c.meta.slots(order), None, c.ctx).w, w[:, order], rtol=0, atol=1e-15)


def test_what_is_said_of_an_empty_slot_is_not_used(weights, c):
    w = weigh(weights, c.meta, None, c.ctx).w
    c.meta.age[~c.meta.ok] = torch.nan
    c.meta.degree[~c.meta.ok] = -5
    c.meta.samples[~c.meta.ok] = 2**53
    assert torch.equal(weigh(weights, c.meta, None, c.ctx).w, w)


def test_weights_never_grow_with_age(weights, c):
    young = weights.factor(c.meta, None, c.ctx).clone()
    c.meta.age[:] += 1.5
    assert (weights.factor(c.meta, None, c.ctx) <= young).all()


@pytest.mark.parametrize("degree", [0, 1, 2**53])
def test_whatever_a_remote_says_of_its_degree_weights_stay_a_convex_combination(weights, c, degree):
    c.meta.degree[:] = degree
    w = weigh(weights, c.meta, None, c.ctx).w
    assert torch.isfinite(w).all()
    assert (w >= 0).all()
    assert (w.sum(1) <= 1 + 1e-12).all()


def test_no_slots(weights, c):
    empty = c.meta.slots(torch.tensor([], dtype=torch.int64))
    assert weigh(weights, empty, None, c.ctx).w.shape == (len(c.own), 0)
