"""Addresses on this device only: `host:port`, where the host must be loopback."""

from __future__ import annotations

import ipaddress


def parse_loopback(address: str) -> tuple[str, int]:
    """Split `host:port` (`[host]:port` for IPv6). Raises `ValueError` for anything but a loopback address."""
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f'"{address}" is not an address with a port; write e.g. "127.0.0.1:9464"')
    if not _is_loopback(host):
        raise ValueError(
            f'"{address}" is not on loopback, and no password guards it; write e.g. "127.0.0.1:9464" '
            "and use an SSH tunnel from elsewhere"
        )
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False
