"""The gradients of many rows on their own mini-batches are those of the daemon's oracle of each."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netsim.virtual.stacked import stacked_model
from netsim.virtual.stacked.functional import FunctionalModel
from tests.netsim.virtual.stacked.cases import (
    Labels,
    Reals,
    agree,
    batches_of,
    daemon_oracle,
    labelled,
    oracle_of,
    perceptron,
    real,
    rng,
    rows_of,
    seeded,
    shards_of,
)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 17), min_size=1, max_size=5),
    batch_size=st.integers(1, 6),
    task=st.sampled_from([Labels(), Reals()]),
    general=st.booleans(),
)
def test_every_row_is_the_daemons_whatever_the_sizes_of_the_others(sizes, batch_size, task, general):
    data = real(30, 4) if isinstance(task, Reals) else labelled(30, 4)
    model = perceptron(4, 5, 3)
    space, x = rows_of(model, len(sizes))
    shards = shards_of(sizes, 30)
    stacked = FunctionalModel(task, model, space) if general else stacked_model(task, model, space)
    oracle = oracle_of(stacked, data, shards, batch_size)
    assert oracle.H.dtype == torch.int64
    for h in range(int(oracle.H.max())):
        g, loss = oracle(x, h)
        assert g.shape == x.shape
        only_loss = oracle.loss(x, h)
        for row, shard in enumerate(shards):
            batches = batches_of(shard, rng(len(sizes)), row, batch_size)
            assert oracle.H[row] == len(batches)
            if h < len(batches):
                alone = daemon_oracle(task, model, space, data, shard, batches)
                expected, expected_loss = alone(x[row : row + 1].clone(), h)
                assert agree(g[row], expected[0])
                assert agree(loss[row], expected_loss[0])
                assert agree(only_loss[row], expected_loss[0])


def test_rounds_draw_other_mini_batches_and_the_same_step_the_same():
    data, model = labelled(30, 4), perceptron(4, 5, 3)
    space, x = rows_of(model, 2)
    stacked = stacked_model(Labels(), model, space)
    shards = shards_of([12, 12], 30)
    first, again, later = (oracle_of(stacked, data, shards, 4, round=round) for round in (0, 0, 1))
    g = first(x, 2)[0].clone()
    first(x, 0)
    assert torch.equal(first(x, 2)[0], g)
    assert torch.equal(again(x, 2)[0], g)
    assert not torch.equal(later(x, 2)[0], g)


def test_descending_is_following_the_gradient():
    data, model = labelled(40, 4), perceptron(4, 6, 5, 3, activation=nn.Tanh)
    space, x = rows_of(model, 4)
    shards = shards_of([7, 0, 12, 3], 40)
    stacked = stacked_model(Labels(), model, space)
    oracle = oracle_of(stacked, data, shards, 4, epochs=2)
    rate = torch.tensor([[0.1], [0.2], [0.3], [0.4]])
    H = oracle.H - torch.tensor([0, 0, 1, 0])
    expected, losses = x.clone(), torch.zeros(4)
    for h in range(int(H.max())):
        g, loss = oracle(expected, h)
        goes_on = h < H
        expected -= rate * g * goes_on[:, None]
        losses += loss * goes_on
    found = x.clone()
    assert agree(oracle.descend(found, H, rate), losses)
    assert agree(found, expected, 1e-6)
    assert torch.equal(found[1], x[1]), "without samples nothing moves"


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (Reals(), perceptron(4, 5, 3)),
        (Labels(), nn.Sequential(nn.Linear(4, 3), nn.Tanh())),
        (Labels(), nn.Sequential(nn.Linear(4, 3), nn.GELU())),
    ],
)
def test_what_cannot_descend_says_so_and_does_nothing(task, model):
    data = real(30, 4) if isinstance(task, Reals) else labelled(30, 4)
    space, x = rows_of(model, 2)
    oracle = oracle_of(stacked_model(task, model, space), data, shards_of([5, 5], 30), 4)
    before = x.clone()
    assert oracle.descend(x, oracle.H, torch.ones(2, 1)) is None
    assert torch.equal(x, before)


def test_masks_repeat_with_the_seed_and_leave_the_default_generator_alone():
    model = seeded(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)))
    space, x = rows_of(model, 3)
    data, shards = labelled(30, 4), shards_of([8, 5, 8], 30)
    stacked = stacked_model(Labels(), model, space)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, later = (oracle_of(stacked, data, shards, 4, round=round) for round in (0, 0, 1))
    g = first(x, 0)[0].clone()
    torch.manual_seed(4)
    assert torch.equal(again(x, 0)[0], g)
    assert not torch.equal(again(x, 0)[0], g), "another look has other masks, as the daemon's has"
    assert not torch.equal(later(x, 0)[0], g)
    torch.manual_seed(3)
    first(x, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "model",
    [
        perceptron(4, 16, 3),
        nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Linear(9, 3)),
        nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.3)),
    ],
)
def test_one_model_serves_several_threads(model):
    space, x = rows_of(model, 6)
    data, shards = labelled(60, 4), shards_of([16] * 6, 60)
    stacked = stacked_model(Labels(), model, space)

    def work(rows):
        oracle = oracle_of(
            stacked, data, [shards[row] for row in rows], 4, rng=lambda row, what: rng(6)(rows[row], what)
        )
        own = x[rows].clone()
        for h in range(4):
            own -= 0.5 * oracle(own, h)[0]
        return own

    parts = [[0, 1], [2, 3], [4, 5]]
    alone = [work(rows) for rows in parts]
    for _ in range(5):
        found = [None] * 3

        def put(place, found=found):
            found[place] = work(parts[place])

        threads = [threading.Thread(target=put, args=(place,)) for place in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))


def test_ignored_targets_are_trained_on_as_the_daemon_does():
    data, model = labelled(20, 4), perceptron(4, 5, 3)
    data.targets[3::4] = -100
    space, x = rows_of(model, 1)
    shard = torch.arange(20)
    oracle = oracle_of(stacked_model(Labels(), model, space), data, [shard], 8)
    assert oracle.descend(x, oracle.H, torch.ones(1, 1)) is None
    for h in range(3):
        alone = daemon_oracle(Labels(), model, space, data, shard, batches_of(shard, rng(1), 0, 8))
        assert agree(oracle(x, h)[0], alone(x.clone(), h)[0])


MEETING = threading.Barrier(2)


class Meets(nn.Module):
    """A model that goes on only when two threads are in it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        MEETING.wait(timeout=30)
        output = self.layer(x)
        MEETING.wait(timeout=30)
        return output


def test_threads_that_are_in_one_model_at_once_do_not_see_each_others_values():
    model = Meets()
    space, x = rows_of(model, 2)
    stacked = stacked_model(Labels(), model, space)
    inputs = labelled(5, 4).inputs
    found = {}

    def work(row):
        found[row] = stacked.outputs(x[row : row + 1], inputs)[0]

    threads = [threading.Thread(target=work, args=(row,)) for row in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row in range(2):
        values = {name: tensor[row] for name, tensor in space.views(x).items()}
        assert agree(found[row], inputs @ values["layer.weight"].T + values["layer.bias"], 1e-6)
