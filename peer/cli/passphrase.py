"""Where the passphrase of a key comes from: the environment, a systemd credential, or a prompt."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from peer.errors import IdentityError
from peer.identity import is_encrypted

VARIABLE = "MURMURATION_PASSPHRASE"
CREDENTIAL = "murmuration-passphrase"


def passphrase_for(key: Path) -> str | None:
    """Return the passphrase of the key file, or None when it needs none (or there is nobody to ask).

    Raises `IdentityError` when the key or a credential cannot be read.
    """
    given = _given()  # taken out of the environment in any case: the trainer must not inherit it
    if not is_encrypted(key):
        return None
    if given is None and sys.stdin.isatty():
        given = click.prompt(f"Passphrase of {key}", hide_input=True, err=True)
    return given


def new_passphrase() -> str:
    """Return a passphrase for a new key. Raises `IdentityError` when none is given and there is nobody to ask."""
    given = _given()
    if given is None and sys.stdin.isatty():
        given = click.prompt("Passphrase for the new key", hide_input=True, confirmation_prompt=True, err=True)
    if not given:
        raise IdentityError(f"no passphrase given: set {VARIABLE} or run on a terminal")
    return given


def _given() -> str | None:
    from_environment = os.environ.pop(VARIABLE, None)
    if from_environment is not None:
        return from_environment
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, CREDENTIAL) if folder else None
    if credential is None or not credential.exists():
        return None
    try:
        return credential.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"{credential}: cannot be read: {error}") from error
