"""`scenario.toml`: one experiment. Everything has a default but the name, so that a file says what is special.

`task`, `method`, `rounds`, `limits` and `membership` are the tables of `swarm.toml`, word for word: a scenario is a
swarm, the people and machines in it, the network between them, and what befalls them.
"""

from __future__ import annotations

from typing import Annotated

from netsim.scenario.population import AttackSettings, BatterySettings, PeerSettings, SplitSettings
from netsim.scenario.surroundings import Happening, LinkSettings, TopologySettings, WorldSettings
from peer.config.knobs import Section, knob
from peer.config.swarm_file import LimitSettings, MembershipSettings, MethodSettings, RoundSettings
from topology.registry import Piece

Seed = Annotated[int, knob("A seed.", ge=0, le=2**53)]


class StopSettings(Section, frozen=True, kw_only=True):
    """When a run ends: when all peers that are there have done `rounds.total` rounds, or earlier by one of these."""

    time_s: Annotated[float, knob("Virtual time; 0: no limit.", unit="s", ge=0.0, le=1e9, example=3600.0)] = 0.0
    accuracy: Annotated[
        float,
        knob("Mean accuracy over the peers that are measured; 0: none. Looked at when measuring.", ge=0.0, le=1.0),
    ] = 0.0


class MeasureSettings(Section, frozen=True, kw_only=True):
    """What is measured, and when. Always at the beginning and at the end; never in between for free."""

    every_s: Annotated[
        float,
        knob(
            "Virtual time between two measurements; 0: by rounds.",
            unit="s",
            ge=0.0,
            le=1e9,
            larger="coarser curves",
            smaller="evaluating costs about as much as training on twice the test set",
        ),
    ] = 0.0
    every_rounds: Annotated[
        int,
        knob(
            "Rounds (of the median peer) between two measurements, unless every_s is set.",
            unit="rounds",
            ge=1,
            le=2**31,
            larger="coarser curves",
            smaller="slower runs",
        ),
    ] = 1
    peers: Annotated[
        int,
        knob(
            "How many peers are evaluated, drawn once; 0: all.",
            unit="peers",
            ge=0,
            le=100_000,
            larger="more exact quantiles",
            smaller="faster runs",
        ),
    ] = 0
    test_samples: Annotated[
        int, knob("Test samples that are used, drawn once; 0: all.", unit="samples", ge=0, le=10_000_000)
    ] = 0
    merged: Annotated[bool, knob("Whether the mean of all models is evaluated too.")] = True


class Scenario(Section, frozen=True, kw_only=True):
    """The whole of `scenario.toml`."""

    name: Annotated[
        str,
        knob(
            "Name of the experiment, for people and for folders.",
            example="hub-loss",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        ),
    ]
    about: Annotated[str, knob("What it is for, in a sentence or two.", max_length=4096)] = ""
    seeds: Annotated[
        tuple[Seed, ...],
        knob(
            "A run for each of them. All that is random in a run follows from its seed.",
            min_length=1,
            max_length=10_000,
        ),
    ] = (1,)
    task: Annotated[Piece, knob("What is learned: model, data and loss.")] = Piece("digits-mlp")
    protocol: Annotated[
        Piece,
        knob(
            "How peers exchange. rounds: train, publish, gather, mix, as the daemon does. modest: MoDeST's samples of "
            "participants and aggregators. pairs: two at a time at random instants, training in between."
        ),
    ] = Piece("rounds")
    peers: PeerSettings = PeerSettings()
    data: SplitSettings = SplitSettings()
    topology: TopologySettings = TopologySettings()
    method: MethodSettings = MethodSettings()
    rounds: RoundSettings = RoundSettings(total=50)
    links: LinkSettings = LinkSettings()
    membership: MembershipSettings = MembershipSettings()
    limits: LimitSettings = LimitSettings()
    world: WorldSettings = WorldSettings()
    churn: Annotated[
        Piece | None,
        knob(
            "Coming and going of peers. Not set: all are there from the beginning to the end.",
            example={"name": "trace", "file": "sessions.csv"},
        ),
    ] = None
    battery: BatterySettings = BatterySettings()
    attack: AttackSettings = AttackSettings()
    timeline: Annotated[tuple[Happening, ...], knob("What happens, and when.", max_length=1000)] = ()
    stop: StopSettings = StopSettings()
    measure: MeasureSettings = MeasureSettings()

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            twice = next(seed for place, seed in enumerate(self.seeds) if seed in self.seeds[:place])
            raise ValueError(f"seeds: {twice} is there twice")
