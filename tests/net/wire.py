"""A wire in memory that looks like a secured connection to a muxer."""

from __future__ import annotations

import trio
import trio.testing
from libp2p.abc import ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError


class Wire(ISecureConn):
    """One end."""

    def __init__(self, is_initiator: bool, capacity: int | None):
        self.is_initiator = is_initiator
        self.capacity = capacity
        self._incoming = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._is_closed = False
        self.remote: Wire

    async def read(self, n=None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._incoming:
            if self._is_closed or self.remote._is_closed:
                raise ConnectionClosedError("closed")
            await self._changed.park()
        data = bytes(self._incoming[:n])
        del self._incoming[: len(data)]
        self._changed.unpark_all()
        return data

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while data:
            if self._is_closed or self.remote._is_closed:
                raise ConnectionClosedError("closed")
            room = len(data) if self.remote.capacity is None else self.remote.capacity - len(self.remote._incoming)
            if room <= 0:
                await self.remote._changed.park()
                continue
            self.remote._incoming += data[:room]
            data = data[room:]
            self.remote._changed.unpark_all()

    async def close(self) -> None:
        self._is_closed = True
        self._changed.unpark_all()
        self.remote._changed.unpark_all()

    def stop_reading(self) -> None:
        """Let what the other end writes pile up to nothing: its writes wait."""
        self.capacity = 0

    async def read_available(self) -> bytes:
        data = bytes(self._incoming)
        self._incoming.clear()
        return data

    def get_remote_address(self):
        return None

    def get_transport_addresses(self):
        return []

    def get_connection_type(self):
        return ConnectionType.DIRECT

    def get_local_peer(self):
        raise NotImplementedError

    get_local_private_key = get_remote_peer = get_remote_public_key = get_local_peer


def wire_pair(capacity: int | None = None, second_dials: bool = False) -> tuple[Wire, Wire]:
    """Two connected ends."""
    one, other = Wire(not second_dials, capacity), Wire(second_dials, capacity)
    one.remote, other.remote = other, one
    return one, other
