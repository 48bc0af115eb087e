"""Addresses as text (multiaddr), and what to publish of them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import psutil

from peer.core.messages import MAX_ADDRESSES

UNSPECIFIED = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104  # to be replaced, not bound


def expand(addresses: Iterable[str]) -> list[str]:
    """Replace 0.0.0.0 and :: by the addresses of this device's interfaces; loopback comes last.

    At most `MAX_ADDRESSES` are returned, as many as a record can carry.
    """
    expanded: dict[str, bool] = {}  # address -> is loopback; keeps the order
    for address in addresses:
        _, kind, host, *rest = address.split("/")
        for ip in interface_addresses(UNSPECIFIED[host]) if host in UNSPECIFIED else [host]:
            expanded["/".join(("", kind, ip, *rest))] = _is_loopback(ip)
    return sorted(expanded, key=lambda address: expanded[address])[:MAX_ADDRESSES]


def interface_addresses(family: socket.AddressFamily) -> list[str]:
    """Return the usable addresses of all interfaces, loopback included, without IPv6 link-local ones."""
    found = []
    for interface in psutil.net_if_addrs().values():
        for address in interface:
            text = address.address.partition("%")[0]
            if address.family == family and not ipaddress.ip_address(text).is_link_local:
                found.append(text)
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def split_peer(address: str) -> tuple[str, str | None]:
    """Split `/ip4/../tcp/../p2p/<id>` into the part before and the peer id (None: the address names nobody)."""
    transport, separator, peer = address.partition("/p2p/")
    return transport, peer if separator else None
