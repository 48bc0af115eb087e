"""What waits to be sent on a link: bounded, never blocking, and outliving the stream it was meant for."""

from __future__ import annotations

from collections import deque

from trio.lowlevel import ParkingLot

MAX_MESSAGES = 64
MAX_BYTES = 1024 * 1024
BATCH_BYTES = 64 * 1024


class Outbox:
    """Frames in order. When two links of one pair become one, the survivor goes on with the same outbox."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._num_bytes = 0
        self._changed = ParkingLot()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes) -> bool:
        """Add a frame; False when there is no room."""
        if len(self._frames) >= MAX_MESSAGES or self._num_bytes + len(frame) > MAX_BYTES:
            return False
        self._frames.append(frame)
        self._num_bytes += len(frame)
        self._changed.unpark_all()
        return True

    def wake(self) -> None:
        """Let whoever waits in `wait` look at its own state."""
        self._changed.unpark_all()

    async def wait(self) -> None:
        """Wait until something changes."""
        await self._changed.park()

    def take(self) -> bytes:
        """Remove and return some frames as one piece of about `BATCH_BYTES`, `b""` when there is none."""
        parts: list[bytes] = []
        size = 0
        while self._frames and size < BATCH_BYTES:
            size += len(self._frames[0])
            parts.append(self._frames.popleft())
        self._num_bytes -= size
        return b"".join(parts)
