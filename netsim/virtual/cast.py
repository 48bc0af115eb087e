"""The cast of a scenario: every peer with its class, its share of the data, its speed and its access link."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from netsim.distributions import Distribution, draw, uniform_of
from netsim.distributions import registry as distributions
from netsim.scenario.population import PeerClass
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.stream import Stream
from peer.core.messages import PeerId
from topology.disruption import registry as targets
from topology.disruption.amount import rounded_share
from topology.graph import Graph
from topology.registry import Piece

OTHERS = "peers"
"""Name of the class of those whom no class takes."""


@dataclass
class Cast:
    """Peers 0 .. n − 1 of a run."""

    names: tuple[PeerId, ...]
    groups: tuple[str, ...]
    holds_data: list[bool]
    churns: list[bool]
    speed: list[float]
    up_bytes_s: list[float]
    down_bytes_s: list[float]
    attackers: tuple[int, ...]
    positions: dict[PeerId, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_limited(self) -> bool:
        """Whether any access link has a limit."""
        return any(math.isfinite(rate) for rates in (self.up_bytes_s, self.down_bytes_s) for rate in rates)


def names_of(count: int) -> tuple[PeerId, ...]:
    """Return the names of `count` peers; sorted as they are numbered."""
    digits = max(4, len(str(count - 1)))
    return tuple(PeerId(f"peer-{i:0{digits}d}") for i in range(count))


def key_of(name: PeerId) -> bytes:
    """Return what stands for the public key of a peer that has none; keys sort as names do."""
    return name.encode().ljust(32, b".")


def chosen(
    who: Piece,
    graph: Graph[PeerId],
    candidates: Sequence[PeerId],
    *,
    seed: int,
    positions: dict[PeerId, tuple[float, float]],
) -> tuple[PeerId, ...]:
    """Return whom a target hits; `seed` says for which purpose (`seed_for`)."""
    target = targets.build(who.name, who.params)
    return target.choose(graph, candidates, seed=seed, positions=positions)


def seed_for(seed: int, *purpose: str) -> int:
    """Return the seed of a draw of peers: two targets that say the same, said twice, hit different peers."""
    return Stream(seed, "who", *purpose).bits() >> 11  # 53 bits, as many as seeds have


def cast_of(
    scenario: Scenario,
    seed: int,
    names: tuple[PeerId, ...],
    graph: Graph[PeerId],
    positions: dict[PeerId, tuple[float, float]],
) -> Cast:
    """Return who is who in a run."""
    classes = _classes(scenario, seed, names, graph, positions)
    links = scenario.links
    normal = NormalDist()
    speed, up, down = [], [], []
    for name, mine in zip(names, classes, strict=True):
        spread = scenario.world.spread and scenario.world.spread * normal.inv_cdf(uniform_of(seed, "speed", name))
        speed.append((mine.speed if mine else 1.0) * math.exp(spread))
        up.append(_rate((mine and mine.up_bytes_s) or links.up_bytes_s, seed, "up", name))
        down.append(_rate((mine and mine.down_bytes_s) or links.down_bytes_s, seed, "down", name))
    index = {name: i for i, name in enumerate(names)}
    attackers: tuple[int, ...] = ()
    if scenario.attack.attack is not None:
        hit = chosen(scenario.attack.who, graph, names, seed=seed_for(seed, "attack"), positions=positions)
        attackers = tuple(sorted(index[name] for name in hit))
    return Cast(
        names=names,
        groups=tuple(mine.name if mine else OTHERS for mine in classes),
        holds_data=[mine.holds_data if mine else True for mine in classes],
        churns=[mine.churns if mine else True for mine in classes],
        speed=speed,
        up_bytes_s=up,
        down_bytes_s=down,
        attackers=attackers,
        positions=positions,
    )


def _classes(
    scenario: Scenario,
    seed: int,
    names: tuple[PeerId, ...],
    graph: Graph[PeerId],
    positions: dict[PeerId, tuple[float, float]],
) -> list[PeerClass | None]:
    taken: dict[PeerId, PeerClass] = {}
    for one in scenario.peers.classes:
        left = [name for name in names if name not in taken]
        if one.who is not None:
            hit = set(chosen(one.who, graph, names, seed=seed_for(seed, "class", one.name), positions=positions))
            taken |= {name: one for name in left if name in hit}
        else:
            assert one.share is not None
            count = rounded_share(one.share, len(names))
            left.sort(key=lambda name: uniform_of(seed, "class", one.name, name))
            taken |= dict.fromkeys(left[:count], one)
    return [taken.get(name) for name in names]


def _rate(piece: Piece | None, seed: int, what: str, name: PeerId) -> float:
    if piece is None:
        return math.inf
    return draw(distribution(piece), seed, what, name)


def distribution(piece: Piece) -> Distribution:
    """Build a distribution."""
    return distributions.build(piece.name, piece.params)
