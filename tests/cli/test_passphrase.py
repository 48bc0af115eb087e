from __future__ import annotations

import os
from pathlib import Path

import pytest

from peer.cli.passphrase import CREDENTIAL, VARIABLE, new_passphrase, passphrase_for
from peer.errors import IdentityError
from peer.identity import Identity


@pytest.fixture
def key(tmp_path: Path) -> Path:
    Identity.create(tmp_path / "key", "secret")
    return tmp_path / "key"


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)


def test_the_variable_is_taken_out_of_the_environment(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "secret")
    assert passphrase_for(key) == "secret"
    assert VARIABLE not in os.environ


def test_also_when_the_key_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Identity.create(tmp_path / "clear")
    monkeypatch.setenv(VARIABLE, "secret")
    assert passphrase_for(tmp_path / "clear") is None
    assert VARIABLE not in os.environ


def test_a_systemd_credential(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert passphrase_for(key) is None  # no such credential: the key file says what is missing
    (tmp_path / CREDENTIAL).write_text("secret\n")
    assert passphrase_for(key) == "secret"
    (tmp_path / CREDENTIAL).write_bytes(b"\xff")
    with pytest.raises(IdentityError, match=f"{CREDENTIAL}: cannot be read"):
        passphrase_for(key)


def test_a_terminal_is_asked(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *_args, **_options: "typed")
    assert passphrase_for(key) == "typed"
    assert new_passphrase() == "typed"


def test_nobody_to_ask(key: Path) -> None:
    assert passphrase_for(key) is None
    with pytest.raises(IdentityError, match="no passphrase given"):
        new_passphrase()


def test_the_unit_hands_over_the_credential_that_is_read() -> None:
    unit = (Path(__file__).parents[2] / "deploy" / "murmuration.service").read_text()
    assert f"LoadCredential={CREDENTIAL}:" in unit
    assert "murmuration run " in unit
