"""What daemon and trainer process say to each other over their socket pair. No torch here.

    frame = 4 bytes length (big-endian) + MessagePack;   at most MAX_FRAME_BYTES

    daemon:  Open | Train | Admit | Mix | Close          one at a time, numbered by `id`
    worker:  Progress* Notice*  then  Done | Failed      with the `id` of the command

Models never travel here: commands and answers name files. The worker runs a team's own code, so the daemon reads its
frames with the same care as those of a peer: bounded, typed, and an error rather than an exception of the decoder.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from peer.core.messages import Manifest
from peer.errors import TrainerError
from peer.train.executor import Slot
from peer.train.settings import TrainConfig

MAX_FRAME_BYTES = 1 << 20  # the longest command is a Mix of a few hundred slots, 500 bytes each
MAX_TEXT = 4000
_LENGTH = struct.Struct(">I")


class Command(msgspec.Struct, frozen=True, tag=True):
    """Base of what the daemon asks. `id` grows with each command of a worker's life."""

    id: int


class Open(Command, frozen=True, tag=True):
    """First command: load everything. Answered by `Opened`."""

    config: TrainConfig


class Train(Command, frozen=True, tag=True):
    """Run the local steps of `round`. Answered by `Trained`."""

    round: int


class Admit(Command, frozen=True, tag=True):
    """Look at a received file. Answered by `Verdict`."""

    path: Path
    manifest: Manifest


class Mix(Command, frozen=True, tag=True):
    """Mix the slots in. Answered by `Mixed`."""

    round: int
    next_round: int
    degree: int
    slots: tuple[Slot, ...]


class Snapshot(Command, frozen=True, tag=True):
    """Write a snapshot of the model as it stands. Answered by `Trained`."""


class Close(Command, frozen=True, tag=True):
    """Save a checkpoint and exit. Answered by nothing but the end of the process."""


AnyCommand = Open | Train | Admit | Mix | Snapshot | Close


class Report(msgspec.Struct, frozen=True, tag=True):
    """Base of what the worker says."""


class Progress(Report, frozen=True, tag=True):
    """A sign of life from inside a long command: what it is at, and how far (`total` 0: unknown)."""

    stage: Annotated[str, msgspec.Meta(max_length=64)]
    done: int = 0
    total: int = 0


class Notice(Report, frozen=True, tag=True):
    """Something that belongs into the daemon's log, such as a damaged checkpoint."""

    event: Annotated[str, msgspec.Meta(max_length=64)]
    detail: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] = ""


class Done(Report, frozen=True, tag=True):
    """The answer to command `id`: a struct of `peer.train.executor`, encoded by itself."""

    id: int
    result: msgspec.Raw


class Failed(Report, frozen=True, tag=True):
    """Command `id` failed. `is_disk`: the disk refused, and the worker stands as before; else it is of no more use."""

    id: int
    message: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    is_disk: bool = False
    traceback: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] = ""


AnyReport = Progress | Notice | Done | Failed


def _from_path(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value)  # a path is bytes: not every one is text
    raise NotImplementedError


def _to_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, bytes):
        return Path(os.fsdecode(value))
    raise NotImplementedError


_encoder = msgspec.msgpack.Encoder(enc_hook=_from_path)
_commands = msgspec.msgpack.Decoder(AnyCommand, dec_hook=_to_path)
_reports = msgspec.msgpack.Decoder(AnyReport, dec_hook=_to_path)


def encode_frame(message: Command | Report) -> bytes:
    """Return `message` as one frame. Raises `ValueError` when it is too long to be one."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return _LENGTH.pack(len(body)) + body


def encode_result(result: msgspec.Struct) -> msgspec.Raw:
    """Return an answer as it lies in `Done`."""
    return msgspec.Raw(_encoder.encode(result))


def decode_result(raw: msgspec.Raw, kind: Any) -> Any:
    """Return the answer in `Done` as a `kind`. Raises `TrainerError` when it is something else."""
    return _decode(msgspec.msgpack.Decoder(kind, dec_hook=_to_path), bytes(raw))


def decode_command(body: bytes) -> AnyCommand:
    """Decode the body of a frame in the worker. Raises `TrainerError`."""
    return _decode(_commands, body)  # type: ignore[no-any-return]  # the decoder's type is erased by the union


def decode_report(body: bytes) -> AnyReport:
    """Decode the body of a frame in the daemon. Raises `TrainerError`."""
    return _decode(_reports, body)  # type: ignore[no-any-return]  # ditto


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, NotImplementedError) as error:
        raise TrainerError(f"the trainer's pipe carries nonsense: {error}") from error


class Frames:
    """Cuts a byte stream into the bodies of frames; holds at most one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the stream; yield each body that is complete. Raises `TrainerError` (too long)."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > MAX_FRAME_BYTES:
                raise TrainerError(f"the trainer's pipe carries a frame of {size} bytes")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body
