"""Imports go one way, and what is heavy stays where it belongs: read from the source, and tried in fresh processes."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("aggregation", "netsim", "peer", "topology")

# Layer -> our packages that it may import. The longest prefix decides to which layer a module belongs.
ARROWS = {
    "topology": ("topology",),
    "aggregation": ("aggregation", "topology"),
    "peer.core": ("peer.core", "aggregation", "topology"),
    "peer": ("peer", "aggregation", "topology"),
    "netsim": ("netsim", "peer", "aggregation", "topology"),
}
DECIDES_WITHOUT_IO = ("topology", "aggregation", "peer.core")
IO_AND_CHANCE = {"trio", "libp2p", "time", "random", "socket", "asyncio", "threading", "subprocess"}
TORCH_ALLOWED = (
    "aggregation",
    "netsim.virtual",  # computes models; no part of a daemon
    # the worker's side of peer/train: the daemon never imports these
    "peer.train.checkpoint",
    "peer.train.evaluator",
    "peer.train.inline",
    "peer.train.oracle",
    "peer.train.partition",
    "peer.train.tasks",
    "peer.train.tensors",
    "peer.train.trainer",
    "peer.train.worker",
)


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name; a package is named like its folder."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    """Dotted names that a module imports anywhere in its file, but for `if TYPE_CHECKING`."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return frozenset(name for statement in tree.body for name in _imports_in(statement, module))


def _imports_in(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}: relative import"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in modules() else str(node.module)
    else:
        is_for_type_checkers = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.orelse if is_for_type_checkers else ast.iter_child_nodes(node):
            yield from _imports_in(child, module)


def is_within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def layer_of(module: str) -> str:
    return max((layer for layer in ARROWS if is_within(module, layer)), key=len)


def ours(imported: str) -> bool:
    return imported.partition(".")[0] in PACKAGES


def decides_without_io(module: str) -> bool:
    return any(is_within(module, layer) for layer in DECIDES_WITHOUT_IO)


def brings_torch(imported: str) -> bool:
    return is_within(imported, "torch") or is_within(imported, "safetensors.torch")


def top(imported: str) -> str:
    return imported.partition(".")[0]


@pytest.mark.parametrize("module", modules())
def test_imports_follow_the_arrows(module: str) -> None:
    allowed = ARROWS[layer_of(module)]
    wrong = {name for name in imports_of(module) if ours(name) and not any(is_within(name, good) for good in allowed)}
    assert not wrong, f"{module} may import {allowed} only"


def test_there_is_no_cycle() -> None:
    graph = {module: {name for name in imports_of(module) if name in modules()} - {module} for module in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("module", list(filter(decides_without_io, modules())))
def test_decisions_are_made_without_io_and_chance(module: str) -> None:
    assert not {top(name) for name in imports_of(module)} & IO_AND_CHANCE


def test_libp2p_stays_in_one_folder() -> None:
    users = {module for module in modules() if {top(name) for name in imports_of(module)} & {"libp2p", "multiaddr"}}
    assert users
    assert not {module for module in users if not is_within(module, "peer.net")}


def test_torch_stays_out_of_the_daemon() -> None:
    users = {module for module in modules() if any(brings_torch(name) for name in imports_of(module))}
    assert users
    assert not {module for module in users if not any(is_within(module, prefix) for prefix in TORCH_ALLOWED)}


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("peer.daemon", {"torch", "sklearn", "scipy", "matplotlib"}),
        ("peer.config.pieces", {"torch", "libp2p", "trio", "numpy", "networkx"}),
        ("peer.net.transport, peer.net.framing, peer.net.memory", {"torch", "libp2p"}),
        ("topology, topology.registry, topology.families", {"torch", "numpy", "networkx"}),
        ("aggregation", {"torch", "numpy"}),
    ],
)
def test_a_fresh_process_imports_nothing_heavy(imported: str, unwanted: set[str]) -> None:
    program = f"import sys, {imported}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(loaded.stdout.split()) & unwanted


def test_the_rules_would_be_noticed_when_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader sees imports in functions and in `else` branches, and overlooks those for type checkers only."""
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\nelse:\n    import time\n"
        "def f():\n    from random import choice\n    import libp2p.host\n"
    )
    path = tmp_path / "module.py"
    path.write_text(source)
    monkeypatch.setitem(modules(), "peer.core.made_up", path)
    assert imports_of("peer.core.made_up") == {"typing", "time", "random", "libp2p.host"}
    imports_of.cache_clear()
