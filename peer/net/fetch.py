"""Getting a snapshot from a peer: `/murmuration/model/1`, the asker's side.

    asker   Want(request_id, sha256, offset)  ->
            <-  Model(request_id, sha256, size_bytes, offset) and size_bytes - offset raw bytes, then the end
            <-  or Refuse(request_id, reason)

The bytes go to a file and through SHA-256 as they come, in a thread, one piece of `PIECE_BYTES` after the other; what
arrives meanwhile waits in the stream's window (1 MiB at most). No more than that is ever in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import trio

from peer.core.messages import Model, PeerId, Refuse, Want
from peer.errors import FetchError, FramingError, NetError
from peer.net.framing import MessageReader, send_message
from peer.net.limits import CLEANUP_S
from peer.net.pace import BLOCK_BYTES, Pace
from peer.net.transport import Transport

MODEL_PROTOCOL: Final = "/murmuration/model/1"
PIECE_BYTES = 4 * BLOCK_BYTES
REASONS = ("busy", "unknown", "not_a_member", "banned")  # of a refusal; others are counted as one

Offload = Callable[..., Awaitable[Any]]
"""Runs a blocking function elsewhere: `trio.to_thread.run_sync`, or `inline` under a virtual clock."""


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Run a blocking function in the calling task: a virtual clock would run ahead of a real thread."""
    await trio.lowlevel.checkpoint()
    return function(*args)


async def fetch(
    transport: Transport,
    peer: PeerId,
    want: Want,
    size_bytes: int,
    destination: Path,
    *,
    pace: Pace | None = None,
    keep_partial: bool = False,
    offload: Offload = trio.to_thread.run_sync,
) -> None:
    """Get the file with hash `want.sha256` and length `size_bytes` from a connected peer into `destination`.

    The file is created and must not exist; with `want.offset` > 0 it must hold the first bytes from an earlier
    attempt. It is removed when this fails, unless `keep_partial` and what it holds can be continued. Not fsynced.

    Raises `FetchError`: `refused:<reason>`, `broken` (stream or connection), `stalled`, `disk`; and, with
    `misbehaved`, `wrong_request_id`, `wrong_size`, `wrong_hash`, `cut_short`, `too_long`, `frame_too_long`,
    `bad_message`.
    """
    try:
        body = await offload(_Body, destination, want.offset)
    except OSError as error:
        raise FetchError("disk", str(error)) from error
    is_whole = can_continue = False
    try:
        await _fetch(transport, peer, want, size_bytes, body, pace or Pace(), offload)
        is_whole = True
    except OSError as error:
        raise FetchError("disk", str(error)) from error
    except FetchError as error:
        can_continue = keep_partial and not error.misbehaved
        raise
    finally:
        with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
            await offload(body.close, is_whole or can_continue)


class _Body:
    """The file that grows, and its hash."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self.num_bytes = offset
        self._hash = hashlib.sha256()
        self._file = path.open("r+b" if offset else "xb", buffering=0)
        try:
            self._continue_at(offset)
        except OSError:
            self._file.close()
            raise

    def _continue_at(self, offset: int) -> None:
        left = offset
        while left > 0:
            data = self._file.read(min(left, PIECE_BYTES))
            if not data:
                raise OSError(f"{self.path} holds {offset - left} bytes, not the {offset} to continue after")
            self._hash.update(data)
            left -= len(data)
        self._file.truncate(offset)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self.num_bytes += len(data)

    def digest(self) -> bytes:
        return self._hash.digest()

    def close(self, keep: bool) -> None:
        self._file.close()
        if not keep:
            self.path.unlink(missing_ok=True)


async def _fetch(
    transport: Transport, peer: PeerId, want: Want, size_bytes: int, body: _Body, pace: Pace, offload: Offload
) -> None:
    stream = None
    try:
        with trio.fail_after(pace.stall_s):
            stream = await transport.open_stream(peer, MODEL_PROTOCOL)
            reader = MessageReader[Model | Refuse](stream, Model | Refuse)
            await send_message(stream, want)
            await stream.send_eof()
            _check(await reader.receive(), want, size_bytes)
        await _receive_body(reader, size_bytes, body, pace, offload)
        if body.digest() != want.sha256:
            raise FetchError("wrong_hash", "of the body", misbehaved=True)
        await _expect_end(reader, pace)
        await stream.aclose()
    except trio.TooSlowError as error:
        raise FetchError("stalled", f"{body.num_bytes} of {size_bytes} bytes have come") from error
    except FramingError as error:
        raise FetchError(error.kind, str(error), misbehaved=True) from error
    except NetError as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError("broken", str(error)) from error
    finally:
        if stream is not None:
            with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
                await stream.reset()


def _check(answer: Model | Refuse | None, want: Want, size_bytes: int) -> None:
    if answer is None:
        raise FetchError("cut_short", "no answer", misbehaved=True)
    if answer.request_id != want.request_id:
        raise FetchError("wrong_request_id", f"{answer.request_id} instead of {want.request_id}", misbehaved=True)
    if isinstance(answer, Refuse):
        raise FetchError(f"refused:{answer.reason if answer.reason in REASONS else 'other'}")
    if answer.sha256 != want.sha256:
        raise FetchError("wrong_hash", "in the header", misbehaved=True)
    if answer.size_bytes != size_bytes or answer.offset != want.offset:
        raise FetchError("wrong_size", f"{answer.size_bytes} bytes from {answer.offset} on", misbehaved=True)


async def _receive_body(
    reader: MessageReader[Model | Refuse], size_bytes: int, body: _Body, pace: Pace, offload: Offload
) -> None:
    while (left := size_bytes - body.num_bytes) > 0:
        piece = await _receive_piece(reader, min(left, PIECE_BYTES), pace)
        await offload(body.write, piece)


async def _receive_piece(reader: MessageReader[Model | Refuse], size: int, pace: Pace) -> bytes:
    parts: list[bytes] = []
    with trio.fail_after(pace.block_s * -(-size // BLOCK_BYTES)):
        while size > 0:
            with trio.fail_after(pace.stall_s):
                part = await reader.receive_raw(size)
            if not part:
                raise FetchError("cut_short", f"{size} bytes of a piece are missing", misbehaved=True)
            parts.append(part)
            size -= len(part)
    return b"".join(parts)


async def _expect_end(reader: MessageReader[Model | Refuse], pace: Pace) -> None:
    """Nothing may follow the body; a remote that merely does not finish has done no harm."""
    with trio.move_on_after(pace.stall_s):
        if await reader.receive_raw(1):
            raise FetchError("too_long", "bytes follow the body", misbehaved=True)
