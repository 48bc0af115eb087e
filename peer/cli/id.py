"""Show the peer id and public key of a device."""

from __future__ import annotations

from pathlib import Path

import click

from peer.cli.folder import folder_argument, peer_file_in


@click.command("id")
@folder_argument
def id_(folder: Path) -> None:
    """Show the peer id and public key of the device in DIR (default: here). Needs no passphrase."""
    from peer.identity import peer_id_of, public_key_in

    public_key = public_key_in(peer_file_in(folder).identity.key)
    click.echo(f"peer id     {peer_id_of(public_key)}")
    click.echo(f"public key  {public_key.hex()}")
