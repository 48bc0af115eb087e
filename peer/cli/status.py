"""Show what the daemon of a device is at."""

from __future__ import annotations

import time
from pathlib import Path

import click

from peer.cli.folder import folder_argument, peer_file_in
from peer.control.client import ask

WATCH_INTERVAL_S = 1.0


@click.command()
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
def status(folder: Path, as_json: bool, watch: bool) -> None:
    """Show what the daemon of the device in DIR (default: here) is at."""
    unix_socket = peer_file_in(folder).control.socket
    if as_json:
        _print_json(unix_socket, watch)
    elif watch:
        _watch(unix_socket)
    else:
        _print_table(unix_socket)


def _print_json(unix_socket: Path, watch: bool) -> None:
    click.echo(ask(unix_socket, "/status"))
    while watch:
        time.sleep(WATCH_INTERVAL_S)
        click.echo(ask(unix_socket, "/status"))


def _print_table(unix_socket: Path) -> None:
    from rich.console import Console

    from peer.cli.status_view import decode, view

    Console().print(view(decode(ask(unix_socket, "/status"))))


def _watch(unix_socket: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    from peer.cli.status_view import decode, view

    with Live(view(decode(ask(unix_socket, "/status"))), console=Console(), auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_INTERVAL_S)
            live.update(view(decode(ask(unix_socket, "/status"))), refresh=True)
