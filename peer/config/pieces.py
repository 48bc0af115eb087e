"""Check the pieces that a swarm file names, as far as that is possible without torch.

Every peer, also a relay, computes the graph: the topology is checked whole. Of the pieces that run in the trainer only
the name is looked up, because looking at parameters imports the piece and with it torch; the trainer checks them when
it opens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from peer.config.knobs import Piece
from peer.config.swarm_file import SwarmFile
from peer.errors import ConfigError
from topology.errors import PieceError


def check_pieces(swarm: SwarmFile, path: Path) -> None:
    """Raise `ConfigError`, naming `path` and the setting, for a piece that is unknown or wrongly parametrised."""
    from topology.families import registry as families

    _check(path, "topology", swarm.topology, lambda piece: families.check(piece.name, piece.params))


def _check(path: Path, setting: str, piece: Piece, check: Callable[[Piece], object]) -> None:
    try:
        check(piece)
    except PieceError as error:
        raise ConfigError(f"{path}: {setting}: {error}") from error
