"""Which way of stacking a model takes."""

from __future__ import annotations

from torch import nn

from aggregation.param_space import ParamSpace
from netsim.virtual.stacked.functional import FunctionalModel
from netsim.virtual.stacked.model import StackedModel
from netsim.virtual.stacked.perceptron import StackedPerceptron, layers_of
from peer.train.task import Task


def stacked_model(task: Task, model: nn.Module, space: ParamSpace) -> StackedModel:
    """Return `model` for many rows, the fast way where it can be.

    Raises `ConfigError` for a module that keeps running statistics, `SpaceError` when `space` is not of `model`.
    """
    layers = layers_of(model, space)
    if layers is not None:
        return StackedPerceptron(task, model, space, layers)
    return FunctionalModel(task, model, space)
