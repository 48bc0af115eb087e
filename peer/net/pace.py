"""How slow a transfer may be: the two deadlines that end every stream that stalls, however cleverly."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """Progress that a remote has to make.

    Some byte must pass in every `stall_s`, and every block of `BLOCK_BYTES` in `block_s`: the first notices silence,
    the second one byte a minute.
    """

    stall_s: float = 10.0
    min_bytes_per_s: float = 4096.0

    @property
    def block_s(self) -> float:
        """Time for one block: a stall, and the rest at the slowest allowed rate."""
        return self.stall_s + BLOCK_BYTES / self.min_bytes_per_s
