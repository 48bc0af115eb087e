"""The seam between the daemon and learning: six calls, whoever answers them.

`peer.train.process` runs a trainer in a child process (the daemon never imports torch); `peer.train.inline` runs the
same trainer in the calling task, for tests and virtual time. Models cross the seam as files, never as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from peer.core.messages import Digest, Manifest


class Opened(msgspec.Struct, frozen=True):
    """The task is loaded and the model stands at the beginning of `round` (0, or where the checkpoint left it)."""

    space: Digest  # hash of the ParamSpace
    width: int  # D, parameters exchanged
    model_bytes: int  # size of one snapshot file: what a peer may send at most
    samples: int  # of the private training set
    round: int
    steps: int  # local steps done so far in this life and the earlier ones
    device: str
    resumed: bool
    accuracy: float  # of the model as it stands now


class Trained(msgspec.Struct, frozen=True):
    """A snapshot file is written and fsynced; for `train`, after the local steps of the round."""

    path: Path
    sha256: Digest
    size_bytes: int
    steps: int
    loss: float
    accuracy: float  # of the model in the file: after `train`, the local one before mixing


class Verdict(msgspec.Struct, frozen=True):
    """Admission of a received snapshot: `reason` is empty, or why its sender loses its connection.

    Reasons: `bad_file`, `wrong_shape`, `not_finite`, `norm_too_large`.
    """

    reason: str = ""


class Slot(msgspec.Struct, frozen=True):
    """One admitted snapshot that takes part in a mixing event."""

    path: Path
    manifest: Manifest
    age_rounds: int


class Mixed(msgspec.Struct, frozen=True):
    """The inbox has been mixed in, and the checkpoint at the beginning of `round` is on disk (if it was due)."""

    round: int  # the round that begins now
    num_mixed: int
    accuracy: float
    disagreement: float  # mean over slots of ||v_j - x|| / ||x||
    saved: bool  # checkpoint fsynced; False only if none was due
    save_error: str = ""  # why a due checkpoint could not be written (full disk)


class Executor(Protocol):
    """Runs one device's learning. Calls come one at a time. Each may raise `peer.errors.TrainerError`.

    After a `TrainerError` the caller waits and calls `open` again: it resumes from the newest sound checkpoint.
    """

    async def open(self) -> Opened:
        """Load task, data and the newest sound checkpoint (or the common initialisation)."""

    async def train(self, round: int) -> Trained:
        """Run the local steps of `round` and write the snapshot of the exchanged parameters.

        Raises `peer.errors.StoreError` when the snapshot cannot be written; the model keeps its steps.
        """

    async def admit(self, path: Path, manifest: Manifest) -> Verdict:
        """Check a received file whose hash is already verified: format, shape, finiteness, norm."""

    async def mix(self, round: int, next_round: int, degree: int, slots: Sequence[Slot]) -> Mixed:
        """Mix `slots` into the own model (none: keep it), then checkpoint; `degree` is the own one, as published."""

    async def snapshot(self) -> Trained:
        """Write a snapshot of the model as it stands, without training: what is left when all rounds are done.

        Raises `peer.errors.StoreError` as `train` does. `loss` is that of the last local steps.
        """

    async def aclose(self) -> None:
        """Save a checkpoint and end. Idempotent."""
