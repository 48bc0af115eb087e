"""The daemon's Prometheus metrics, in a registry of their own.

Everything that `Status` knows is read from it at the moment when Prometheus asks, so that the two can never disagree;
only distributions (how long rounds take) are collected as they happen. No label is ever a peer id, and the values of a
label come from a fixed set (else `other`): a remote cannot make the number of series grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from peer.control.status import Status

EVENTS = {
    "members_lost": "Members that were forgotten because their heartbeat stopped.",
    "members_refused": "Members that were ignored because `limits.max_members` was reached.",
    "models_admitted": "Received snapshots that were let into the inbox.",
    "models_late": "Answers to requests that had been given up.",
    "models_mixed": "Admitted snapshots that took part in a mixing.",
    "models_received": "Snapshots received whole, with the right hash.",
    "models_refused": "Received snapshots that were not let in (the reason is a kind of `faults`).",
    "models_served": "Own snapshots that were sent to a neighbour.",
    "offers_received": "Offers of a new snapshot.",
    "offers_repeated": "Offers of a snapshot that was known.",
    "offers_replayed": "Offers that were older than what was known.",
    "offers_sent": "Offers of own snapshots, repetitions included.",
    "requests_failed": "Requests for a snapshot that came to nothing, and were tried again or given up.",
    "requests_refused": "Requests that the other side refused (busy, unknown).",
    "requests_sent": "Requests for a snapshot.",
    "requests_timed_out": "Requests without an answer in time.",
    "requests_unknown": "Requests of others for a snapshot that this peer has not (any more).",
    "rounds_deadline": "Rounds that ended by deadline, without quorum.",
    "rounds_skipped": "Rounds that this peer left out to catch up with the swarm.",
}
FAULT_KINDS = (
    "bad_file",
    "bad_message",
    "bad_muxer_frame",
    "bad_record",
    "connection_crash",
    "control_flood",
    "crashes_trainer",
    "cut_short",
    "equivocation",
    "frame_too_long",
    "handler_crash",
    "handshake",
    "model_too_large",
    "negotiation",
    "no_hello",
    "norm_too_large",
    "not_authentic",
    "not_finite",
    "stalled",
    "stalled_write",
    "too_long",
    "too_many_connections",
    "too_many_handshakes",
    "too_many_negotiating",
    "too_many_streams",
    "unexpected_message",
    "unknown_channel",
    "unknown_protocol",
    "window_exceeded",
    "wrong_hash",
    "wrong_model",
    "wrong_request_id",
    "wrong_shape",
    "wrong_size",
    "wrong_space",
    "wrong_swarm",
    "wrong_version",
)
ROUND_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)
AGE_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)


class Metrics:
    """All metrics of one daemon. Not shared and not global: a process can hold many (tests, simulation)."""

    def __init__(self) -> None:
        # A process-wide switch: else each histogram brings a second series that nobody asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one untyped
        self.registry = CollectorRegistry()
        self.round_seconds = self._histogram(
            "round_seconds", "Duration of a round: local steps, waiting, mixing.", ROUND_SECONDS
        )
        self.mixed_age_seconds = self._histogram(
            "mixed_age_seconds", "Age of each received model when it was mixed.", AGE_SECONDS
        )

    def watch(self, status: Callable[[], Status]) -> None:
        """From now on, also export what `status()` says at the moment of each scrape."""
        self.registry.register(_StatusCollector(status))

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(f"murmuration_{name}", meaning, buckets=tuple(buckets), registry=self.registry)


class _StatusCollector(Collector):
    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        return ()  # else registering would ask for a status before the daemon has one

    def collect(self) -> Iterator[Metric]:
        now = self._status()
        yield from _counters(now)
        yield from _events(now)
        yield _faults(now)
        yield from _gauges(now)


def _counters(now: Status) -> Iterator[Metric]:
    for name, meaning, value in (
        ("rounds", "Rounds ended, over the peer's whole life.", now.round),
        ("received_bytes", "Payload of streams received (without framing and encryption).", now.bytes_in),
        ("sent_bytes", "Payload of streams sent (without framing and encryption).", now.bytes_out),
        ("trainer_restarts", "Times the trainer was started again after a crash or hang.", now.trainer.restarts),
    ):
        yield CounterMetricFamily(f"murmuration_{name}", meaning, value=value)


def _events(now: Status) -> Iterator[Metric]:
    for name, meaning in EVENTS.items():
        yield CounterMetricFamily(f"murmuration_{name}", meaning, value=now.events.get(name, 0))


def _faults(now: Status) -> Metric:
    family = CounterMetricFamily("murmuration_faults", "Broken rules by kind, whoever broke them.", labels=["kind"])
    counts = dict.fromkeys((*FAULT_KINDS, "other"), 0)
    for kind, count in now.faults.items():
        counts[kind if kind in counts else "other"] += count
    for kind, count in counts.items():
        family.add_metric([kind], count)
    return family


def _gauges(now: Status) -> Iterator[Metric]:
    for name, meaning, value in (
        ("uptime_seconds", "Time since the daemon's start.", now.uptime_s),
        ("links", "Links to other members that are up.", now.num_links),
        ("neighbours", "Neighbours that the swarm's graph gives this peer.", now.num_neighbours),
        ("neighbours_linked", "Neighbours to which a link is up.", now.num_neighbours_linked),
        ("members", "Members that are alive, as far as this peer knows, itself included.", now.num_members),
        ("accuracy_local_ratio", "Accuracy after the own steps, before mixing, 0..1.", now.accuracy_local),
        ("accuracy_mixed_ratio", "Accuracy after mixing, 0..1.", now.accuracy_mixed),
        ("loss", "Training loss of the last round.", now.loss),
        ("disagreement_ratio", "Mean of ||v_j - x|| / ||x|| over what was mixed last.", now.disagreement),
        ("saved_age_seconds", "Age of the newest checkpoint on disk.", now.saved.age_s),
        ("trainer_resident_bytes", "Resident memory of the trainer process.", now.trainer.resident_bytes),
    ):
        family = GaugeMetricFamily(f"murmuration_{name}", meaning)
        if value is not None:  # not known yet: no sample, rather than a false 0
            family.add_metric([], value)
        yield family
