from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from peer.core.messages import Manifest, PeerId, PeerRecord
from peer.errors import IdentityError
from peer.identity import (
    Identity,
    is_authentic,
    is_encrypted,
    peer_id_of,
    public_key_in,
    public_key_of,
    signed,
    verify,
)

SEED = bytes(range(32))
FROZEN_ID = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"


def a_manifest(author: bytes) -> Manifest:
    zero = bytes(32)
    return Manifest(zero, zero, author, seq=1, round=2, steps=3, samples=4, degree=5, size_bytes=6, sha256=zero)


def test_frozen_vector() -> None:
    assert Identity(SEED).peer_id == FROZEN_ID
    # RFC 8032, 7.1, test 1
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    identity = Identity(secret)
    assert identity.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert identity.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


@given(st.binary(min_size=32, max_size=32))
def test_the_peer_id_is_the_one_that_libp2p_derives(seed: bytes) -> None:
    identity = Identity(seed)
    key_pair = create_new_key_pair(seed)
    assert identity.peer_id == str(ID.from_pubkey(key_pair.public_key))
    assert identity.public_key == key_pair.public_key.to_bytes()
    assert public_key_of(identity.peer_id) == identity.public_key
    assert identity.seed == seed


@given(st.text(max_size=80))
def test_what_is_no_peer_id_of_an_ed25519_key_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="peer id"):
        public_key_of(PeerId(text))


def test_other_libp2p_ids_and_long_texts_are_refused() -> None:
    for text in ("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", FROZEN_ID + "1", FROZEN_ID[:-1], "1" * 10**6):
        with pytest.raises(ValueError, match="peer id"):
            public_key_of(PeerId(text))


def test_only_the_author_can_sign_and_every_change_shows() -> None:
    identity, other = Identity(SEED), Identity(bytes(32))
    manifest = signed(identity, a_manifest(identity.public_key))
    record = signed(identity, PeerRecord(identity.public_key, bytes(32), incarnation=1, heartbeat=2))
    assert is_authentic(manifest)
    assert is_authentic(record)
    assert not is_authentic(a_manifest(identity.public_key))
    for field in ("seq", "round", "steps", "samples", "degree", "size_bytes", "produced_ms"):
        changed = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
        changed[field] += 1
        assert not is_authentic(Manifest(**changed))
    with pytest.raises(ValueError, match="only the author"):
        signed(other, a_manifest(identity.public_key))


def test_a_manifest_is_not_a_record() -> None:
    """One signature must never be valid for two kinds of message."""
    identity = Identity(SEED)
    assert a_manifest(identity.public_key).signed_part()[:22] == b"murmuration/manifest/1"
    assert PeerRecord(identity.public_key, bytes(32), 0, 0).signed_part()[:20] == b"murmuration/record/1"


@given(st.binary(max_size=70), st.binary(max_size=20), st.binary(max_size=70))
def test_verify_never_raises(public_key: bytes, message: bytes, signature: bytes) -> None:
    assert not verify(public_key, message, signature)


def test_create_and_load(tmp_path: Path) -> None:
    made = Identity.create(tmp_path / "keys" / "key")
    loaded = Identity.load(tmp_path / "keys" / "key")
    assert loaded.peer_id == made.peer_id
    assert loaded.seed == made.seed
    assert (tmp_path / "keys" / "key").stat().st_mode & 0o777 == 0o600
    assert not is_encrypted(tmp_path / "keys" / "key")
    assert public_key_in(tmp_path / "keys" / "key") == made.public_key
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["key"]


def test_two_keys_differ(tmp_path: Path) -> None:
    assert Identity.create(tmp_path / "a").peer_id != Identity.create(tmp_path / "b").peer_id


def test_a_passphrase_guards_the_seed(tmp_path: Path) -> None:
    made = Identity.create(tmp_path / "key", "correct horse")
    assert is_encrypted(tmp_path / "key")
    assert made.seed.hex() not in (tmp_path / "key").read_text()
    assert Identity.load(tmp_path / "key", "correct horse").peer_id == made.peer_id
    assert public_key_in(tmp_path / "key") == made.public_key
    with pytest.raises(IdentityError, match=r"key: wrong passphrase$"):
        Identity.load(tmp_path / "key", "wrong horse")
    with pytest.raises(IdentityError, match="set MURMURATION_PASSPHRASE or run on a terminal"):
        Identity.load(tmp_path / "key")


def test_nothing_shows_the_private_half() -> None:
    identity = Identity(SEED)
    assert repr(identity) == f"Identity({FROZEN_ID})"
    with pytest.raises(TypeError):
        pickle.dumps(identity)
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        Identity(SEED[:31])
    with pytest.raises(ValueError, match="32 bytes, not 33"):
        peer_id_of(SEED + b"x")
