"""What surrounds the peers of a scenario: graph, links, coming and going, and what happens at which time."""

from __future__ import annotations

from typing import Annotated, Literal

from peer.config.knobs import Section, knob
from topology.registry import Piece


class TopologySettings(Section, frozen=True, kw_only=True):
    """Who exchanges models with whom."""

    family: Annotated[Piece, knob("A graph family with its parameters.")] = Piece("regular", {"degree": 4})
    upkeep: Annotated[
        Literal["static", "overlay", "repair"],
        knob(
            "What becomes of the graph when members come and go. static: drawn once over all peers; who is not there "
            "is missing. overlay: each peer computes the graph of the members it knows anew, as daemons do. repair: "
            "static, but a peer with fewer than `repair_below` members left around it links to random members."
        ),
    ] = "static"
    repair_below: Annotated[
        int, knob("Fewest neighbours that a peer is content with under `repair`.", ge=1, le=1024)
    ] = 2
    sampler: Annotated[
        Piece,
        knob("With whom of them in each round: `static` is all neighbours; other samplers draw anew in every round."),
    ] = Piece("static")


class LinkSettings(Section, frozen=True, kw_only=True):
    """The network between the peers."""

    latency_s: Annotated[
        Piece, knob("One-way latency in seconds: a distribution, drawn once for each pair of peers.")
    ] = Piece("lognormal", {"median": 0.05, "sigma": 0.5})
    jitter_s: Annotated[
        Piece | None,
        knob(
            "Further delay of each message: a distribution. Not set: none.",
            example={"name": "exponential", "mean": 0.005},
        ),
    ] = None
    up_bytes_s: Annotated[
        Piece | None,
        knob(
            "Upload of each peer's access link in bytes per second: a distribution. Not set: unlimited.",
            example={"name": "constant", "value": 1e6},
        ),
    ] = None
    down_bytes_s: Annotated[
        Piece | None,
        knob(
            "Download of each peer's access link in bytes per second: a distribution. Not set: unlimited.",
            example={"name": "constant", "value": 5e6},
        ),
    ] = None
    loss: Annotated[
        float,
        knob(
            "Share of messages, and of transfers, that never arrive: what is left of loss above the transport.",
            ge=0.0,
            le=0.99,
            larger="more repetitions, more rounds that end by the deadline",
        ),
    ] = 0.0
    silence_s: Annotated[
        float,
        knob(
            "How long a dead link goes unnoticed: three times net.keepalive_s of a daemon.",
            unit="s",
            ge=0.0,
            le=86_400,
            larger="rounds wait for neighbours that are gone",
            smaller="short stalls look like death",
        ),
    ] = 6.0


class WorldSettings(Section, frozen=True, kw_only=True):
    """What the virtual world does in place of a real one."""

    membership: Annotated[
        Literal["directory", "gossip"],
        knob(
            "How peers learn of each other. directory: everybody hears of a newcomer at once, and of a death after "
            "membership.timeout_s, at no cost. gossip: the daemon's own heartbeats, message by message; for hundreds "
            "of peers, not thousands."
        ),
    ] = "directory"
    step_s: Annotated[
        Piece, knob("Time of one local step in seconds on a peer of speed 1: a distribution, drawn for each round.")
    ] = Piece("constant", {"value": 0.1})
    spread: Annotated[
        float,
        knob(
            "How much peers of one class differ in speed: the standard deviation of the logarithm of their speed.",
            ge=0.0,
            le=5.0,
            larger="stragglers",
        ),
    ] = 0.1


_Seconds = Annotated[float, knob("", ge=0.0, le=1e9)]
_Round = Annotated[int, knob("", ge=0, le=2**31)]


class Happening(Section, frozen=True, kw_only=True):
    """Something that happens at a time."""

    at_s: Annotated[
        _Seconds | None, knob("When, in virtual time. Either this or `at_round`.", unit="s", example=60.0)
    ] = None
    at_round: Annotated[
        _Round | None,
        knob("When the median of the peers that are there begins this round.", unit="rounds", example=10),
    ] = None
    event: Annotated[Piece, knob("What happens, with its parameters.", example={"name": "crash"})]

    def __post_init__(self) -> None:
        if (self.at_s is None) == (self.at_round is None):
            raise ValueError("at_s: give either at_s or at_round")
