"""What the exchange core is told at its start, and what it asks its shell to do."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from peer.core.backoff import Backoff
from peer.core.messages import Digest, Manifest, PeerId


@dataclass(frozen=True)
class ExchangeConfig:
    """Knobs of the exchange; see `swarm.toml` and `peer.toml` for their meaning to the operator."""

    swarm: Digest
    space: Digest
    max_model_bytes: int
    total_rounds: int = 0  # 0: for ever
    quorum: float = 1.0  # share of the linked neighbours that must be fresh, 0..1
    deadline_s: float = 10.0
    max_age_rounds: int = 2
    max_requests: int = 8  # under way at once, over all authors
    max_attempts: int = 4  # per snapshot
    request_timeout_s: float = 30.0  # without the time that the bytes take ...
    min_rate_bytes_s: float = 100_000.0  # ... at this rate
    kept_snapshots: int = 2  # own ones that can be asked for: a receiver may be as many rounds behind, less one
    offer_retry: Backoff = Backoff(base_s=1.0, cap_s=30.0)
    fetch_retry: Backoff = Backoff(base_s=0.2, cap_s=10.0)


# Events are structs, not dataclasses: there is one per snapshot, and a struct is made in a tenth of the time.


class MixSlot(msgspec.Struct, frozen=True):
    """One snapshot that takes part in a mixing event."""

    peer: PeerId
    manifest: Manifest
    age_rounds: int  # own round minus the author's, never negative
    age_s: float  # between its first offer to us and the mixing event, by our clock


class CheckModel(msgspec.Struct, frozen=True):
    """The answer to `request_id` is here and matches its hash: look whether it may be mixed, then call `checked`."""

    peer: PeerId
    manifest: Manifest
    request_id: int


class RoundReady(msgspec.Struct, frozen=True):
    """Mix these, then call `mixed`; the round after it is `next_round`."""

    round: int
    next_round: int
    slots: tuple[MixSlot, ...]
    num_expected: int
    met_quorum: bool


class ModelDropped(msgspec.Struct, frozen=True):
    """Nobody needs the file of this snapshot any more."""

    manifest: Manifest


class Misbehaved(msgspec.Struct, frozen=True):
    """A peer broke the protocol in a way that no loss, repetition or reordering explains."""

    peer: PeerId
    kind: str


ExchangeEvent = CheckModel | RoundReady | ModelDropped | Misbehaved
