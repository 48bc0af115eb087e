"""The folder of a device, as every verb takes it: where `peer.toml` lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from peer.config.peer_file import PeerFile

PEER_FILE = "peer.toml"


def folder_argument(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the argument `folder`, the current one by default."""
    return click.argument("folder", metavar="[DIR]", default=Path(), type=click.Path(path_type=Path))(verb)


def peer_file_in(folder: Path) -> PeerFile:
    """Read the settings of the device in `folder`. Raises `ConfigError`."""
    from peer.config.reading import read_peer_file

    return read_peer_file(folder / PEER_FILE)
