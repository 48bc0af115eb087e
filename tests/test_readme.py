"""What the README shows is what works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
import torch

from netsim.scenario import read_scenario
from netsim.scenario.checks import check_scenario
from peer.config.pieces import check_pieces
from peer.config.reading import read_swarm_file
from peer.config.swarm_file import example_swarm
from peer.config.template import swarm_toml

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_there_is_something_to_try() -> None:
    assert len(blocks("python")) == 1
    assert [block.startswith("name = ") for block in blocks("toml")] == [True, False]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str) -> None:
    vectors = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    names = {"vectors": vectors}
    exec(code, names)
    assert names["center"].shape == (5,)


@pytest.mark.parametrize("text", [block for block in blocks("toml") if block.startswith("name = ")])
def test_scenarios_can_be_run(text: str, tmp_path: Path) -> None:
    path = tmp_path / "blackout.toml"
    path.write_text(text, encoding="utf-8")
    check_scenario(read_scenario(path), str(path))


@pytest.mark.parametrize("settings", [block for block in blocks("toml") if block.startswith("[method]")])
def test_settings_are_accepted(settings: str, tmp_path: Path) -> None:
    """In place of the same keys of the file that `murmuration init` writes."""
    text = swarm_toml(example_swarm())
    for key in tomllib.loads(settings)["method"]:
        line = next(line for line in settings.splitlines() if line.startswith(f"{key} = "))
        text = re.sub(rf"^#?{key} = .*$", line.replace("\\", "\\\\"), text, count=1, flags=re.MULTILINE)
    path = tmp_path / "swarm.toml"
    path.write_text(text, encoding="utf-8")
    swarm = read_swarm_file(path)
    check_pieces(swarm, path)
    assert msgspec.to_builtins(swarm.method.mixer)["name"] == tomllib.loads(settings)["method"]["mixer"]["name"]
