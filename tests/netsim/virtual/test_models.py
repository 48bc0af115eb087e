"""Rows of models: given out once, and again only when nobody works on them."""

import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from netsim.virtual.models import ModelRows


def test_a_row_is_free_again_only_after_its_last_holder_and_a_settlement():
    rows = ModelRows(3, 1)
    row = rows.take()
    rows.hold(row)
    rows.release(row)
    rows.settle()
    assert rows.num_free == 0
    rows.release(row)
    assert rows.num_free == 0
    rows.settle()
    assert rows.num_free == 1


def test_rows_keep_their_values_when_there_must_be_more():
    rows = ModelRows(2, 1)
    first = rows.take()
    rows.matrix[first] = torch.tensor([1.0, 2.0])
    second = rows.take()
    assert second != first
    assert rows.matrix[first].tolist() == [1.0, 2.0]


class Holding(RuleBasedStateMachine):
    """Against a plain count of holders."""

    def __init__(self):
        super().__init__()
        self.rows = ModelRows(1, 4)
        self.holders = {}
        self.limbo = set()

    @rule()
    def take(self):
        row = self.rows.take()
        assert row not in self.holders
        assert row not in self.limbo
        self.holders[row] = 1

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def hold(self, data):
        row = data.draw(st.sampled_from(sorted(self.holders)))
        self.rows.hold(row)
        self.holders[row] += 1

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def release(self, data):
        row = data.draw(st.sampled_from(sorted(self.holders)))
        self.rows.release(row)
        self.holders[row] -= 1
        if not self.holders[row]:
            del self.holders[row]
            self.limbo.add(row)

    @rule()
    def settle(self):
        self.rows.settle()
        self.limbo.clear()

    @invariant()
    def counts_agree(self):
        assert self.rows.num_held == len(self.holders)


TestHolding = Holding.TestCase
