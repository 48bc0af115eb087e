"""Whether a scenario can be run, before anything runs: every name, every parameter, and what must fit together.

One line says what is wrong, with the path of the key. The graph is drawn under the first seed, since what a family
gives is known only then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from aggregation.algorithms import registry as algorithms
from aggregation.attacks import registry as attacks
from aggregation.delivery import Delivery, model_alone
from aggregation.errors import AggregationError
from aggregation.mixers import registry as mixers
from aggregation.outer import registry as outer
from aggregation.selectors import Selector
from aggregation.selectors import registry as selectors
from aggregation.steps import registry as steps
from aggregation.weights import registry as weights
from netsim.churn import registry as churns
from netsim.distributions import registry as distributions
from netsim.happenings import registry as happenings
from netsim.scenario.scenario_file import Scenario
from netsim.virtual.cast import chosen, names_of, seed_for
from netsim.virtual.protocol import protocols
from peer.core.messages import PeerId
from peer.errors import ConfigError, MurmurationError
from peer.train.task import tasks
from topology.disruption import registry as targets
from topology.errors import TopologyError
from topology.families import Family
from topology.families import registry as families
from topology.families.placed import Placed, scatter
from topology.graph import Graph
from topology.registry import Piece, Registry
from topology.samplers import registry as samplers

CONNECTED_BELOW = 20_001
"""Peers up to which the graph is drawn to see whether it is connected, and whom targets hit in it."""

NOT_GIVEN: Mapping[str, str] = {
    "dissensus": "knows whom its victims hear",
    "opt-alie": "tries what the victims would mix",
    "opt-ipm": "tries what the victims would mix",
}
"""Attacks that want to know more than attackers of a virtual world do."""


def check_scenario(scenario: Scenario, source: str) -> None:
    """Raise `ConfigError`, beginning with `source` and the path of the key, for a scenario that cannot be run."""
    for path, check in _checks(scenario):
        try:
            check()
        except (TopologyError, AggregationError, MurmurationError, ValueError) as error:
            where = f"{path}: " if path else ""
            raise ConfigError(f"{source}: {where}{error}") from error


def _checks(scenario: Scenario) -> Iterator[tuple[str, Callable[[], object]]]:
    def built(registry: Registry[Any], piece: Piece) -> Callable[[], object]:
        return lambda: registry.build(piece.name, piece.params)

    def checked(registry: Registry[Any], piece: Piece) -> Callable[[], object]:
        return lambda: registry.check(piece.name, piece.params)

    first = _First(scenario)
    yield "task", built(tasks, scenario.task)
    yield "protocol", built(protocols, scenario.protocol)
    for number, one in enumerate(scenario.peers.classes):
        path = f"peers.classes[{number}]"
        if one.who is not None:
            yield f"{path}.who", built(targets, one.who)
        for key in ("up_bytes_s", "down_bytes_s"):
            if (piece := getattr(one, key)) is not None:
                yield f"{path}.{key}", built(distributions, piece)
    yield "topology.family", built(families, scenario.topology.family)
    yield "topology.sampler", built(samplers, scenario.topology.sampler)
    method = scenario.method
    yield "method.step", checked(steps, method.step)
    yield "method.mixer", checked(mixers, method.mixer)
    yield "method.weights", checked(weights, method.weights)
    yield "method.algorithm", checked(algorithms, method.algorithm)
    if method.outer is not None:
        yield "method.outer", checked(outer, method.outer)
    yield "method.selector", checked(selectors, method.selector)
    yield "method.selector", lambda: _check_selector(scenario)
    yield "method.algorithm", lambda: _check_channels(scenario)
    yield "", lambda: _check_events(scenario)
    for key in ("latency_s", "jitter_s", "up_bytes_s", "down_bytes_s"):
        if (piece := getattr(scenario.links, key)) is not None:
            yield f"links.{key}", built(distributions, piece)
    yield "world.step_s", built(distributions, scenario.world.step_s)
    if scenario.churn is not None:
        yield "churn", lambda: _check_churn(scenario)
    if scenario.battery.who is not None:
        yield "battery.who", built(targets, scenario.battery.who)
    yield "battery.capacity_j", built(distributions, scenario.battery.capacity_j)
    if scenario.attack.attack is not None:
        yield "attack.attack", lambda: _check_attack(scenario)
    yield "attack.who", built(targets, scenario.attack.who)
    for number, entry in enumerate(scenario.timeline):
        yield f"timeline[{number}].event", built(happenings, entry.event)
        yield f"timeline[{number}].at_round", lambda entry=entry: _check_round(entry.at_round, scenario)  # type: ignore[misc]
        yield f"timeline[{number}].at_s", lambda entry=entry: _check_time(entry.at_s, scenario)  # type: ignore[misc]
    yield "topology.upkeep", lambda: _check_upkeep(scenario)
    yield "", lambda: _check_end(scenario)
    for path, who in _targets(scenario):
        yield path, lambda who=who: _check_names(who, scenario)  # type: ignore[misc]
    yield "topology.family", lambda: _check_graph(scenario, first)
    if scenario.peers.count < CONNECTED_BELOW:
        for number, one in enumerate(scenario.peers.classes):
            if one.who is not None:
                yield (
                    f"peers.classes[{number}].who",
                    lambda one=one: _check_hits(one.who, first.hit(one.who, "class", one.name)),  # type: ignore[misc]
                )
        if (runs := scenario.battery.who) is not None:
            yield "battery.who", lambda: _check_hits(runs, first.hit(runs, "battery"))
        if scenario.attack.attack is not None:
            yield "attack.who", lambda: _check_attackers(scenario, first.hit(scenario.attack.who, "attack"))


def _targets(scenario: Scenario) -> Iterator[tuple[str, Piece]]:
    """Yield every target of a scenario with its path."""
    for number, one in enumerate(scenario.peers.classes):
        if one.who is not None:
            yield f"peers.classes[{number}].who", one.who
    if scenario.battery.who is not None:
        yield "battery.who", scenario.battery.who
    if scenario.attack.attack is not None:
        yield "attack.who", scenario.attack.who
    for number, entry in enumerate(scenario.timeline):
        if isinstance(who := entry.event.params.get("who"), dict) and isinstance(who.get("name"), str):
            params = {key: value for key, value in who.items() if key != "name"}
            yield f"timeline[{number}].event.who", Piece(who["name"], params)


def _check_names(who: Piece, scenario: Scenario) -> None:
    """Refuse a list of peers that has a name which no peer has."""
    if who.name != "listed":
        return
    names = names_of(scenario.peers.count)
    for name in who.params.get("peers", ()):
        if name not in names:
            raise ValueError(f"there is no peer {name!r}; they are called {names[0]} to {names[-1]}")


def _check_selector(scenario: Scenario) -> None:
    choice = scenario.method.selector
    if selectors.is_builtin(choice.name) and selectors.piece(choice.name).mask is not Selector.mask:
        raise ValueError(
            f"selector {choice.name!r} sends a part of the model in each message, which no world carries yet"
        )


def _check_channels(scenario: Scenario) -> None:
    piece = scenario.method.algorithm
    channels = algorithms.build(piece.name, piece.params).channels
    carried = {
        "pairs": all(channel.delivery is Delivery.PAIR for channel in channels),
        "pushes": all(channel.delivery is Delivery.MASS for channel in channels),
        "modest": model_alone(channels) and piece.name == "gossip",
    }
    if not carried.get(scenario.protocol.name, model_alone(channels)):
        sent = ", ".join(f"{channel.name} ({channel.delivery.value})" for channel in channels)
        raise ValueError(
            f"algorithm {piece.name!r} sends {sent}, which protocol {scenario.protocol.name!r} does not carry"
        )


def _check_events(scenario: Scenario) -> None:
    """Refuse, for peers that do not count rounds together, what is done once per common round."""
    name, method = scenario.protocol.name, scenario.method
    if name not in ("pairs", "pushes"):
        return
    if method.outer is not None:
        raise ValueError(f"method.outer: protocol {name!r} has no end of a round at which an outer step could be taken")
    if method.gossip_steps != 1:
        raise ValueError(f"method.gossip_steps: protocol {name!r} has no gossip steps, it exchanges all the time")
    if scenario.attack.attack is not None:
        raise ValueError(f"attack.attack: no attack is written for protocol {name!r} yet")


def _check_round(at_round: int | None, scenario: Scenario) -> None:
    total = scenario.rounds.total
    if at_round is not None and total and at_round > total:
        raise ValueError(f"{at_round} is never reached: rounds.total is {total}")


def _check_time(at_s: float | None, scenario: Scenario) -> None:
    end_s = scenario.stop.time_s
    if at_s is not None and end_s and at_s > end_s:
        raise ValueError(f"{at_s:g} is never reached: stop.time_s is {end_s:g}")


def _check_churn(scenario: Scenario) -> None:
    assert scenario.churn is not None
    churns.build(scenario.churn.name, scenario.churn.params).require(names_of(scenario.peers.count))


def _check_attack(scenario: Scenario) -> None:
    piece = scenario.attack.attack
    assert piece is not None
    attacks.build(piece.name, piece.params)
    if attacks.is_builtin(piece.name) and piece.name in NOT_GIVEN:
        raise ValueError(f"attack {piece.name!r} {NOT_GIVEN[piece.name]}, which attackers of a virtual world do not")


def _check_upkeep(scenario: Scenario) -> None:
    if scenario.topology.upkeep == "repair" and scenario.world.membership == "gossip":
        raise ValueError('"repair" is done by a directory, which sees all: set world.membership = "directory"')


def _check_hits(who: Piece, hit: Collection[str]) -> None:
    """Refuse a target that hits nobody, unless it says so: a sweep over shares may well begin with 0."""
    if not hit and 0 not in (who.params.get("share"), who.params.get("count")):
        raise ValueError("hits nobody under the first seed")


def _check_attackers(scenario: Scenario, hit: Collection[str]) -> None:
    _check_hits(scenario.attack.who, hit)
    if len(hit) == scenario.peers.count:
        raise ValueError("everybody attacks, and there is nobody to be attacked")


def _check_end(scenario: Scenario) -> None:
    if not (scenario.rounds.total or scenario.stop.time_s):
        raise ConfigError("nothing ends this scenario: set rounds.total or stop.time_s")


class _First:
    """What a scenario gives under its first seed, drawn when it is asked for."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._seed = scenario.seeds[0]
        self._names = names_of(scenario.peers.count)

    @cached_property
    def _family(self) -> Family:
        piece = self._scenario.topology.family
        return families.build(piece.name, piece.params)

    @cached_property
    def graph(self) -> Graph[PeerId]:
        """The graph over all peers."""
        return self._family.build(self._names, self._seed)

    def hit(self, who: Piece, *purpose: str) -> tuple[PeerId, ...]:
        """Return whom a target hits when all are there."""
        place = self._family.positions if isinstance(self._family, Placed) else scatter
        positions = place(self._names, self._seed)
        return chosen(who, self.graph, self._names, seed=seed_for(self._seed, *purpose), positions=positions)


def _check_graph(scenario: Scenario, first: _First) -> None:
    """Refuse a graph that is in parts from the beginning, and a rule whose condition no neighbourhood meets."""
    if scenario.peers.count >= CONNECTED_BELOW:
        return
    sampler = samplers.build(scenario.topology.sampler.name, scenario.topology.sampler.params)
    graph = first.graph
    needs_graph = scenario.protocol.name == "pairs" or (scenario.protocol.name == "rounds" and not sampler.changes)
    if needs_graph and not graph.is_connected():
        raise ValueError("the graph is not connected under the first seed: some peers can never hear of others")
    if needs_graph and mixers.is_builtin(scenario.method.mixer.name):
        most = max(graph.degree(name) for name in graph.nodes)
        mixers.build(scenario.method.mixer.name, scenario.method.mixer.params).require(most + 1)
