"""What a remote may use at most: the knobs of a transport, with what larger and smaller values cost."""

from __future__ import annotations

from dataclasses import dataclass

CLEANUP_S = 5.0  # for shielded farewells that never block in fact: a resort for when they do


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on everything that a remote can make grow, and deadlines on everything that it can make wait.

    The defaults suit a peer with some tens of neighbours on ordinary Internet links.
    """

    max_connections: int = 128
    """Authenticated connections in all. About 60 kB each when quiet."""

    max_inbound: int = 96
    """Of these, those that others opened: the rest is kept for our own dials, so that strangers cannot isolate us."""

    max_connections_per_peer: int = 4
    """Two are normal after both ends dialed at once; the oldest goes when a peer opens more."""

    max_handshakes: int = 64
    """Inbound connections that have not proved a key yet; the oldest is dropped for a newcomer, so that a flood of
    silent connections has to arrive faster than one every `handshake time / max_handshakes` to keep others out."""

    handshake_s: float = 10.0
    """From accepting a connection to the end of its security and muxer handshakes. Slow links need some seconds."""

    dial_s: float = 10.0
    """The same for connections that we open, name resolution and TCP connect included."""

    max_streams_per_peer: int = 32
    """Inbound streams open at once per connection; each may hold up to one receive window in memory."""

    max_negotiating_per_peer: int = 8
    """Inbound streams per connection that have not named their protocol yet."""

    negotiate_s: float = 10.0
    """From opening a stream to agreement on its protocol."""

    keepalive_s: float = 30.0
    """A connection silent for this long is asked for a sign of life; after twice this it is dead.

    Smaller notices a vanished peer earlier and keeps NAT mappings alive; larger lets radios sleep."""

    write_stall_s: float = 60.0
    """A remote that takes none of at most 256 KiB for this long has its connection dropped."""

    idle_s: float = 300.0
    """A connection that others opened and that carries no stream is closed after this."""

    linger_s: float = 30.0
    """A stream that we closed and the remote did not is reset after this."""

    close_s: float = 1.0
    """Time for farewells when a connection is closed on purpose."""
