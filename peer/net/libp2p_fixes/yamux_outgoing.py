"""What a yamux connection has yet to send: answers of the reader first, then the frames of the streams in order."""

from __future__ import annotations

from collections import deque

from trio.lowlevel import ParkingLot

BATCH = 256 * 1024  # bytes per write of the connection below
QUEUE = 256 * 1024  # bytes of frames that may wait before streams do
MAX_CONTROL = 64 * 1024  # bytes of answers that a remote may leave unread


class Outgoing:
    """One task takes batches; anybody puts. Putting never waits, so that the reader and a cancelled sender need not."""

    def __init__(self) -> None:
        self._control: list[bytes] = []
        self._num_control_bytes = 0
        self._frames: deque[bytes] = deque()
        self._num_frame_bytes = 0
        self._is_sending = False
        self._is_ended = False
        self._room = ParkingLot()
        self._filled = ParkingLot()
        self._emptied = ParkingLot()

    def put(self, frame: bytes) -> None:
        """Queue a frame of a stream, or one that must not overtake them."""
        if not self._is_ended:
            self._frames.append(frame)
            self._num_frame_bytes += len(frame)
            self._filled.unpark()

    def put_first(self, frame: bytes) -> bool:
        """Queue an answer, before all frames; False when the remote has left too many unread."""
        if self._is_ended:
            return True
        if self._num_control_bytes + len(frame) > MAX_CONTROL:
            return False
        self._control.append(frame)
        self._num_control_bytes += len(frame)
        self._filled.unpark()
        return True

    async def wait_for_room(self) -> None:
        """Wait until another frame may be put; returns also when there will be no more sending."""
        while self._num_frame_bytes >= QUEUE and not self._is_ended:
            await self._room.park()

    async def next_batch(self) -> bytes:
        """Wait for something to send, and take about `BATCH` bytes of it; the batch before counts as sent."""
        while not self._control and not self._frames:
            self._is_sending = False
            self._emptied.unpark_all()
            await self._filled.park()
        self._is_sending = True
        parts, self._control, self._num_control_bytes = self._control, [], 0
        size = 0
        while self._frames and size < BATCH:
            size += len(self._frames[0])
            parts.append(self._frames.popleft())
        self._num_frame_bytes -= size
        self._room.unpark_all()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def wait_until_sent(self) -> None:
        """Wait until all is sent, or nothing will be any more."""
        while (self._is_sending or self._control or self._frames) and not self._is_ended:
            await self._emptied.park()

    def end(self) -> None:
        """Drop everything; whoever waits need not."""
        self._is_ended = True
        self._control.clear()
        self._frames.clear()
        for lot in (self._room, self._emptied):
            lot.unpark_all()
