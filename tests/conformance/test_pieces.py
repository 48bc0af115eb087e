"""What every registered piece promises, whatever its kind."""

import subprocess
import sys

import msgspec
import pytest

import aggregation.mixers
import aggregation.steps
import aggregation.weights
import topology.families
from topology.registry import Registry

REGISTRIES: list[Registry] = [
    aggregation.mixers.registry,
    aggregation.steps.registry,
    aggregation.weights.registry,
    topology.families.registry,
]
PIECES = [
    pytest.param(registry, name, id=f"{registry.kind} {name}") for registry in REGISTRIES for name in registry.names()
]


@pytest.mark.parametrize(("registry", "name"), PIECES)
def test_a_piece_says_what_it_does_and_where_it_comes_from(registry, name):
    text = registry.piece(name).__doc__
    assert text
    assert text.splitlines()[0].endswith(".")


@pytest.mark.parametrize(("registry", "name"), PIECES)
def test_each_parameter_says_what_larger_and_smaller_cost(registry, name):
    schema = msgspec.json.schema(registry.config(name))["$defs"]["Config"]["properties"]
    assert all(len(parameter.get("description", "")) > 20 for parameter in schema.values())


def test_settings_can_be_read_without_torch():
    """A relay has no torch, and still must read the swarm file that names these pieces."""
    code = (
        "import sys\n"
        "import aggregation, aggregation.mixers, aggregation.steps, aggregation.weights, topology.families\n"
        "for part in (aggregation.mixers, aggregation.steps, aggregation.weights, topology.families):\n"
        "    for name in part.registry.names():\n"
        "        part.registry.config(name)\n"
        "sys.exit(' '.join({'torch', 'numpy', 'networkx', 'trio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).stderr.strip() == b""
