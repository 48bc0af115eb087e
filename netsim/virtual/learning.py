"""What the virtual world asks of those who learn: the trainer's calls, for all peers at once.

A shell (`round_peer.py`) drives a core, and tells here what its peer does with models: train, publish, mix. When in
virtual time that happens is the shell's business; when it is computed is the business of the one who answers:
`plan.py` puts all of it off until somebody looks, and then does in one batch what does not depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Version = int
"""A published snapshot, whoever holds it."""


class Heard(NamedTuple):
    """One slot of a mixing event, as the header of the message says."""

    author: int
    version: Version
    age_rounds: int
    steps: int
    degree: int
    samples: int
    seq: int


class Learning(Protocol):
    """All peers' models. Peers are numbers 0 .. n − 1; calls for one peer come in the order of its life."""

    model_bytes: int
    """Size of one snapshot on the wire."""
    space_hash: bytes

    def num_steps(self, peer: int) -> int:
        """Return how many local steps a round of this peer has; 0 when it holds no data."""

    def samples(self, peer: int) -> int:
        """Return the size of the peer's training set."""

    def train(self, peer: int, round: int) -> None:
        """Do the local steps of `round`."""

    def publish(self, peer: int, round: int) -> Version:
        """Return the peer's model as it stands as a snapshot, held once by the caller."""

    def hold(self, version: Version) -> None:
        """Count one more holder of a snapshot."""

    def release(self, version: Version) -> None:
        """Count one holder less; without any a snapshot is gone."""

    def verdict(self, peer: int, version: Version) -> str:
        """Return what admission at `peer` says of a snapshot that arrived: empty, or why it is refused."""

    def mix(self, peer: int, round: int, degree: int, heard: Sequence[Heard], *, last: bool, catching_up: bool) -> None:
        """Mix what was heard into the peer's model; `last` and `catching_up` as in `aggregation.method.Method.mix`."""

    def average(self, author: int, versions: Sequence[Version]) -> Version:
        """Return the uniform mean of snapshots as a snapshot of `author`, held once by the caller."""

    def adopt(self, peer: int, version: Version) -> None:
        """Give the peer a copy of a snapshot in place of its model."""

    def forget_data(self, peer: int) -> None:
        """The peer's training set is lost; it mixes from now on, and trains no more."""

    def accuracy(self, peers: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the metric of the peers' models as they stand, [len(peers)]."""

    def merged_accuracy(self, peers: Sequence[int]) -> float:
        """Return the metric of the mean of the peers' models."""

    def consensus(self, peers: Sequence[int]) -> float:
        """Return the mean squared distance of the peers' models from their mean."""

    def mean_loss(self, peers: Sequence[int]) -> float:
        """Return the mean over peers of the mean training loss of their last local steps; NaN before the first."""

    def digest(self, peers: Sequence[int]) -> str:
        """Return SHA-256, in hex, over the bytes of the peers' models."""


class EventLearning(Protocol):
    """Models of peers that do not count rounds together. Times are in mean durations of local steps."""

    exchange_bytes: int
    """Size on the wire of what a peer sends at once: all channels of the algorithm."""

    def num_steps(self, peer: int) -> int:
        """Return how many local steps a round of this peer has; 0 when it holds no data."""

    def wake(self, peer: int, at: float) -> None:
        """The peer is there (again): its state has stood still until now."""

    def hold(self, version: Version) -> None:
        """Count one more holder of a copy."""

    def release(self, version: Version) -> None:
        """Count one holder less; without any a copy is gone."""


class PairLearning(EventLearning, Protocol):
    """Models of peers that meet in pairs; see `plan_pairs.py`."""

    def freeze(self, peer: int, round: int, at: float) -> Version:
        """Return a copy of the peer's state, held once by the caller."""

    def steps(self, peer: int, round: int, at: float, start: Version | None = None) -> None:
        """Add what the local steps of `round` do to the copy `start`; without one, do them now."""

    def meet(self, peer: int, round: int, at: float, own: Version, theirs: Version) -> None:
        """Add what an exchange of these two copies does to the first."""

    def imbalance(self, pending: Sequence[tuple[Version, Version]]) -> float:
        """Return how far what is conserved is off, relative to all there is of it, since this was asked first.

        `pending`: (own, theirs) of ends that will yet add what an exchange does to them, the other end having done so.
        """


class PushLearning(EventLearning, Protocol):
    """Models of peers that give shares away; see `plan_pushes.py`."""

    def steps(self, peer: int, round: int, at: float) -> None:
        """Do the local steps of `round`."""

    def give(self, peer: int, round: int, at: float, count: int) -> list[Version]:
        """Take a share for each of `count` receivers out of the peer's state; each is held once by the caller."""

    def absorb(self, peer: int, round: int, at: float, shares: Sequence[Version]) -> None:
        """Mix shares into the peer's state."""

    def refund(self, peer: int, round: int, at: float, share: Version) -> None:
        """Give a share back to the peer that gave it."""

    def imbalance(self, under_way: Sequence[Version]) -> float:
        """Return how far what is conserved is off, as in `PairLearning`; `under_way`: shares in nobody's state."""
