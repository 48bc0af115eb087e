import pytest
import torch

from aggregation.errors import ShapeError
from aggregation.store import Store


@pytest.fixture
def store():
    return Store(x=torch.arange(8.0).view(4, 2), count=torch.arange(4))


def test_take_copies(store):
    sub = store.take(torch.tensor([2, 0]))
    assert sub["x"].tolist() == [[4, 5], [0, 1]]
    assert sub["count"].tolist() == [2, 0]
    sub["x"].zero_()
    assert store["x"][2].tolist() == [4, 5]


def test_put_writes_only_its_rows(store):
    sub = store.take(torch.tensor([3, 1]))
    sub["x"] += 10
    store.put(torch.tensor([3, 1]), sub)
    assert store["x"].tolist() == [[0, 1], [12, 13], [4, 5], [16, 17]]


def test_state_that_appears_later_is_zero_for_the_others(store):
    sub = store.take(torch.tensor([1]))
    sub.state("m", sub["x"]).add_(5)
    store.put(torch.tensor([1]), sub)
    assert store["m"].tolist() == [[0, 0], [5, 5], [0, 0], [0, 0]]
    assert store.state("m", store["x"]) is store["m"]


def test_put_refuses_what_does_not_fit(store):
    ids = torch.tensor([1])
    with pytest.raises(ShapeError, match="lack count"):
        store.put(ids, Store(x=torch.zeros(1, 2)))
    with pytest.raises(ShapeError, match="x: rows"):
        store.put(ids, Store(x=torch.zeros(1, 3), count=torch.zeros(1, dtype=torch.int64)))
    with pytest.raises(ShapeError, match="x: rows"):
        store.put(ids, Store(x=torch.zeros(1, 2, dtype=torch.float64), count=torch.zeros(1, dtype=torch.int64)))
    with pytest.raises(ShapeError):
        store.put(ids, store.take(torch.tensor([1, 2])))


def test_number_of_nodes(store):
    assert store.num_nodes == 4
