"""Local steps of many rows in chunks: each as its own trainer would, and the same bytes for any threads."""

import pytest
import torch

from aggregation.store import Store
from netsim.virtual.stacked import StackedOracle, stacked_model, train_rows
from netsim.virtual.stacked.descent import DelegatedSGD, delegated
from netsim.virtual.stacked.training import finite_rows
from tests.netsim.virtual.stacked.cases import (
    Labels,
    Reals,
    agree,
    ctx_of,
    daemon_row,
    labelled,
    method_of,
    oracle_of,
    perceptron,
    real,
    rows_of,
    shards_of,
)

SIZES = [12, 5, 9, 0, 12, 7, 30, 1, 12, 12, 8]


class World:
    """Peers with a store and shards of one set."""

    def __init__(self, method, *, task=None, sizes=SIZES, epochs=1):
        self.method = method
        self.task = task or Labels()
        self.data = real(60, 4) if isinstance(self.task, Reals) else labelled(60, 4)
        self.model = perceptron(4, 6, 3)
        self.space, self.x = rows_of(self.model, len(sizes))
        self.shards = shards_of(sizes, 60)
        self.stacked = stacked_model(self.task, self.model, self.space)
        self.epochs = epochs
        self.ctx = ctx_of(method, self.space, len(sizes))
        self.H = oracle_of(self.stacked, self.data, self.shards, 4, epochs=epochs).H

    def store(self):
        st = Store(x=self.x.clone())
        self.method.init(st, self.ctx)
        return st

    def train(self, st, rows=None, **how):
        rows = torch.arange(len(self.shards)) if rows is None else rows

        def oracle_of(ids, ctx):
            shards = [self.shards[i] for i in ids.tolist()]
            return StackedOracle(
                self.stacked, self.data, shards, batch_size=4, epochs=self.epochs, steps=0, rng=ctx.rng
            )

        return train_rows(self.method, st, rows, self.H[rows], oracle_of, self.ctx.rows, **how)


METHODS = {
    "plain": method_of("sgd", lr=0.3),
    "momentum and decay": method_of("sgd", lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": method_of("adam", lr=0.01),
    "sam": method_of("sam", lr=0.1),
    "tracking": method_of("sgd", "gradient-tracking", lr=0.1),
}


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_each_row_trains_as_the_daemon_trains_it(name, epochs):
    world = World(METHODS[name], epochs=epochs)
    st = world.store()
    loss = world.train(st, chunk_rows=4)
    assert loss.dtype == torch.float64
    for row, shard in enumerate(world.shards):
        if not len(shard):
            assert torch.equal(st["x"][row], world.x[row])
            assert loss[row] == 0
            continue
        ctx = world.ctx.rows(torch.tensor([row]))
        expected, expected_loss = daemon_row(
            world.method, world.task, world.model, world.space, world.data, world.x[row], shard, ctx, 4, epochs=epochs
        )
        assert agree(st["x"][row], expected)
        assert agree(loss[row], expected_loss)
        assert not torch.equal(st["x"][row], world.x[row])


@pytest.mark.parametrize("name", METHODS)
def test_any_number_of_threads_gives_the_same_bytes(name):
    world = World(METHODS[name])
    stores, losses = [], []
    for threads in (1, 2, 4):
        stores.append(world.store())
        losses.append(world.train(stores[-1], threads=threads, chunk_rows=2))
    for st, loss in zip(stores[1:], losses[1:], strict=True):
        assert sorted(st) == sorted(stores[0])
        assert all(torch.equal(st[entry], stores[0][entry]) for entry in st)
        assert torch.equal(loss, losses[0])


def test_only_the_rows_that_are_named_move_and_losses_come_in_their_order():
    world = World(METHODS["momentum and decay"])
    whole, some = world.store(), world.store()
    losses = world.train(whole, chunk_rows=3)
    rows = torch.tensor([8, 1, 6])
    assert agree(world.train(some, rows, chunk_rows=2), losses[rows])
    others = [row for row in range(len(SIZES)) if row not in rows.tolist()]
    assert torch.equal(some["x"][others], world.x[others])
    assert agree(some["x"][rows], whole["x"][rows])
    assert agree(some["sgd.v"][rows], whole["sgd.v"][rows])
    assert not some["sgd.v"][others].any()
    assert len(world.train(some, torch.empty(0, dtype=torch.int64))) == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_a_row_that_diverges_stays_as_it_was_with_all_that_belongs_to_it(threads):
    world = World(METHODS["momentum and decay"])
    world.x[4] = 3e38
    before, st = world.store(), world.store()
    world.train(before)  # so that there is momentum to keep
    st = Store({name: tensor.clone() for name, tensor in before.items()})
    loss = world.train(st, threads=threads, chunk_rows=4)
    assert torch.equal(st["x"][4], world.x[4])
    assert torch.equal(st["sgd.v"][4], before["sgd.v"][4])
    assert loss.isnan().nonzero().tolist() == [[4]]
    assert st["x"].isfinite().all()
    assert not torch.equal(st["x"][5], before["x"][5])


def test_finite_rows_are_told_from_rows_whose_sum_overflows():
    x = torch.zeros(5, 3)
    x[1] = 3e38
    x[2, 1] = torch.inf
    x[3, 0], x[3, 2] = torch.inf, -torch.inf
    x[4, 1] = torch.nan
    assert finite_rows(x).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("task", [Labels(), Reals()])
def test_plain_descent_is_delegated_and_falls_back_where_the_loss_has_no_closed_form(task):
    method = METHODS["plain"]
    assert isinstance(delegated(method).step, DelegatedSGD)
    assert delegated(METHODS["momentum and decay"]) is METHODS["momentum and decay"]
    assert delegated(METHODS["sam"]) is METHODS["sam"]
    world = World(method, task=task)
    st, plain = world.store(), world.store()
    loss = world.train(st, chunk_rows=20)
    oracle = oracle_of(world.stacked, world.data, world.shards, 4)
    assert agree(method.train(plain, oracle, world.H, world.ctx), loss)
    assert agree(st["x"], plain["x"], 1e-6)


def test_the_number_of_threads_of_an_operation_is_given_back():
    world = World(METHODS["plain"])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = []
        st = world.store()

        def ctx_of(ids):
            seen.append(torch.get_num_threads())
            return world.ctx.rows(ids)

        train_rows(
            world.method,
            st,
            torch.arange(len(SIZES)),
            world.H,
            lambda ids, ctx: oracle_of(
                world.stacked, world.data, [world.shards[i] for i in ids.tolist()], 4, rng=ctx.rng
            ),
            ctx_of,
            threads=2,
            chunk_rows=4,
        )
        assert seen == [1, 1, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
