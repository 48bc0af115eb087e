"""The swarm's id depends on what the file says, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from peer.config.knobs import Piece
from peer.config.reading import read_swarm_file
from peer.config.swarm_file import RoundSettings, SwarmFile, canonical, example_swarm, swarm_id
from peer.config.template import swarm_toml

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
    swarm = msgspec.structs.replace(example_swarm(), name="vector")
    fixed = msgspec.json.decode(FROZEN, type=SwarmFile)
    assert swarm_id(fixed).hex() == FROZEN_ID
    assert set(msgspec.json.decode(canonical(swarm))) == set(msgspec.json.decode(FROZEN))
    assert canonical(fixed) == FROZEN


FROZEN = (
    b'{"limits":{"max_members":1024,"model_max_bytes":268435456,"norm_cap_factor":10},'
    b'"membership":{"admission":"open","heartbeat_s":2,"timeout_s":15},'
    b'"method":{"batch_size":32,"local_epochs":1,"mixer":{"name":"linear","params":{}},'
    b'"step":{"name":"sgd","params":{"lr":0.1}},"weights":{"name":"metropolis","params":{}}},"name":"vector",'
    b'"rounds":{"deadline_s":10,"max_age_rounds":3,"quorum":0.75,"start_members":8,"total":30},"seed":1,'
    b'"task":{"name":"digits-mlp","params":{"hidden":64}},"topology":{"name":"regular","params":{"degree":4}}}'
)
FROZEN_ID = "c2f3578d8253fab96177e2d867615c43e330d2d4b852a506003d96bf5fbd7c05"
