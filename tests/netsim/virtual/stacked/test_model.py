"""Gradients, losses and outputs of many rows: by hand, by vmap, and by autograd for one row after the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aggregation.errors import SpaceError
from aggregation.param_space import ParamSpace
from netsim.virtual.stacked import stacked_model
from netsim.virtual.stacked.functional import FunctionalModel
from netsim.virtual.stacked.perceptron import StackedPerceptron
from peer.errors import ConfigError
from peer.train.oracle import ModelOracle
from peer.train.task import Data
from tests.netsim.virtual.stacked.cases import (
    Labels,
    Reals,
    Smoothed,
    agree,
    daemon_oracle,
    labelled,
    perceptron,
    real,
    rng_of,
    rows_of,
    seeded,
)


class Conv(nn.Module):
    """A module that is no sequence, with a constant buffer and tied layers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.GroupNorm(1, 2)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.tensor([1.5, 0.5, 1.0]))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.norm(self.conv(x)).flatten(1)
        return self.head(self.second(self.first(x).relu())) * self.scale


def by_autograd(task, model, space, x, inputs, targets):
    """Gradient and loss of each row by the daemon's oracle."""
    gradients, losses = [], []
    for row in range(len(x)):
        data = Data(inputs[row], targets[row])
        whole = torch.arange(len(targets[row]))
        oracle = daemon_oracle(task, model, space, data, whole, [whole])
        g, loss = oracle(x[row : row + 1].clone(), 0)
        gradients.append(g.clone())
        losses.append(loss)
    return torch.cat(gradients), torch.cat(losses)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    outputs=st.integers(1, 5),
    num_rows=st.integers(1, 5),
    num_samples=st.integers(1, 7),
    activation=st.sampled_from([nn.ReLU, nn.Tanh]),
    bias=st.booleans(),
    task=st.sampled_from([Labels(), Smoothed(), Reals()]),
    seed=st.integers(0, 9),
)
def test_three_ways_agree(sizes, outputs, num_rows, num_samples, activation, bias, task, seed):
    model = perceptron(*sizes, outputs, activation=activation, bias=bias)
    space, x = rows_of(model, num_rows, seed)
    kind = real if isinstance(task, Reals) else labelled
    more = {} if kind is real else {"classes": outputs}
    flat = kind(num_rows * num_samples, sizes[0], seed=seed, **more)
    inputs = flat.inputs.view(num_rows, num_samples, -1)
    targets = flat.targets.view(num_rows, num_samples)
    fast, general = stacked_model(task, model, space), FunctionalModel(task, model, space)
    assert isinstance(fast, StackedPerceptron)
    before = x.clone()
    g_daemon, loss_daemon = by_autograd(task, model, space, x, inputs, targets)
    g_general, loss_general = general.gradient(x, inputs, targets)
    out = torch.full_like(x, torch.nan)
    g_fast, loss_fast = fast.gradient(x, inputs, targets, out)
    assert g_fast is out
    assert torch.equal(x, before)
    assert agree(g_fast, g_general, 1e-6)
    assert agree(loss_fast, loss_general, 1e-6)
    assert agree(g_fast, g_daemon)
    assert agree(loss_fast, loss_daemon)
    assert agree(fast.loss(x, inputs, targets), loss_fast, 1e-6)
    assert agree(general.loss(x, inputs, targets), loss_general, 1e-6)
    assert not any(t.requires_grad for t in (g_fast, g_general, loss_fast, loss_general))
    shared = flat.inputs[:4]
    assert agree(fast.outputs(x, shared), general.outputs(x, shared), 1e-6)
    own = fast.outputs_of_own(x, inputs)
    assert agree(own, general.outputs_of_own(x, inputs), 1e-6)
    assert agree(fast.outputs(x[:1], inputs[0]), own[:1], 1e-6)


@pytest.mark.parametrize("last", [nn.Tanh(), nn.ReLU()])
def test_an_activation_may_come_last(last):
    model = seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), last))
    space, x = rows_of(model, 3)
    data = labelled(18, 4)
    inputs, targets = data.inputs.view(3, 6, 4), data.targets.view(3, 6)
    fast = stacked_model(Labels(), model, space)
    assert isinstance(fast, StackedPerceptron)
    g, loss = fast.gradient(x, inputs, targets)
    expected, expected_loss = by_autograd(Labels(), model, space, x, inputs, targets)
    assert agree(g, expected)
    assert agree(loss, expected_loss)


def test_layers_that_do_nothing_are_passed_over_and_images_flattened():
    layers = [nn.Flatten(), nn.Identity(), nn.Linear(12, 5), nn.ReLU(), nn.Dropout(0.0), nn.Linear(5, 3)]
    model = seeded(nn.Sequential(*layers))
    space, x = rows_of(model, 2)
    data = labelled(8, 3, 4)
    inputs, targets = data.inputs.view(2, 4, 3, 4), data.targets.view(2, 4)
    fast = stacked_model(Labels(), model, space)
    assert isinstance(fast, StackedPerceptron)
    assert agree(fast.gradient(x, inputs, targets)[0], by_autograd(Labels(), model, space, x, inputs, targets)[0])
    assert fast.outputs(x, data.inputs).shape == (2, 8, 3)


