"""Time limits of the network for three kinds of network, as in memberlist's Local, LAN and WAN configurations.

A profile fixes every time limit at once; a single one can be overridden in `[net]`. The three rows differ by the
round-trip time they are made for: below 1 ms, below 20 ms, below 1 s (satellite, mobile, relayed).
"""

from __future__ import annotations

from typing import Literal

import msgspec

ProfileName = Literal["local", "lan", "wan"]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Every time limit of the network shell, in seconds; what each means is told in `peer.config.peer_file`."""

    dial_backoff_s: float
    dial_backoff_max_s: float
    keepalive_s: float
    request_timeout_s: float
    stall_s: float
    handshake_s: float


PROFILES: dict[ProfileName, Timing] = {
    "local": Timing(
        dial_backoff_s=0.1, dial_backoff_max_s=2.0, keepalive_s=5.0, request_timeout_s=5.0, stall_s=5.0, handshake_s=5.0
    ),
    "lan": Timing(
        dial_backoff_s=0.5,
        dial_backoff_max_s=30.0,
        keepalive_s=10.0,
        request_timeout_s=10.0,
        stall_s=10.0,
        handshake_s=10.0,
    ),
    "wan": Timing(
        dial_backoff_s=2.0,
        dial_backoff_max_s=300.0,
        keepalive_s=30.0,
        request_timeout_s=30.0,
        stall_s=30.0,
        handshake_s=30.0,
    ),
}
