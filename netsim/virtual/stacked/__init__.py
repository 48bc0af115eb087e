"""Local training and evaluation of many peers at once: one row of a matrix is one peer's model."""

from netsim.virtual.stacked.batches import RowBatches, num_steps
from netsim.virtual.stacked.choice import stacked_model
from netsim.virtual.stacked.evaluator import StackedEvaluator
from netsim.virtual.stacked.model import StackedModel
from netsim.virtual.stacked.oracle import StackedOracle
from netsim.virtual.stacked.training import train_rows

__all__ = [
    "RowBatches",
    "StackedEvaluator",
    "StackedModel",
    "StackedOracle",
    "num_steps",
    "stacked_model",
    "train_rows",
]
