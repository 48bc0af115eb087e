"""Check the pieces that a swarm file names, as far as that is possible without torch.

Every peer, also a relay, computes the graph: the topology is checked whole. What runs in the trainer is checked where
there is one. Our own pieces tell their parameters without importing torch (`tests/conformance/test_pieces.py`); of a
piece from another package only the name is looked up here, because its module may import torch: the trainer looks at
its parameters when it opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aggregation.mixers import registry as mixers
from aggregation.steps import registry as steps
from aggregation.weights import registry as weights
from peer.config.knobs import Piece
from peer.config.swarm_file import SwarmFile
from peer.errors import ConfigError
from peer.train.task import tasks
from topology.errors import PieceError
from topology.families import registry as families
from topology.registry import Registry


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
    except PieceError as error:
        raise ConfigError(f"{path}: {setting}: {error}") from error


def _check(registry: Registry[Any], piece: Piece) -> None:
    if registry.is_builtin(piece.name) or piece.name not in registry.names():
        registry.check(piece.name, piece.params)
