"""Who a device is: an Ed25519 key, and the libp2p peer id that follows from it.

The peer id is the base58 text of the *identity* multihash of the public key in libp2p's protobuf frame, so that the
public key can be read back out of it:

    00 24            multihash: identity, 36 bytes
    08 01 12 20      protobuf PublicKey: Type = Ed25519, Data = 32 bytes
    <public key>

Source: libp2p specs, peer-ids/peer-ids.md. Computed here, because libp2p itself is imported in `peer/net/` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import base58
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from peer import key_file
from peer.core.messages import Manifest, PeerId, PeerRecord
from peer.errors import IdentityError

_PEER_ID_PREFIX = bytes.fromhex("0024 0801 1220")
_PEER_ID_BYTES = len(_PEER_ID_PREFIX) + 32

SignedMessage = TypeVar("SignedMessage", Manifest, PeerRecord)


class Identity:
    """An Ed25519 key pair. Nothing of the private half shows in its `repr`, and it cannot be pickled."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: bytes = self._private_key.public_key().public_bytes_raw()
        self.peer_id: PeerId = peer_id_of(self.public_key)

    @classmethod
    def create(cls, path: Path, passphrase: str | None = None) -> Identity:
        """Make a new key and write it to `path` (mode 0600). Raises `IdentityError`; never overwrites a file."""
        identity = cls(Ed25519PrivateKey.generate().private_bytes_raw())
        key_file.create(path, key_file.seal(identity.seed, identity.public_key, passphrase))
        return identity

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> Identity:
        """Read the key at `path`.

        Raises `IdentityError` when the file is missing, readable by others than its owner, damaged, or when the
        passphrase is missing or wrong.
        """
        stored = key_file.read(path)
        seed = key_file.unseal(path, stored, passphrase)
        if len(seed) != 32 or (identity := cls(seed)).public_key != stored.public:
            raise IdentityError(f"{path}: the key file is damaged; restore it from a backup")
        return identity

    @property
    def seed(self) -> bytes:
        """The private key as 32 raw bytes, for the transport's handshake. Secret."""
        return self._private_key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        return self._private_key.sign(message)

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"


def is_encrypted(path: Path) -> bool:
    """Tell whether the key at `path` needs a passphrase. Raises `IdentityError` as `Identity.load` does."""
    return key_file.read(path).is_encrypted


def public_key_in(path: Path) -> bytes:
    """Return the public key (32 bytes) of the key file at `path`, without its passphrase. Raises `IdentityError`."""
    return key_file.read(path).public


def peer_id_of(public_key: bytes) -> PeerId:
    """Return the libp2p peer id of an Ed25519 public key (32 bytes)."""
    if len(public_key) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(public_key)}")
    return PeerId(base58.b58encode(_PEER_ID_PREFIX + public_key).decode("ascii"))


def public_key_of(peer_id: PeerId) -> bytes:
    """Return the Ed25519 public key (32 bytes) within a peer id.

    Raises `ValueError` when it holds none: other key types have longer keys, and their ids are hashes.
    """
    if len(peer_id) > 64:  # base58 takes time quadratic in the length
        raise ValueError("too long for a peer id")
    try:
        raw: bytes = base58.b58decode(peer_id)
    except ValueError:  # not of base58's alphabet
        raw = b""
    if len(raw) != _PEER_ID_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise ValueError("not the peer id of an Ed25519 key")
    return raw[len(_PEER_ID_PREFIX) :]


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is `public_key`'s over `message`. False, never an error, for any bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signed(identity: Identity, message: SignedMessage) -> SignedMessage:
    """Return `message` with the signature of `identity`, which must be its author."""
    if message.author != identity.public_key:
        raise ValueError("only the author can sign a message")
    return msgspec.structs.replace(message, signature=identity.sign(message.signed_part()))


def is_authentic(message: Manifest | PeerRecord) -> bool:
    """Tell whether `message` was signed by the author that it names."""
    return verify(message.author, message.signed_part(), message.signature)
