"""Make the key and the settings files of a device."""

from __future__ import annotations

from pathlib import Path

import click

from peer.cli.folder import PEER_FILE, folder_argument, peer_file_in
from peer.errors import ConfigError, StoreError

SWARM_FILE = "swarm.toml"


@click.command()
@folder_argument
@click.option("--swarm", "swarm_file", type=click.Path(path_type=Path), help="Swarm file to join with; it is copied.")
@click.option("--bootstrap", multiple=True, metavar="ADDR", help="Address of a member to begin with. Repeatable.")
@click.option(
    "--passphrase", is_flag=True, help="Keep the key under a passphrase: asked for, or MURMURATION_PASSPHRASE."
)
def init(folder: Path, swarm_file: Path | None, bootstrap: tuple[str, ...], passphrase: bool) -> None:
    """Make identity.key, peer.toml and swarm.toml in DIR (default: here). What exists is kept, never overwritten."""
    from peer.cli.passphrase import new_passphrase
    from peer.identity import Identity, peer_id_of, public_key_in

    _make(folder / SWARM_FILE, _swarm_text(folder / SWARM_FILE, swarm_file))
    _make(folder / PEER_FILE, _peer_text(folder / PEER_FILE, bootstrap))
    key = peer_file_in(folder).identity.key
    if key.exists():
        click.echo(f"kept    {_near(key)}")
    else:
        Identity.create(key, new_passphrase() if passphrase else None)
        click.echo(f"made    {_near(key)}")
    click.echo(f"peer id {peer_id_of(public_key_in(key))}\n")
    click.echo(f"Next: look at {folder / PEER_FILE} (who to begin with, where to listen), then")
    click.echo(f"  murmuration run {folder}\n  murmuration status {folder}    in another terminal")


def _swarm_text(target: Path, source: Path | None) -> str:
    from peer.config.reading import read_swarm_file
    from peer.config.swarm_file import example_swarm, swarm_id
    from peer.config.template import swarm_toml

    if source is None:
        return swarm_toml(example_swarm())
    given = read_swarm_file(source)
    if target.exists() and swarm_id(read_swarm_file(target)) != swarm_id(given):
        raise ConfigError(f"{target}: exists and describes another swarm than {source}; it is never overwritten")
    return source.read_text(encoding="utf-8")


def _peer_text(target: Path, bootstrap: tuple[str, ...]) -> str:
    from peer.config.peer_file import PeerFile, SwarmSettings
    from peer.config.template import peer_toml

    if not bootstrap:
        return peer_toml(PeerFile())
    if target.exists():
        raise ConfigError(f"{target}: exists and is never overwritten; write the address into swarm.bootstrap there")
    if wrong := [address for address in bootstrap if not address.startswith("/")]:
        raise ConfigError(f"--bootstrap {wrong[0]}: write an address as libp2p does, e.g. /ip4/192.0.2.1/tcp/4001")
    return peer_toml(PeerFile(swarm=SwarmSettings(bootstrap=bootstrap)))


def _make(path: Path, text: str) -> None:
    from peer.new_file import write_new

    try:
        write_new(path, text.encode(), mode=0o644)
        click.echo(f"made    {_near(path)}")
    except FileExistsError:
        click.echo(f"kept    {_near(path)}")
    except StoreError as error:
        raise ConfigError(str(error)) from error


def _near(path: Path) -> Path:
    """Return `path` as seen from the current folder, when it lies in it."""
    path = path.absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
