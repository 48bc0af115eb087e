from __future__ import annotations

from pathlib import Path

import pytest

from peer.cli.main import exit_code_of
from peer.config.reading import read_peer_file, read_swarm_file
from peer.config.swarm_file import example_swarm, swarm_id
from peer.identity import Identity, is_encrypted

ADDRESS = "/ip4/127.0.0.1/tcp/4001"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_device_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "device"
    assert exit_code_of(["init", str(folder), "--bootstrap", ADDRESS, "--bootstrap", f"{ADDRESS}/p2p/x"]) == 0
    peer = read_peer_file(folder / "peer.toml")
    assert peer.swarm.bootstrap == (ADDRESS, f"{ADDRESS}/p2p/x")
    assert swarm_id(read_swarm_file(peer.swarm.file)) == swarm_id(example_swarm())
    identity = Identity.load(peer.identity.key)
    said = capsys.readouterr().out
    assert identity.peer_id in said
    assert f"murmuration run {folder}" in said
    assert set(contents(folder)) == {"identity.key", "peer.toml", "swarm.toml"}
    assert exit_code_of(["id", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said == f"peer id     {identity.peer_id}\npublic key  {identity.public_key.hex()}\n"


def test_the_current_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code_of(["init"]) == 0
    assert (tmp_path / "peer.toml").exists()


def test_what_exists_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["init", str(tmp_path)]) == 0
    before = contents(tmp_path)
    assert exit_code_of(["init", str(tmp_path)]) == 0
    assert contents(tmp_path) == before
    assert capsys.readouterr().out.count("kept ") == 3
    assert exit_code_of(["init", str(tmp_path), "--bootstrap", ADDRESS]) == 2
    assert "write the address into swarm.bootstrap there" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_swarm_file_is_looked_at_and_copied_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "given.toml"
    given.write_text('# of the founder\nname = "birds"\ntask = { name = "digits-mlp" }\n')
    assert exit_code_of(["init", str(tmp_path / "a"), "--swarm", str(given)]) == 0
    assert (tmp_path / "a" / "swarm.toml").read_bytes() == given.read_bytes()
    given.write_text('name = "others"\ntask = { name = "digits-mlp" }\n')
    assert exit_code_of(["init", str(tmp_path / "a"), "--swarm", str(given)]) == 2
    assert "describes another swarm" in capsys.readouterr().err
    given.write_text("name = 3\n")
    assert exit_code_of(["init", str(tmp_path / "b"), "--swarm", str(given)]) == 2
    assert "given.toml: " in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_passphrase_without_anybody_to_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_code_of(["init", str(tmp_path), "--passphrase"]) == 2
    assert "set MURMURATION_PASSPHRASE or run on a terminal" in capsys.readouterr().err
    assert not (tmp_path / "identity.key").exists()
    monkeypatch.setenv("MURMURATION_PASSPHRASE", "correct horse")
    assert exit_code_of(["init", str(tmp_path), "--passphrase"]) == 0
    assert is_encrypted(tmp_path / "identity.key")
    Identity.load(tmp_path / "identity.key", "correct horse")


@pytest.mark.parametrize("verb", ["run", "id", "status"])
def test_other_verbs_need_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert exit_code_of([verb, str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"murmuration: {tmp_path}/peer.toml: no such file; `murmuration init` makes one\n"
    )


def test_an_address_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["init", str(tmp_path), "--bootstrap", "example.org:80"]) == 2
    assert capsys.readouterr().err.startswith(
        "murmuration: --bootstrap example.org:80: write an address as libp2p does"
    )


def test_a_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert exit_code_of(["init", str(tmp_path / "file" / "x")]) == 2
    assert "cannot make" in capsys.readouterr().err
