"""A team's own Python file as a plug-in: it registers a task or another piece when it is run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from peer.errors import TrainerError


def run_plugins(paths: Sequence[Path]) -> None:
    """Run each file as a module of its own, once per process. Its exceptions come through.

    Raises `TrainerError` when there is no such Python file.
    """
    for path in paths:
        _run(path.resolve())


def _run(path: Path) -> None:
    name = f"murmuration_plugin:{path}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise TrainerError(f"plug-in {path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
