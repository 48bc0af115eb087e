"""Protocol negotiation (multistream-select 1.0) with bounds, and in one round trip.

Replaces `libp2p/protocol_muxer/`: there a length prefix of 2^60 is believed and awaited, a name that is not UTF-8
raises `UnicodeDecodeError` out of the stream task (which ends the host), names may be tried without end, and each
step waits for the answer to the one before. Compatible with any responder and dialer of the specification
(libp2p specs, connections/README.md): a dialer may send its proposal together with the header.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

MULTISTREAM = "/multistream/1.0.0"
NOT_AVAILABLE = "na"
MAX_MESSAGE = 1024  # bytes; protocol names are some tens long
MAX_PROPOSALS = 16  # names that a dialer may try on one stream


class NegotiationError(Exception):
    """The remote broke the negotiation, ended it, or speaks none of the protocols."""


class Channel(Protocol):
    """What is negotiated over: a raw or secured connection, or a muxed stream."""

    async def read(self, n: int | None = None) -> bytes:
        """Read 1..`n` bytes."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""


async def respond(channel: Channel, protocols: Collection[str], refused: list[str] | None = None) -> str:
    """Answer the dialer until it names one of `protocols`, and return that; names not spoken go into `refused`.

    Raises `NegotiationError`, and whatever `channel` raises.
    """
    await channel.write(_encode(MULTISTREAM))
    if await _read(channel) != MULTISTREAM:
        raise NegotiationError("not multistream-select")
    for _ in range(MAX_PROPOSALS):
        proposal = await _read(channel)
        if proposal in protocols:
            await channel.write(_encode(proposal))
            return proposal
        if proposal == "ls":
            await channel.write(_encode_list(protocols))
            continue
        await channel.write(_encode(NOT_AVAILABLE))
        if refused is not None:
            refused.append(proposal)
    raise NegotiationError("too many proposals")


async def propose(channel: Channel, protocols: Sequence[str]) -> str:
    """Offer `protocols` in this order and return the one that the remote speaks.

    Raises `NegotiationError`, and whatever `channel` raises.
    """
    await channel.write(_encode(MULTISTREAM) + _encode(protocols[0]))
    if await _read(channel) != MULTISTREAM:
        raise NegotiationError("not multistream-select")
    for i, protocol in enumerate(protocols):
        if i > 0:
            await channel.write(_encode(protocol))
        answer = await _read(channel)
        if answer == protocol:
            return protocol
        if answer != NOT_AVAILABLE:
            raise NegotiationError("neither the protocol nor na was answered")
    raise NegotiationError(f"the remote does not speak {', '.join(protocols)}")


def _encode(text: str) -> bytes:
    return _with_length(text.encode() + b"\n")


def _encode_list(protocols: Collection[str]) -> bytes:
    """Return the answer to `ls`: each name as a message of its own, wrapped into one message."""
    return _with_length(b"".join(_encode(name) for name in sorted(protocols)) + b"\n")


def _with_length(body: bytes) -> bytes:
    length, prefix = len(body), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + body


async def _read(channel: Channel) -> str:
    body = await _read_exactly(channel, await _read_length(channel))
    if body[-1:] != b"\n":
        raise NegotiationError("message without newline")
    try:
        return body[:-1].decode()
    except UnicodeDecodeError:
        raise NegotiationError("protocol name is not UTF-8") from None


async def _read_length(channel: Channel) -> int:
    length = shift = 0
    while True:
        byte = (await _read_exactly(channel, 1))[0]
        length |= (byte & 0x7F) << shift
        if length > MAX_MESSAGE or shift > 14:
            raise NegotiationError("message too long")
        if not byte & 0x80:
            return length
        shift += 7


async def _read_exactly(channel: Channel, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await channel.read(size - len(data))
        if not more:
            raise NegotiationError("ended by the remote")
        data += more
    return data
