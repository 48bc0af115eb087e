"""Errors of aggregation: our own misuse, since what peers send has passed admission before it gets here.

AggregationError
├── SpaceError    a model or vector does not fit the ParamSpace
├── ShapeError    tensors do not fit together (batch, slots, width), or have the wrong dtype
└── NeedsError    a rule asks for something that the runtime does not provide (Gram, losses, an evaluator)
"""


class AggregationError(Exception):
    """Base of all errors that this package raises on purpose."""


class SpaceError(AggregationError):
    """A model or a vector does not have the layout of the ParamSpace."""


class ShapeError(AggregationError):
    """Tensors do not fit together."""


class NeedsError(AggregationError):
    """A rule needs something that is not there."""
