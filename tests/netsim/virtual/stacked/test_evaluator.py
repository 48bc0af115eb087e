"""Received models are judged as each peer alone judges them."""

import pytest
from torch import nn

from netsim.virtual.stacked import StackedEvaluator, stacked_model
from peer.train.evaluator import MAX_SAMPLES, LocalEvaluator
from peer.train.task import Data
from tests.netsim.virtual.stacked.cases import Labels, agree, labelled, perceptron, rng, rows_of, shards_of

SIZES = [20, MAX_SAMPLES + 30, 7, 20, 700]


@pytest.mark.parametrize(
    "model", [perceptron(4, 5, 3), nn.Sequential(nn.Linear(4, 9), nn.Dropout(0.5), nn.GELU(), nn.Linear(9, 3))]
)
def test_losses_and_scores_are_the_daemons(model, monkeypatch):
    monkeypatch.setattr("netsim.virtual.stacked.evaluator.PIECE_SAMPLES", 30)  # one row each
    data = labelled(900, 4)
    space, x = rows_of(model, len(SIZES) * 3)
    models = x.view(len(SIZES), 3, -1)
    shards = shards_of(SIZES, 900)
    judge = StackedEvaluator(stacked_model(Labels(), model, space), data, shards, rng(len(SIZES)))
    loss, f1 = judge.loss(models), judge.per_class_f1(models)
    for row, shard in enumerate(shards):
        own = Data(data.inputs[shard], data.targets[shard])
        alone = LocalEvaluator(model, space, Labels(), own, rng(len(SIZES))(row, "samples to judge by"))
        expected, expected_f1 = alone.loss(models[row : row + 1]), alone.per_class_f1(models[row : row + 1])
        assert agree(loss[row], expected[0])
        assert agree(f1[row], expected_f1[0])
        assert loss.dtype == expected.dtype
        assert f1.dtype == expected_f1.dtype
    assert loss.shape == (5, 3)
    assert f1.shape == (5, 3, 3)


def test_who_has_no_sample_does_not_judge():
    model = perceptron(4, 5, 3)
    space, x = rows_of(model, 2)
    judge = StackedEvaluator(stacked_model(Labels(), model, space), labelled(9, 4), shards_of([3, 0], 9), rng(2))
    assert judge.loss(x[:, None]).isnan().tolist() == [[False], [True]]
    assert judge.per_class_f1(x[:, None]).isnan().any(dim=2).tolist() == [[False], [True]]
    assert judge.loss(x[:, None][:, :0]).shape == (2, 0)
