"""The safetensors format as far as Murmuration writes it, and the check that a received file must pass.

    8 bytes   little-endian length N of the header
    N bytes   JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...}, padded with spaces to 8 k bytes
    the rest  raw little-endian tensors, where their offsets say

Our own writer exists because the library's needs the whole file in memory once more. Received bytes are checked here,
by hand and with bounds, before the library maps them: exactly one tensor `x`, float32, `[D]`, covering the file. The
header must be spelled as the library itself spells it; so no two readers can disagree on what it means.

Source: the format's description in the README of huggingface/safetensors.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from peer.errors import StoreError
from peer.store.atomic import Sink, plain_reason

MAX_RECEIVED_HEADER_BYTES = 256  # ours has about 72; a longer one is somebody's game
_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 8


class TensorData(NamedTuple):
    """A tensor as raw bytes: `dtype` in the format's own word (`F32`, `I64`, ...), C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_decoder = msgspec.json.Decoder(dict[str, _Entry])


def snapshot_size(width: int) -> int:
    """Return the size in bytes of a snapshot file of `width` parameters, header included."""
    return len(_prefix({"x": _snapshot_entry(width)})) + 4 * width


class TensorFile:
    """`tensors` as the content of one safetensors file, largest elements first; nothing is copied."""

    def __init__(self, tensors: Mapping[str, TensorData]) -> None:
        order = sorted(tensors, key=lambda name: (-_item_bytes(tensors[name]), name))
        entries: dict[str, _Entry] = {}
        end = 0
        for name in order:
            begin, end = end, end + tensors[name].data.nbytes
            entries[name] = _Entry(tensors[name].dtype, tensors[name].shape, (begin, end))
        self._prefix = _prefix(entries)
        self._data = [tensors[name].data for name in order if tensors[name].data.nbytes]
        self.size_bytes = len(self._prefix) + end

    def write(self, sink: Sink) -> None:
        """Write the file. Raises `OSError`."""
        sink.write(self._prefix)
        for data in self._data:
            sink.write(data)


def check_snapshot(path: Path, width: int) -> str:
    """Return `""` when `path` is a sound snapshot of `width` parameters, else `bad_file` or `wrong_shape`.

    Reads the header only, and at most `MAX_RECEIVED_HEADER_BYTES` of it; values are not looked at. Whatever the bytes
    are, nothing is raised over them. Raises `StoreError` when the file itself cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _verdict(file, os.fstat(file.fileno()).st_size, width)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {plain_reason(error)}") from error


def _verdict(file: BinaryIO, size_bytes: int, width: int) -> str:
    prefix = file.read(_LENGTH.size)
    if len(prefix) < _LENGTH.size:
        return "bad_file"
    (header_bytes,) = _LENGTH.unpack(prefix)
    if header_bytes > MAX_RECEIVED_HEADER_BYTES or header_bytes % _ALIGNMENT:
        return "bad_file"
    header = file.read(header_bytes)
    try:
        entries = _decoder.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "bad_file"
    if prefix + header != _prefix(entries) or list(entries) != ["x"]:
        return "bad_file"
    if entries["x"].dtype != "F32" or entries["x"].shape != (width,):
        return "wrong_shape"
    covers = entries["x"].data_offsets == (0, 4 * width) and size_bytes == len(prefix) + header_bytes + 4 * width
    return "" if covers else "bad_file"


def _prefix(entries: Mapping[str, _Entry]) -> bytes:
    header = msgspec.json.encode(entries)
    header += b" " * (-len(header) % _ALIGNMENT)
    return _LENGTH.pack(len(header)) + header


def _snapshot_entry(width: int) -> _Entry:
    return _Entry("F32", (width,), (0, 4 * width))


def _item_bytes(tensor: TensorData) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return tensor.data.nbytes // count if count else 0
