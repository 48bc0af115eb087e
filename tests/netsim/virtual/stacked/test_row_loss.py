"""When a task's loss is the mean cross-entropy, and what is done when it only looks like it."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, nll_loss

from netsim.virtual.stacked.row_loss import RowLoss, cross_entropy_gradient_, is_cross_entropy
from tests.netsim.virtual.stacked.cases import Labels, agree, rng_of


class StraightThrough(torch.autograd.Function):
    """Cross-entropy going forward, and something else going back."""

    @staticmethod
    def forward(ctx, output, target):
        ctx.shape = output.shape
        return cross_entropy(output, target)

    @staticmethod
    def backward(ctx, _):
        return torch.ones(ctx.shape), None


def looks(output, target):
    if output.sum() > 0:
        return cross_entropy(output, target)
    return 2 * cross_entropy(output, target)


def clipped(output, target):
    output.register_hook(lambda g: g.clamp(-0.1, 0.1))
    return cross_entropy(output, target)


OUTPUT = torch.randn(6, 4, generator=rng_of(0))
TARGET = torch.randint(0, 4, (6,), generator=rng_of(1))


@pytest.mark.parametrize(
    "loss", [cross_entropy, nn.CrossEntropyLoss(), lambda o, t: nll_loss(log_softmax(o, dim=1), t), Labels().loss]
)
def test_cross_entropy_is_known_however_it_is_written(loss):
    assert is_cross_entropy(loss, OUTPUT, TARGET)


@pytest.mark.parametrize(
    "loss",
    [
        StraightThrough.apply,
        looks,
        clipped,
        lambda o, t: cross_entropy(o, t, label_smoothing=0.1),
        lambda o, t: cross_entropy(o, t, ignore_index=3),
        lambda o, t: cross_entropy(o, t, reduction="sum"),
        lambda o, t: cross_entropy(o, t, weight=torch.ones(4)),
        lambda o, t: 2 * cross_entropy(o, t),
        lambda o, t: cross_entropy(o, t.flip(0)),
        lambda o, t: cross_entropy(o, o.argmax(1)),
        lambda o, _: o.square().mean(),
    ],
)
def test_what_does_anything_else_is_not_cross_entropy(loss):
    assert not is_cross_entropy(loss, OUTPUT, TARGET)


def test_targets_that_are_no_labels_of_single_outputs_are_not_cross_entropy():
    assert not is_cross_entropy(cross_entropy, OUTPUT, torch.rand(6, 4))
    assert not is_cross_entropy(cross_entropy, torch.randn(6, 4, 2), torch.zeros(6, 2, dtype=torch.int64))


def test_ignored_targets_are_left_to_torch():
    target = TARGET.repeat(2, 1)
    target[1, 2] = -100
    output = torch.stack([OUTPUT, OUTPUT])
    d, loss = RowLoss(Labels()).gradient_(output.clone(), target)
    for row in range(2):
        leaf = output[row].clone().requires_grad_()
        cross_entropy(leaf, target[row]).backward()
        assert agree(d[row], leaf.grad, 1e-6)
        assert agree(loss[row], cross_entropy(output[row], target[row]), 1e-6)


def test_shares_weigh_samples():
    share = torch.tensor([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1 / 6] * 6])
    output = OUTPUT.repeat(3, 1, 1)
    d, loss = cross_entropy_gradient_(output.clone(), TARGET.repeat(3, 1), share)
    leaf = OUTPUT[:2].clone().requires_grad_()
    first = cross_entropy(leaf, TARGET[:2])
    first.backward()
    assert agree(d[0, :2], leaf.grad, 1e-6)
    assert not d[0, 2:].any()
    assert not d[1].any()
    assert agree(loss, torch.tensor([float(first.detach()), 0.0, float(cross_entropy(OUTPUT, TARGET))]), 1e-6)
