"""The file on disk: what is wrong with it is said in one line, and a key is never overwritten or half written."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from peer import key_file
from peer.errors import IdentityError, StoreError
from peer.identity import Identity
from peer.new_file import write_new

PASSPHRASE = "correct horse"


@pytest.fixture(params=[None, PASSPHRASE], ids=["clear", "passphrase"])
def passphrase(request: pytest.FixtureRequest) -> str | None:
    return str(request.param) if request.param else None


@pytest.fixture
def key(tmp_path: Path, passphrase: str | None) -> Path:
    Identity.create(tmp_path / "key", passphrase)
    return tmp_path / "key"


def refusal(path: Path, passphrase: str | None = None) -> str:
    with pytest.raises(IdentityError) as caught:
        Identity.load(path, passphrase)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_check(body: str) -> str:
    return body + f"check: {hashlib.sha256(body.encode()).hexdigest()}\n"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused(key: Path, mode: int, passphrase: str | None) -> None:
    key.chmod(mode)
    assert refusal(key, passphrase) == f"{key}: others may read this key (mode {mode:04o}); run: chmod 600 {key}"


def test_read_only_for_the_owner_is_fine(key: Path, passphrase: str | None) -> None:
    key.chmod(0o400)
    Identity.load(key, passphrase)


def test_every_damaged_byte_is_noticed(key: Path, passphrase: str | None) -> None:
    content = key.read_bytes()
    for position in range(len(content)):
        key.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert re.search("damaged|not a Murmuration key file|another version", refusal(key, passphrase))


def test_every_cut_is_noticed(key: Path, passphrase: str | None) -> None:
    content = key.read_bytes()
    for length in range(len(content)):
        key.write_bytes(content[:length])
        assert re.search("damaged|not a Murmuration key file|another version", refusal(key, passphrase))


def test_missing_foreign_and_newer_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"{tmp_path}/none: no such key file; `murmuration init` makes one"
    assert "cannot be read: Is a directory" in refusal(tmp_path)
    path = tmp_path / "pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    path.chmod(0o600)
    assert refusal(path) == f"{path}: not a Murmuration key file"
    path.write_text("murmuration-key 2\n")
    assert refusal(path) == f"{path}: made by another version of Murmuration; this one reads version 1"


def test_a_secret_of_another_key_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    body = f"murmuration-key 1\npublic: {bytes(32).hex()}\ncipher: none\nsecret: {bytes(32).hex()}\n"
    path.write_text(with_check(body))
    assert "damaged" in refusal(path)
    path.write_text(with_check(body.replace("cipher: none", "cipher: rot13")))
    assert "unknown cipher" in refusal(path, "x")
    cipher = f"scrypt-aes256gcm n={2**26} r=8 p=1 salt={bytes(16).hex()} nonce={bytes(12).hex()}"
    path.write_text(with_check(body.replace("cipher: none", f"cipher: {cipher}")))
    assert "scrypt n = 67108864 is not allowed" in refusal(path, "x")


def test_an_existing_file_is_never_overwritten(key: Path) -> None:
    before = key.read_bytes()
    with pytest.raises(IdentityError, match="exists already; a key is never overwritten"):
        Identity.create(key)
    assert key.read_bytes() == before


def test_a_name_that_is_taken_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the file after we looked."""
    path = tmp_path / "key"
    path.write_text("first")
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    with pytest.raises(FileExistsError):
        write_new(path, b"second", mode=0o600)
    assert path.read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make"):
        write_new(tmp_path / "file" / "sub" / "key", b"", mode=0o600)
    with pytest.raises(IdentityError, match=r"identity\.key: cannot make"):
        Identity.create(tmp_path / "file" / "sub" / "key")


def test_the_secret_does_not_show(key: Path) -> None:
    assert "<hidden>" in repr(key_file.read(key))
    assert key_file.read(key).secret.hex() not in repr(key_file.read(key))
