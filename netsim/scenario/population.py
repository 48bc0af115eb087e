"""Who takes part in a scenario: peers, their classes, their data, their batteries, and who of them attacks."""

from __future__ import annotations

from typing import Annotated, Literal

from peer.config.knobs import Section, knob
from topology.registry import Piece

_Share = Annotated[float, knob("", ge=0.0, le=1.0)]


class PeerClass(Section, frozen=True, kw_only=True):
    """Peers that differ from the others. Of several classes that would take a peer the first one gets it."""

    name: Annotated[str, knob("Name of the class; curves can be grouped by it.", example="slow", max_length=64)]
    share: Annotated[
        _Share | None,
        knob("Share of all peers, drawn at random. Either this or `who`.", example=0.2),
    ] = None
    who: Annotated[
        Piece | None,
        knob(
            "Which peers: a target, chosen on the graph of the beginning. Either this or `share`.",
            example={"name": "hubs", "share": 0.1},
        ),
    ] = None
    speed: Annotated[
        float,
        knob("How fast they train: 2 takes half the time of `work.step_s`.", gt=0.0, le=1e6),
    ] = 1.0
    up_bytes_s: Annotated[
        Piece | None,
        knob(
            "Upload of their access links, a distribution; not set: as `links`.",
            example={"name": "constant", "value": 1e6},
        ),
    ] = None
    down_bytes_s: Annotated[
        Piece | None,
        knob(
            "Download of their access links, a distribution; not set: as `links`.",
            example={"name": "constant", "value": 1e7},
        ),
    ] = None
    holds_data: Annotated[
        bool,
        knob("Whether they have data and train; false: they mix and pass models on, nothing else (relays)."),
    ] = True
    churns: Annotated[bool, knob("Whether `churn` concerns them; false: they are always there.")] = True

    def __post_init__(self) -> None:
        if (self.share is None) == (self.who is None):
            raise ValueError("share: give either share or who")


class PeerSettings(Section, frozen=True, kw_only=True):
    """The population: everybody who is ever there."""

    count: Annotated[
        int,
        knob(
            "How many peers.",
            unit="peers",
            ge=1,
            le=100_000,
            larger="memory and time in proportion",
            smaller="graphs of few peers are not like large ones",
        ),
    ] = 100
    classes: Annotated[tuple[PeerClass, ...], knob("Peers that differ from the others.", max_length=32)] = ()

    def __post_init__(self) -> None:
        if sum(one.share or 0.0 for one in self.classes) > 1.0 + 1e-9:
            raise ValueError("classes: the shares sum to more than 1")
        names = [one.name for one in self.classes]
        if len(set(names)) < len(names):
            raise ValueError("classes: two classes have the same name")


class SplitSettings(Section, frozen=True, kw_only=True):
    """How the training set is split among the peers that hold data. Every sample goes to one of them."""

    how: Annotated[
        Literal["iid", "dirichlet", "shards", "groups"],
        knob(
            "iid: dealt out at random. dirichlet: by Dirichlet-distributed label shares. shards: sorted by label, cut "
            "into pieces of which each peer gets `shards_per_peer`. groups: by the natural groups of the task "
            "(writers, sites), whole groups to one peer."
        ),
    ] = "iid"
    alpha: Annotated[
        float,
        knob(
            "Concentration of the Dirichlet split.",
            gt=0.0,
            le=1e6,
            larger="peers have more similar data",
            smaller="peers have fewer labels each",
        ),
    ] = 0.5
    shards_per_peer: Annotated[
        int, knob("Pieces for each peer with `shards`: about as many labels.", ge=1, le=1000)
    ] = 2
    samples_per_peer: Annotated[
        int,
        knob(
            "Samples that each peer keeps of its share; 0: all. More than there are for it: samples are dealt out "
            "again, so that several peers have the same one (large simulations on small sets).",
            unit="samples",
            ge=0,
            le=10_000_000,
        ),
    ] = 0


class AttackSettings(Section, frozen=True, kw_only=True):
    """Peers that send what they should not. They know what all honest peers send, and agree among themselves."""

    attack: Annotated[Piece | None, knob("What they send. Not set: nobody attacks.", example={"name": "sign-flip"})] = (
        None
    )
    who: Annotated[Piece, knob("Which peers: a target, chosen on the graph of the beginning.")] = Piece(
        "random", {"share": 0.1}
    )
    from_s: Annotated[float, knob("When they begin.", unit="s", ge=0.0, le=1e9)] = 0.0


class BatterySettings(Section, frozen=True, kw_only=True):
    """Peers that run on a charge. One that is empty is gone, as in a crash."""

    who: Annotated[
        Piece | None,
        knob("Which peers: a target. Not set: nobody runs on a battery.", example={"name": "random", "share": 0.5}),
    ] = None
    capacity_j: Annotated[Piece, knob("Charge at the beginning in joules: a distribution, drawn for each peer.")] = (
        Piece("constant", {"value": 20_000.0})
    )
    idle_w: Annotated[float, knob("Power while there.", unit="watts", ge=0.0, le=1e6)] = 0.5
    train_w: Annotated[float, knob("Power on top of that while training.", unit="watts", ge=0.0, le=1e6)] = 4.0
    joules_per_mb: Annotated[
        float, knob("Energy of each million bytes that is sent or received.", unit="joules", ge=0.0, le=1e6)
    ] = 5.0
