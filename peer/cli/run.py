"""Run the daemon of a device."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from peer.cli.folder import folder_argument, peer_file_in


@click.command()
@folder_argument
def run(folder: Path) -> None:
    """Run the daemon of the device in DIR (default: here) until Ctrl-C; a second Ctrl-C ends it at once."""
    from peer.cli.passphrase import passphrase_for
    from peer.config.pieces import check_pieces
    from peer.config.reading import read_swarm_file
    from peer.identity import Identity
    from peer.logs import configure_logs

    peer = peer_file_in(folder)
    swarm = read_swarm_file(peer.swarm.file)
    check_pieces(swarm, peer.swarm.file, trains=peer.train.enabled)
    identity = Identity.load(peer.identity.key, passphrase_for(peer.identity.key))
    configure_logs(peer.log)

    import trio  # here, after all that can be wrong was looked at: this takes a moment, and libp2p a long one

    from peer.cli.interrupt import until_interrupted
    from peer.daemon import run_daemon

    trio.run(until_interrupted, partial(run_daemon, peer, swarm, identity))
