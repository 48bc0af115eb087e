"""The key file: a few lines of text that hold one private key, in clear or under a passphrase.

    murmuration-key 1
    public: <hex, 32 bytes>           read by `murmuration id` without the passphrase
    cipher: none                      or  scrypt-aes256gcm n=32768 r=8 p=1 salt=<hex, 16> nonce=<hex, 12>
    secret: <hex, 32 bytes>           or  48 bytes: the key and the tag of AES-GCM
    check: <hex, SHA-256 of the lines above>

The check line tells a damaged file from a wrong passphrase. It is no protection against somebody who edits the file;
under a passphrase the public key and the parameters are authenticated by AES-GCM as well.
scrypt: [Percival 2009]; n = 2^15, r = 8 takes 32 MiB and about 0.1 s, OWASP's advice is n = 2^15..2^17: the lower end,
because the daemon that reads the file is meant to run on small devices.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from peer.errors import IdentityError, StoreError
from peer.new_file import write_new

MAX_FILE_BYTES = 4096
SCRYPT_LOG2_N = 15
MAX_SCRYPT_LOG2_N = 20  # 1 GiB: a damaged parameter must not take all memory
_R, _P = 8, 1

_LAYOUT = re.compile(
    r"(?P<head>murmuration-key 1\npublic: (?P<public>[0-9a-f]{64})\ncipher: (?P<cipher>[^\n]{1,200})\n)"
    r"secret: (?P<secret>(?:[0-9a-f]{2}){32,48})\ncheck: (?P<check>[0-9a-f]{64})\n"
)
_CIPHER = re.compile(r"scrypt-aes256gcm n=(\d{1,8}) r=8 p=1 salt=([0-9a-f]{32}) nonce=([0-9a-f]{24})")


class KeyFile(msgspec.Struct, frozen=True):
    """A parsed key file. `secret` is the seed itself when `cipher` is `none`."""

    public: bytes
    cipher: str
    secret: bytes

    @property
    def is_encrypted(self) -> bool:
        """Whether a passphrase is needed."""
        return self.cipher != "none"

    def __repr__(self) -> str:
        return f"KeyFile(public={self.public.hex()}, secret=<hidden>)"


def seal(seed: bytes, public: bytes, passphrase: str | None) -> bytes:
    """Return the content of a key file for the 32-byte `seed`, encrypted when a passphrase is given."""
    cipher, secret = "none", seed
    if passphrase is not None:
        salt, nonce = os.urandom(16), os.urandom(12)
        cipher = f"scrypt-aes256gcm n={2**SCRYPT_LOG2_N} r={_R} p={_P} salt={salt.hex()} nonce={nonce.hex()}"
        key = _derive(passphrase, salt, 2**SCRYPT_LOG2_N)
        secret = AESGCM(key).encrypt(nonce, seed, _head(public, cipher))
    body = _head(public, cipher) + f"secret: {secret.hex()}\n".encode()
    return body + f"check: {hashlib.sha256(body).hexdigest()}\n".encode()


def unseal(path: Path, key_file: KeyFile, passphrase: str | None) -> bytes:
    """Return the 32-byte seed. Raises `IdentityError` naming `path` when the passphrase is missing or wrong."""
    if not key_file.is_encrypted:
        return key_file.secret
    if passphrase is None:
        raise IdentityError(f"{path}: the key is under a passphrase; set MURMURATION_PASSPHRASE or run on a terminal")
    parameters = _CIPHER.fullmatch(key_file.cipher)
    if parameters is None:
        raise IdentityError(f"{path}: unknown cipher; the file is from a newer version of Murmuration")
    n, salt, nonce = int(parameters[1]), bytes.fromhex(parameters[2]), bytes.fromhex(parameters[3])
    if n < 2 or n & (n - 1) or n > 2**MAX_SCRYPT_LOG2_N:
        raise IdentityError(f"{path}: scrypt n = {n} is not allowed; the file is damaged, restore it from a backup")
    try:
        key = _derive(passphrase, salt, n)
        return AESGCM(key).decrypt(nonce, key_file.secret, _head(key_file.public, key_file.cipher))
    except InvalidTag:
        raise IdentityError(f"{path}: wrong passphrase") from None


def read(path: Path) -> KeyFile:
    """Read and parse a key file. Raises `IdentityError` when it is missing, readable by others, or damaged."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise IdentityError(f"{path}: no such key file; `murmuration init` makes one") from None
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise IdentityError(f"{path}: others may read this key (mode {mode:04o}); run: chmod 600 {path}")
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> KeyFile:
    if not content.startswith(b"murmuration-key "):
        raise IdentityError(f"{path}: not a Murmuration key file")
    if not content.startswith(b"murmuration-key 1\n"):
        raise IdentityError(f"{path}: made by another version of Murmuration; this one reads version 1")
    layout = _LAYOUT.fullmatch(content.decode("ascii", errors="replace"))
    body = content[: content.rfind(b"check: ")]
    if layout is None or hashlib.sha256(body).hexdigest() != layout["check"]:
        raise IdentityError(f"{path}: the key file is damaged; restore it from a backup")
    return KeyFile(bytes.fromhex(layout["public"]), layout["cipher"], bytes.fromhex(layout["secret"]))


def create(path: Path, content: bytes) -> None:
    """Write a key file with mode 0600, all or nothing, and never over an existing one. Raises `IdentityError`."""
    try:
        write_new(path, content, mode=0o600)
    except FileExistsError:
        raise IdentityError(f"{path}: exists already; a key is never overwritten") from None
    except StoreError as error:
        raise IdentityError(f"identity.key: {error}") from error


def _head(public: bytes, cipher: str) -> bytes:
    return f"murmuration-key 1\npublic: {public.hex()}\ncipher: {cipher}\n".encode()


def _derive(passphrase: str, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=_R, p=_P).derive(passphrase.encode())
