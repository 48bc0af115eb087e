"""The mini-batches of many rows are those that each peer draws alone."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.virtual.stacked import RowBatches, num_steps
from tests.netsim.virtual.stacked.cases import batches_of, rng, shards_of


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 23), min_size=1, max_size=7),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 3),
    steps=st.sampled_from([0, 0, 1, 4, 13]),
)
def test_every_row_gets_the_daemons_mini_batches(sizes, batch_size, epochs, steps):
    shards = shards_of(sizes, 100)
    made = RowBatches(shards, batch_size, epochs=epochs, steps=steps, rng=rng(len(sizes)))
    most = int(made.H.max())
    indices, shares = made.whole(made.H)
    assert len(indices) == most
    for row, shard in enumerate(shards):
        if not len(shard):
            assert made.H[row] == 0
            continue
        alone = batches_of(shard, rng(len(sizes)), row, batch_size, epochs=epochs, steps=steps)
        assert made.H[row] == len(alone) == num_steps(len(shard), batch_size, epochs=epochs, steps=steps)
        for h in range(most):
            index, share = indices[h], shares[h]
            if h >= len(alone):
                assert not share[row].any()
                continue
            expected = shard[alone[h]]
            (last,) = [
                piece.samples[row] if piece.rows is None else piece.samples[piece.rows.tolist().index(row)]
                for piece in made.pieces(h)
                if piece.rows is None or row in piece.rows.tolist()
            ][-1:]
            assert torch.equal(last, expected)
            counted = share[row] > 0
            assert torch.equal(index[row][counted], expected)
            assert torch.equal(share[row][counted], torch.full((len(expected),), 1 / len(expected)))


def test_every_index_is_one_of_the_set_even_where_rows_are_done_or_empty():
    shards = [torch.tensor([9, 8, 7]), torch.empty(0, dtype=torch.int64), torch.tensor([6])]
    made = RowBatches(shards, 2, epochs=4, steps=0, rng=rng(3))
    assert set(made.whole(made.H)[0].flatten().tolist()) == {9, 8, 7, 6}


def test_nobody_has_samples():
    made = RowBatches([torch.empty(0, dtype=torch.int64)] * 2, 8, epochs=1, steps=5, rng=rng(2))
    assert made.H.tolist() == [0, 0]
