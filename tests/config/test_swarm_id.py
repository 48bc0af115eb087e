"""The swarm's id depends on what the file says, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from peer.config.reading import read_swarm_file
from peer.config.swarm_file import RoundSettings, SwarmFile, canonical, swarm_id
from peer.config.template import swarm_toml
from topology.registry import Piece

PLAIN = 'name = "digits"\ntask = { name = "digits-mlp", hidden = 64, deep = { b = 1, a = [1, 2.0] } }\n'
SAME = [
    '# a comment\nname="digits"   \n\n[task]\ndeep = { a = [1.0, 2], b = 1.0 }\nhidden = 64\nname = "digits-mlp"\n',
    PLAIN + 'seed = 1\n[rounds]\nquorum = 0.75\ndeadline_s = 10\n[method]\nmixer = { name = "linear" }\n',
    'task.name = "digits-mlp"\ntask.hidden = 64\nname = "digits"\ntask.deep.a = [1, 2]\ntask.deep.b = 1\n[limits]\n',
    PLAIN.replace("\n", "\r\n"),
]
DIFFERENT = [
    PLAIN + "seed = 2\n",
    PLAIN.replace('"digits"', '"Digits"'),
    PLAIN.replace("hidden = 64", "hidden = 65"),
    PLAIN.replace("hidden = 64", 'hidden = "64"'),
    PLAIN.replace("[1, 2.0]", "[2, 1]"),
    PLAIN + "[rounds]\ndeadline_s = 10.000001\n",
    PLAIN + '[method]\nmixer = { name = "other" }\n',
]


def id_of(tmp_path: Path, text: str) -> bytes:
    path = tmp_path / "swarm.toml"
    path.write_bytes(text.encode())
    return swarm_id(read_swarm_file(path))


@pytest.mark.parametrize("text", SAME)
def test_writing_it_otherwise_changes_nothing(tmp_path: Path, text: str) -> None:
    assert id_of(tmp_path, text) == id_of(tmp_path, PLAIN)


def test_saying_something_else_changes_it(tmp_path: Path) -> None:
    assert len({id_of(tmp_path, text) for text in [PLAIN, *DIFFERENT]}) == len(DIFFERENT) + 1


def test_the_file_that_is_written_for_a_swarm_has_its_id(tmp_path: Path) -> None:
    swarm = SwarmFile(
        name='quote " and \u00e9\x7f\n',
        task=Piece("t", {"a b": 1.5, "list": [1, {"x": True}], "": "e"}),
        rounds=RoundSettings(total=7, quorum=1.0),
    )
    assert id_of(tmp_path, swarm_toml(swarm)) == swarm_id(swarm)


def test_frozen_vector() -> None:
    """A change here splits every running swarm into those that updated and those that did not."""
    assert canonical(VECTOR) == FROZEN
    assert swarm_id(VECTOR).hex() == FROZEN_ID


def test_defaults_never_change() -> None:
    """They are not in the id: with another default, two versions would agree on the id and not on the rule."""
    assert msgspec.json.encode(SwarmFile(name="d", task=Piece("t")), order="sorted") == DEFAULTS


VECTOR = SwarmFile(
    name="vector",
    task=Piece("digits-mlp", {"hidden": 64}),
    topology=Piece("regular", {"degree": 6}),
    rounds=RoundSettings(total=30, start_members=8, deadline_s=2.5, quorum=1.0),
)
FROZEN = (
    b'{"name":"vector","rounds":{"deadline_s":2.5,"quorum":1,"start_members":8,"total":30},'
    b'"task":{"name":"digits-mlp","params":{"hidden":64}},"topology":{"name":"regular","params":{"degree":6}}}'
)
FROZEN_ID = "5b11bce45c3630df75ba8bd8b7946a1c1af1872b339d1732683f3789950337d3"
DEFAULTS = (
    b'{"limits":{"max_members":1024,"model_max_bytes":268435456,"norm_cap_factor":10.0},"membership":{"admissi'
    b'on":"open","heartbeat_s":2.0,"timeout_s":15.0},"method":{"algorithm":{"name":"gossip","params":{}},"batc'
    b'h_size":32,"gossip_steps":1,"local_epochs":1,"local_steps":0,"mixer":{"name":"linear","params":{}},"oute'
    b'r":null,"selector":{"name":"all","params":{}},"step":{"name":"sgd","params":{"lr":0.1}},"weights":{"name'
    b'":"metropolis","params":{}}},"name":"d","rounds":{"deadline_s":10.0,"interval_s":0.0,"max_age_rounds":3,'
    b'"quorum":0.75,"start_members":1,"total":0},"seed":1,"task":{"name":"t","params":{}},"topology":{"name":"'
    b'regular","params":{"degree":4}}}'
)
