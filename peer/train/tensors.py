"""Between torch and files: tensors out without a copy, snapshots in by memory map. Imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from peer.store.tensor_file import TensorData, TensorFile, snapshot_size

PIECE_ENTRIES = 1 << 17  # read at once from a mapped file: stays in the second-level cache
_WORDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def tensor_file(tensors: Mapping[str, Tensor]) -> TensorFile:
    """Return `tensors` as the content of a file. Those on the CPU must not change until it is written."""
    return TensorFile({name: _data(tensor) for name, tensor in tensors.items()})


def map_snapshot(path: Path, width: int) -> Tensor:
    """Return the `x` [D] of a snapshot that passed `check_snapshot`, mapped: its pages are read when they are used.

    The file may be unlinked while it is mapped. It must not be cut short: reading behind its end kills the process.
    Not by safetensors' `safe_open`, which keeps some 30 bytes for ever with each call: a peer makes millions of them.
    """
    size_bytes = snapshot_size(width)
    whole = torch.from_file(str(path), shared=False, size=size_bytes, dtype=torch.uint8)
    return whole[size_bytes - 4 * width :].view(torch.float32)


def norm(x: Tensor) -> float:
    """Return the Euclidean norm of `x` [D], summed in float64; not finite exactly when an entry is not."""
    total = 0.0
    for piece in torch.split(x, PIECE_ENTRIES):
        total += float(torch.linalg.vector_norm(piece, dtype=torch.float64)) ** 2
    return math.sqrt(total)


def distance(x: Tensor, y: Tensor) -> float:
    """Return ||y - x|| of two vectors [D], summed in float64; `y` may be mapped and on another device."""
    total = 0.0
    for x_piece, y_piece in zip(torch.split(x, PIECE_ENTRIES), torch.split(y, PIECE_ENTRIES), strict=True):
        difference = y_piece.to(x.device) - x_piece
        total += float(torch.linalg.vector_norm(difference, dtype=torch.float64)) ** 2
    return math.sqrt(total)


def _data(tensor: Tensor) -> TensorData:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return TensorData(_WORDS[tensor.dtype], tuple(tensor.shape), flat.view(torch.uint8).numpy().data)
