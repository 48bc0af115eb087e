"""Messages over a byte stream: four bytes of length (big endian), then one message in MessagePack.

The length is checked before a byte of the body is awaited, so that a remote cannot make us allocate what it merely
announces. Raw bytes may follow a frame (a model follows `Model`): the reader hands out what it read too far.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from peer.core.messages import AnyMessage, Message
from peer.errors import FramingError
from peer.net.transport import Stream

LENGTH_BYTES = 4
MAX_FRAME_BYTES = 64 * 1024
READ_BYTES = 16 * 1024  # a link carries small messages; a model's body is read in larger pieces by its own loop

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


def encode_frame(message: Message, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Return `message` as one frame. Raises `ValueError` when it would exceed `max_bytes`: the sender's own mistake."""
    body = _encoder.encode(message)
    if len(body) > max_bytes:
        raise ValueError(f"{type(message).__name__} of {len(body)} bytes does not fit a frame of {max_bytes}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


async def send_message(stream: Stream, message: Message, max_bytes: int = MAX_FRAME_BYTES) -> None:
    """Send `message` as one frame. Raises `NetError` when the stream broke, `ValueError` when it is too long."""
    await stream.send_all(encode_frame(message, max_bytes))


class MessageReader(Generic[T]):
    """Reads frames from `stream` and decodes them as `expected` (a message type or a union of them).

    Holds at most one frame and one read beyond it. Deadlines are the caller's; after a cancelled call the
    stream is useless.
    """

    def __init__(self, stream: Stream, expected: Any = AnyMessage, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._stream = stream
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(expected)
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    async def receive(self) -> T | None:
        """Return the next message, or None when the remote has finished after a whole frame.

        Raises `FramingError` (`frame_too_long`, `cut_short`, `bad_message`) and `NetError` when the stream broke.
        """
        if not await self._fill(LENGTH_BYTES, may_end=True):
            return None
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if length > self._max_bytes:
            raise FramingError("frame_too_long", f"{length} bytes announced, {self._max_bytes} allowed")
        await self._fill(LENGTH_BYTES + length)
        body = bytes(self._buffer[LENGTH_BYTES : LENGTH_BYTES + length])
        del self._buffer[: LENGTH_BYTES + length]
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FramingError("bad_message", str(error)[:200]) from None

    async def receive_raw(self, max_bytes: int) -> bytes:
        """Return 1..`max_bytes` of the bytes that follow the last frame, or `b""` at the end of the stream."""
        if self._buffer:
            data = bytes(self._buffer[:max_bytes])
            del self._buffer[:max_bytes]
            return data
        return await self._stream.receive_some(max_bytes)

    async def _fill(self, size: int, may_end: bool = False) -> bool:
        """Read until the buffer holds `size` bytes; False when the stream ended cleanly before the first one."""
        while len(self._buffer) < size:
            data = await self._stream.receive_some(READ_BYTES)
            if not data:
                if may_end and not self._buffer:
                    return False
                raise FramingError("cut_short", f"{len(self._buffer)} of {size} bytes")
            self._buffer += data
        return True
