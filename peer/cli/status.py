"""Show what the daemon of a device is at."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
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
    show = _print_json if as_json else _print_table
    if not watch:
        show(unix_socket)
        return
    with contextlib.suppress(KeyboardInterrupt):  # that is how one stops watching
        if as_json:
            _repeat(lambda: show(unix_socket))
        else:
            _watch_table(unix_socket)


def _repeat(show: Callable[[], None]) -> None:
    while True:
        show()
        time.sleep(WATCH_INTERVAL_S)


def _print_json(unix_socket: Path) -> None:
    click.echo(ask(unix_socket, "/status"))


def _print_table(unix_socket: Path) -> None:
    from rich.console import Console

    from peer.cli.status_view import decode, view

    Console().print(view(decode(ask(unix_socket, "/status"))), crop=False)  # addresses stay whole


def _watch_table(unix_socket: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    from peer.cli.status_view import decode, view

    with Live(console=Console(), auto_refresh=False) as live:
        _repeat(lambda: live.update(view(decode(ask(unix_socket, "/status"))), refresh=True))
