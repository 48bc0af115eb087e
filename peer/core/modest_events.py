"""What the MoDeST core is told at its start, and what it asks its shell to do."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import msgspec

from peer.core.messages import PeerId
from peer.core.modest_messages import MAX_ENTRIES, MAX_ROUND, ModelRef, ViewEntry


def _knob(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


@dataclass(frozen=True)
class ModestConfig:
    """Knobs of MoDeST. Lengths of time are in seconds of the caller's clock. ValueError when one is out of bounds.

    The first six are the paper's, with the defaults of its authors' code, but for the success fraction, which is that
    of Plexus: 1 stalls with the first lost model. The others are what a swarm needs to stay alive.
    """

    sample_size: Annotated[
        int,
        _knob(
            "s: peers that train in a round. Larger: less noise per round, more traffic, and the slowest of more peers"
            " is waited for. Smaller: cheaper and quicker rounds, each on fewer peers' data.",
            ge=1,
            le=1024,
        ),
    ] = 10
    aggregators: Annotated[
        int,
        _knob(
            "a: peers that average the models of a round, each on its own. Larger: a round survives the loss of a-1 of"
            " them; transfers grow by about a. Smaller: cheaper, and a dead aggregator is the watchdog's business.",
            ge=1,
            le=64,
        ),
    ] = 1
    success_fraction: Annotated[
        float,
        _knob(
            "sf: an aggregator goes on with max(1, ⌊s·sf⌋ models). Larger: nobody's work is lost, stragglers and losses"
            " hold up the round. Smaller: quicker, and the slow are left out again and again.",
            gt=0,
            le=1,
        ),
    ] = 0.8
    ping_timeout_s: Annotated[
        float,
        _knob(
            "Δt: a candidate that has not answered for this long is passed over. Larger: tolerates slow links, and each"
            " dead candidate costs that much. Smaller: the other way round; keep it above twice the largest RTT.",
            gt=0,
        ),
    ] = 5.0
    activity_window: Annotated[
        int,
        _knob(
            "Δk: rounds for which a peer counts as active after it was last seen so. Larger: dead peers stay candidates"
            " for longer. Smaller: live peers that are rarely sampled drop out; keep it many times n/s.",
            ge=1,
            le=MAX_ROUND,
        ),
    ] = 50
    aggregation_timeout_s: Annotated[
        float,
        _knob(
            "T_agg: how long after its first model an aggregator waits for enough; then three will do, and fewer are"
            " dropped. About 3 times the median round. Larger: a lost model costs more time. Smaller: slow peers are"
            " left out. 0: wait for ever.",
            ge=0,
        ),
    ] = 20.0
    watchdog_s: Annotated[
        float,
        _knob(
            "A peer that has heard of no progress for 1 to 1.5 times this long starts the next round with the newest"
            " model it holds. About 5 times the median round, and never less than the longest training. Larger: a lost"
            " round costs more. Smaller: idle peers ask around more often. 0: never, and a lost round is the end.",
            ge=0,
        ),
    ] = 30.0
    suspicion_s: Annotated[
        float,
        _knob(
            "A candidate that did not answer comes last in the orders of this peer for so long, or until it is heard."
            " Larger: the dead cost nothing more. Smaller: views of the order agree sooner again. 0: no suspicion.",
            ge=0,
        ),
    ] = 300.0
    hedge: Annotated[
        int,
        _knob(
            "Candidates that are pinged beyond those needed. Larger: so many dead ones cost one Δt together, and so"
            " many more pings are sent per search. The sample stays the first live ones in hash order.",
            ge=0,
            le=64,
        ),
    ] = 2
    reping_s: Annotated[
        float,
        _knob("A ping without answer is repeated once after this long. Larger: slower over lossy links.", gt=0),
    ] = 1.0
    advertise_fanout: Annotated[
        int,
        _knob(
            "Joins and leaves are told to this many times s random peers. Larger: all know it sooner; costs messages.",
            ge=1,
            le=100,
        ),
    ] = 10
    delta_entries: Annotated[
        int,
        _knob("View entries that travel with a model, at most. Larger: views agree sooner.", ge=1, le=MAX_ENTRIES),
    ] = MAX_ENTRIES
    max_members: Annotated[
        int,
        _knob("Peers that are remembered, gone ones included. Costs memory; beyond it newcomers are refused.", ge=2),
    ] = 4096
    total_rounds: Annotated[
        int, _knob("Rounds to train; the aggregated model after the last is the result. 0: for ever.", ge=0, le=2**40)
    ] = 0

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            try:
                msgspec.convert(getattr(self, name), hint)
            except msgspec.ValidationError as error:
                raise ValueError(f"modest: {name} = {getattr(self, name)!r}: {error}") from None

    @property
    def num_needed(self) -> int:
        """Models that complete a round of a full sample: max(1, ⌊s·sf⌋)."""
        return self.needed_of(self.sample_size)

    def needed_of(self, sample_size: int) -> int:
        """Return max(1, ⌊sample_size·sf⌋); a product that is a whole number but for rounding counts as whole."""
        return max(1, int(sample_size * self.success_fraction + 1e-9))


@functools.cache
def _hints() -> dict[str, Any]:
    return get_type_hints(ModestConfig, include_extras=True)


@dataclass(frozen=True)
class TrainModel:
    """Train from this model, then call `trained(round, ref, now)`; at most one training is under way."""

    round: int
    start_from: ModelRef


@dataclass(frozen=True)
class CancelTraining:
    """The training of this round is overtaken: stop it and answer nothing."""

    round: int


@dataclass(frozen=True)
class AggregateModels:
    """Take the uniform mean of these, then call `aggregated(round, ref, now)`. Sorted by sender."""

    round: int
    refs: tuple[ModelRef, ...]


@dataclass(frozen=True)
class SendModel:
    """Bring the bytes of `ref` to `to`, behind a `ModelHeader(ref, view_delta)`; report a failure by `send_failed`."""

    to: PeerId
    ref: ModelRef
    view_delta: tuple[ViewEntry, ...]


@dataclass(frozen=True)
class RoundProgress:
    """This peer holds a newer aggregated model now."""

    round: int
    model: ModelRef


@dataclass(frozen=True)
class SampleServed:
    """As aggregator (or watchdog) this peer has found the sample of the round and hands its model out."""

    round: int
    sample: tuple[PeerId, ...]
    num_models: int  # in the mean; 0 when the watchdog started the round with an older model
    is_restart: bool


ModestEvent = TrainModel | CancelTraining | AggregateModels | SendModel | RoundProgress | SampleServed
