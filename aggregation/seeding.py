"""Randomness seeded by data: who draws, in which round, and what for, decide the numbers.

There is no stream to keep in step. Daemon and simulator draw the same; a resumed run draws what the interrupted one
would have drawn; peers that agree on seed, run and round agree on a matching or a mask without a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch

Rng = Callable[[int, str], torch.Generator]
"""`rng(row, purpose)`: a fresh generator for one row of a batch; the same call gives the same numbers."""


def derived_seed(seed: int, run: str | bytes, node: str | int, round: int, purpose: str) -> int:
    """Return 64 bits that depend on every argument and on nothing else. Arguments of other types are other seeds."""
    digest = blake2b(digest_size=8, person=b"aggregation/rng1")
    for part in (seed, run, node, round, purpose):
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(type(part).__name__.encode() + len(data).to_bytes(4) + data)
    return int.from_bytes(digest.digest())


def rng(seed: int, run: str | bytes, node: str | int, round: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for `purpose` of `node` in `round`.

    torch's CPU generator uses the low 32 bits of its seed, so of n generators about n²/2³³ pairs share their numbers.
    That is harmless for batches and masks; nothing here is cryptographic.
    """
    return torch.Generator().manual_seed(derived_seed(seed, run, node, round, purpose))


def rows_rng(seed: int, run: str | bytes, nodes: Sequence[str | int], rounds: Sequence[int]) -> Rng:
    """Return the `Rng` of a batch: row b is `nodes[b]` in `rounds[b]`."""

    def row_rng(row: int, purpose: str) -> torch.Generator:
        return rng(seed, run, nodes[row], rounds[row], purpose)

    return row_rng
