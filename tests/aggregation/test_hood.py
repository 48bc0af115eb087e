import pytest
import torch

from aggregation.delivery import Channel, Delivery, model_channel
from aggregation.errors import ShapeError
from aggregation.hood import Ctx, Dense, Gathered, Hood, Inbox, Meta, Rows
from aggregation.param_space import ParamSpace, Segment
from aggregation.seeding import derived_seed, rng, rows_rng
from aggregation.values import block

SPACE = ParamSpace([Segment("w", 0, (3,), "weight")])


def test_meta_of_one_node():
    meta = Meta.single([4, 7], degree=[3, 2], age=[0, 1.5], steps=[10, 20], samples=[5, 6], origin_version=[1, 9])
    assert meta.shape == (1, 2)
    assert meta.ids.tolist() == [[4, 7]]
    assert meta.age.tolist() == [[0, 1.5]]
    assert meta.ok.all()
    assert meta.w.tolist() == [[0, 0]]
    assert meta.slots(torch.tensor([1])).degree.tolist() == [[2]]
    assert Meta.single([]).shape == (1, 0)


def test_meta_refuses_tensors_of_different_shapes():
    with pytest.raises(ShapeError):
        Meta.of(torch.ones(1, 2, dtype=torch.bool), age=torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="bool"):
        Meta.of(torch.ones(1, 2))


def test_hood_refuses_parts_that_do_not_fit():
    meta = Meta.single([0, 1])
    with pytest.raises(ShapeError):
        Hood.single(torch.zeros(3), [torch.zeros(3)], meta)
    with pytest.raises(ShapeError):
        Hood.single(torch.zeros(3), [torch.zeros(3), torch.zeros(4)], meta)
    with pytest.raises(ShapeError, match="cov"):
        Hood.dense(torch.zeros(1, 3), torch.zeros(1, 2, 3), meta, torch.ones(1, 2, 3))


def test_values_are_the_same_wherever_they_lie():
    table = torch.randn(6, 5)
    ids = torch.tensor([[1, 2, 3]])
    cpu = torch.device("cpu")
    kinds = [Dense(table[ids]), Rows([table[i] for i in ids[0]], 5), Gathered(table, ids)]
    for values in kinds:
        assert values.shape == (1, 3, 5)
        assert torch.equal(block(values, slice(1, 4), cpu), table[ids][:, :, 1:4])
        assert torch.equal(block(values.columns(slice(2, 5)), slice(0, 3), cpu), table[ids][:, :, 2:5])
        assert torch.equal(block(values.rows(torch.tensor([0, 0])), slice(0, 5), cpu), table[ids].expand(2, 3, 5))
        assert values.rows(torch.tensor([0])).shape == (1, 3, 5)


def test_values_without_slots():
    for values in (Rows([], 4), Dense(torch.zeros(1, 0, 4)), Gathered(torch.zeros(2, 4), torch.zeros(1, 0).long())):
        assert block(values, slice(0, 3), torch.device("cpu")).shape == (1, 0, 3)
        assert values.rows(torch.tensor([0, 0])).shape == (2, 0, 4)


@pytest.mark.parametrize(
    "make", [lambda: Dense(torch.zeros(2, 3)), lambda: Gathered(torch.zeros(2), torch.zeros(1, 1))]
)
def test_values_refuse_other_shapes(make):
    with pytest.raises(ShapeError):
        make()


def test_an_inbox_has_a_neighbourhood_per_channel():
    meta = Meta.single([3])
    cov = torch.ones(1, 1, 2, dtype=torch.bool)
    inbox = Inbox(meta, {"x": Rows([torch.ones(3)], 3), "mask": Rows([torch.zeros(2)], 2)}, {"mask": cov})
    assert inbox.hood("x", torch.zeros(1, 3)).shape == (1, 1, 3)
    assert inbox.hood("x", torch.zeros(1, 3)).cov is None
    assert inbox.hood("mask", torch.zeros(1, 2)).cov is cov
    assert inbox.log == ()


def test_a_context_follows_its_rows():
    nodes = ["a", "b", "c"]
    ctx = Ctx(
        t=torch.tensor([1, 2, 3]),
        now=torch.zeros(3, dtype=torch.float64),
        lr=torch.ones(3, dtype=torch.float64),
        neighbours=torch.tensor([4, 5, 6]),
        space=SPACE,
        rng=rows_rng(0, "run", nodes, [1, 2, 3]),
        frac=torch.tensor([0.1, 0.2, 0.3]),
    )
    part = ctx.rows(torch.tensor([2, 0]))
    assert part.t.tolist() == [3, 1]
    assert part.frac.tolist() == pytest.approx([0.3, 0.1])
    assert torch.equal(torch.rand(3, generator=part.rng(0, "p")), torch.rand(3, generator=rng(0, "run", "c", 3, "p")))
    again = part.rows(torch.tensor([1]))
    assert torch.equal(torch.rand(3, generator=again.rng(0, "p")), torch.rand(3, generator=rng(0, "run", "a", 1, "p")))


def test_a_context_of_one_node():
    ctx = Ctx.single(t=4, lr=0.5, neighbours=3, space=SPACE, rng=rows_rng(0, "run", ["me"], [4]), frac=0.25)
    assert (ctx.t.tolist(), ctx.lr.tolist(), ctx.neighbours.tolist(), ctx.frac.tolist()) == ([4], [0.5], [3], [0.25])
    assert ctx.rows(torch.tensor([0])).frac.tolist() == [0.25]


def test_seeds_depend_on_every_argument_and_its_type():
    base = (1, "run", "node", 2, "batch")
    others = [(2, *base[1:]), (1, b"run", *base[2:]), (1, "run", "nod", 2, "ebatch"), (1, "run", "node", 3, "batch")]
    others += [(1, "run", 5, 2, "batch"), (1, "run", "5", 2, "batch"), (*base[:4], "mask")]
    assert len({derived_seed(*args) for args in [base, *others]}) == len(others) + 1


def test_seeds_are_frozen():
    """A change here breaks the resuming of runs, and agreement on anything that is drawn without a message."""
    assert derived_seed(1, b"run", "node", 2, "batch") == 7952551624009608606
    assert torch.randperm(5, generator=rng(1, b"run", "node", 2, "batch")).tolist() == [4, 0, 3, 1, 2]


def test_channels_declare_their_delivery():
    channel = model_channel()
    assert (channel.name, channel.delivery, channel.width(SPACE), channel.codec, channel.trust) == (
        *("x", Delivery.LATEST, 3),
        *(True, True),
    )
    assert not Channel("mask", Delivery.LATEST, lambda space: space.width, dtype="bit", codec=False).codec