def shared():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked():
    model = perceptron(4, 5, 3)
    model[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    return model


def frozen():
    model = perceptron(4, 5, 3)
    model[0].weight.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 3)),
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
        perceptron(4, 5, 3).double(),
        shared(),
        hooked(),
        frozen(),
        nn.Linear(4, 3),
    ],
)
def test_what_is_more_than_the_fast_way_can_do_goes_the_general_way(model):
    assert isinstance(stacked_model(Labels(), model, ParamSpace.from_module(model)), FunctionalModel)


@pytest.mark.parametrize("make", [shared, hooked, Conv, lambda: perceptron(4, 5, 3).double()])
def test_the_general_way_agrees_with_autograd(make):
    model = seeded(make())
    space, x = rows_of(model, 3)
    shape = (1, 4, 4) if isinstance(model, Conv) else (4,)
    data = labelled(15, *shape)
    inputs, targets = data.inputs.view(3, 5, *shape).to(next(model.parameters()).dtype), data.targets.view(3, 5)
    general = stacked_model(Labels(), model, space)
    g, loss = general.gradient(x, inputs, targets)
    expected, expected_loss = by_autograd(Labels(), model, space, x, inputs, targets)
    assert agree(g, expected)
    assert agree(loss, expected_loss)
    if isinstance(model, Conv):
        assert not g[:, space.views(x)["scale"][0].storage_offset() :][:, :3].any()
        assert not g[:, -3:].any(), "gradients at buffers are 0"


def test_what_stays_local_is_not_trained():
    model = perceptron(4, 5, 3)
    space = ParamSpace.from_module(model, lambda name, _, kind: kind if name.startswith("0.") else None)
    x = space.flatten(model).repeat(2, 1)
    data = labelled(10, 4)
    inputs, targets = data.inputs.view(2, 5, 4), data.targets.view(2, 5)
    general = stacked_model(Labels(), model, space)
    assert isinstance(general, FunctionalModel)
    expected, _ = by_autograd(Labels(), model, space, x, inputs, targets)
    assert agree(general.gradient(x, inputs, targets)[0], expected)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(5), nn.InstanceNorm1d(5, track_running_stats=True)])
def test_running_statistics_are_refused_by_the_name_of_the_layer(layer):
    model = nn.Sequential(nn.Linear(4, 5), nn.Sequential(layer), nn.Linear(5, 3))
    with pytest.raises(ConfigError, match=rf"layer '1\.0' \({type(layer).__name__}\) keeps running statistics"):
        stacked_model(Labels(), model, ParamSpace.from_module(model))
    plain = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False))
    stacked_model(Labels(), plain, ParamSpace.from_module(plain))


def test_a_space_of_another_model_is_refused():
    space = ParamSpace.from_module(perceptron(4, 6, 3))
    with pytest.raises(SpaceError, match="shape"):
        stacked_model(Labels(), perceptron(4, 5, 3), space)


def test_dropout_draws_for_each_row_in_training_and_not_in_evaluation():
    model = seeded(nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 3)))
    space, x = rows_of(model, 1)
    x = x.repeat(2, 1)
    data = labelled(6, 4)
    inputs, targets = data.inputs.expand(2, 6, 4), data.targets.expand(2, 6)
    general = stacked_model(Labels(), model, space)
    assert general.draws
    torch.manual_seed(0)
    first, second = general.gradient(x, inputs, targets)[0]
    assert not torch.allclose(first, second)
    still = general.loss(x, inputs, targets, training=False)
    assert still[0] == still[1] == general.loss(x, inputs, targets, training=False)[0]
    model.eval()
    assert agree(general.outputs(x, data.inputs)[0], by_module(model, space, x[0], data.inputs), 1e-6)


def by_module(model, space, x, inputs):
    space.unflatten_(model, x)
    with torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize("num_samples", [1, 40, 1500])
def test_the_metric_is_the_daemons_over_the_whole_set(num_samples):
    for task, data, model in [
        (Labels(), labelled(num_samples, 4), perceptron(4, 5, 3)),
        (Reals(), real(num_samples, 4), perceptron(4, 5, 1)),
        (Labels(), labelled(num_samples, 4), nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3))),
    ]:
        space, x = rows_of(model, 50)
        oracle = ModelOracle(model, space, task, data, lambda *_: None)
        metric = stacked_model(task, model, space).metric(x, data)
        assert metric.dtype == torch.float64
        assert torch.allclose(metric, torch.tensor([oracle.evaluate(row, data) for row in x]).double(), rtol=1e-5)


def test_a_model_is_taken_as_it_was_when_it_was_stacked():
    model = perceptron(4, 5, 3)
    space = ParamSpace.from_module(model, lambda name, _, kind: kind if name.startswith("0.") else None)
    general = stacked_model(Labels(), model, space)
    x = space.flatten(model)[None]
    inputs = torch.randn(2, 4, generator=rng_of(0))
    before = general.outputs(x, inputs)
    with torch.no_grad():
        model[2].weight += 1
    assert torch.equal(general.outputs(x, inputs), before)
