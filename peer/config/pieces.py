"""Check the pieces that a swarm file names, as far as that is possible without torch.

Every peer, also a relay, computes the graph: the topology is checked whole. What runs in the trainer is checked where
there is one. Our own pieces tell their parameters without importing torch (`tests/conformance/test_pieces.py`); of a
piece from another package only the name is looked up here, because its module may import torch: the trainer looks at
its parameters when it opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aggregation.algorithms import registry as algorithms
from aggregation.delivery import model_alone
from aggregation.errors import ConditionError
from aggregation.mixers import registry as mixers
from aggregation.outer import registry as outer
from aggregation.selectors import Selector
from aggregation.selectors import registry as selectors
from aggregation.steps import registry as steps
from aggregation.weights import registry as weights
from peer.config.swarm_file import SwarmFile
from peer.errors import ConfigError
from peer.train.task import tasks
from topology.errors import BadParameterError, PieceError
from topology.families import registry as families
from topology.registry import Piece, Registry

MANY_MEMBERS = 65
"""Enough that a neighbourhood which grows with the swarm is large here; the degree of the others shows."""


def check_pieces(swarm: SwarmFile, path: Path, *, trains: bool = True) -> None:
    """Raise `ConfigError`, naming the swarm file `path` and the setting, for a piece that cannot be used."""
    try:
        setting = "topology"
        families.check(swarm.topology.name, swarm.topology.params)
        if not trains:
            return
        setting = "task"
        tasks.check(swarm.task.name, swarm.task.params)
        setting = "method.step"
        _check(steps, swarm.method.step)
        setting = "method.mixer"
        _check(mixers, swarm.method.mixer)
        setting = "method.weights"
        _check(weights, swarm.method.weights)
        setting = "method.algorithm"
        _check(algorithms, swarm.method.algorithm)
        _check_channels(swarm.method.algorithm)
        setting = "method.outer"
        if swarm.method.outer is not None:
            _check(outer, swarm.method.outer)
        setting = "method.selector"
        _check(selectors, swarm.method.selector)
        _check_layout(swarm.method.selector)
        setting = "method.mixer"
        _check_neighbourhoods(swarm)
        setting = "method.gossip_steps"
        if swarm.method.gossip_steps != 1:
            raise BadParameterError("several exchanges per round run in simulation only so far; write 1")
    except (PieceError, ConditionError) as error:
        raise ConfigError(f"{path}: {setting}: {error}") from error


def _check_channels(piece: Piece) -> None:
    """Refuse an algorithm that sends what the daemon cannot carry."""
    if not algorithms.is_builtin(piece.name):
        return
    channels = algorithms.build(piece.name, piece.params).channels
    if not model_alone(channels):
        sent = ", ".join(f"{channel.name} ({channel.delivery.value})" for channel in channels)
        raise BadParameterError(
            f"algorithm {piece.name!r} sends {sent}; the daemon carries the model alone so far, so this algorithm runs"
            " in simulation only"
        )


def _check_layout(piece: Piece) -> None:
    """Refuse a selector that leaves entries out of single messages: the daemon sends whole models."""
    if selectors.is_builtin(piece.name) and selectors.piece(piece.name).mask is not Selector.mask:
        raise BadParameterError(
            f"selector {piece.name!r} sends a part of the model in each message; the daemon sends the whole vector so"
            " far, so this selector is for simulation only"
        )


def _check_neighbourhoods(swarm: SwarmFile) -> None:
    """Refuse a rule whose condition on n fails in any swarm with this graph, however large."""
    if not mixers.is_builtin(swarm.method.mixer.name):
        return
    family = families.build(swarm.topology.name, swarm.topology.params)
    given = getattr(family, "graph", None)  # from a file, which may have fewer nodes
    graph = family.build(range(MANY_MEMBERS if given is None else min(MANY_MEMBERS, len(given))), swarm.seed)
    least = min(graph.degree(node) for node in graph.nodes)
    mixers.build(swarm.method.mixer.name, swarm.method.mixer.params).require(least + 1)


def _check(registry: Registry[Any], piece: Piece) -> None:
    if registry.is_builtin(piece.name) or piece.name not in registry.names():
        registry.check(piece.name, piece.params)
