"""`swarm.toml`: everything that peers must agree on. Its hash is the swarm's id: peers that disagree never mix.

The hash is taken over what the file says, not how: formatting, comments, the order of keys and settings spelled out
at their defaults make no difference. Parameters of pieces (`degree = 4`) count as they are written, because a relay
must find the same id without having the piece installed.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from peer.config.knobs import Section, knob
from topology.registry import Piece

MIB = 1024**2


class MethodSettings(Section, frozen=True, kw_only=True):
    """What is done with models."""

    step: Annotated[Piece, knob("The local step, with its parameters.")] = Piece("sgd", {"lr": 0.1})
    mixer: Annotated[Piece, knob("How received models are mixed into the own one.")] = Piece("linear")
    weights: Annotated[Piece, knob("The weight of each neighbour's model in the mix.")] = Piece("metropolis")
    algorithm: Annotated[Piece, knob("What a peer keeps and sends besides its model, and how mixing changes it.")] = (
        Piece("gossip")
    )
    outer: Annotated[
        Piece | None,
        knob(
            "Outer optimizer, over the progress that a round made. Not set: the mix is the next model.",
            example={"name": "diloco"},
        ),
    ] = None
    selector: Annotated[
        Piece,
        knob("Which tensors of the model are trained and exchanged; the others keep their first values."),
    ] = Piece("all")
    local_epochs: Annotated[
        int,
        knob(
            "Passes over the own data per round.",
            ge=1,
            le=1000,
            larger="fewer bytes per step of training; models drift further apart between two mixings",
            smaller="more bytes; closer to training on all data in one place",
        ),
    ] = 1
    local_steps: Annotated[
        int,
        knob(
            "Local steps per round; 0: as many as local_epochs takes.",
            unit="steps",
            ge=0,
            le=1_000_000,
            larger="as for local_epochs",
            smaller="as for local_epochs",
        ),
    ] = 0
    gossip_steps: Annotated[
        int,
        knob(
            "Exchanges per round, each of them real; the local steps come before the first of them. In simulation "
            "only so far: a daemon takes 1.",
            unit="exchanges",
            ge=1,
            le=1000,
            larger="models agree better before training goes on; as many times the bytes",
            smaller="fewer bytes",
        ),
    ] = 1
    batch_size: Annotated[
        int,
        knob(
            "Samples per local step.",
            unit="samples",
            ge=1,
            le=1_000_000,
            larger="faster passes, more memory, fewer steps",
            smaller="noisier gradients, slower passes",
        ),
    ] = 32


class RoundSettings(Section, frozen=True, kw_only=True):
    """When a round ends."""

    total: Annotated[int, knob("Rounds until a peer is done; 0: for ever.", unit="rounds", ge=0, le=2**31)] = 0
    start_members: Annotated[
        int,
        knob(
            "A peer that has not trained yet begins when it knows this many members with a trainer, itself included.",
            unit="members",
            ge=1,
            le=100_000,
            larger="the first rounds mix more; nothing happens until all are there",
            smaller="early peers train alone at first and the others catch up",
        ),
    ] = 1
    interval_s: Annotated[
        float,
        knob(
            "Least time from the beginning of a round to the beginning of the next one; 0: as fast as it goes.",
            unit="s",
            ge=0.0,
            le=86_400 * 7,
            larger="less traffic, work and wear of the disk; learning takes longer",
            smaller="a small model keeps its devices busy without a pause",
        ),
    ] = 0.0
    quorum: Annotated[
        float,
        knob(
            "A peer mixes as soon as it has models of this round from ceil(quorum * linked neighbours).",
            ge=0.0,
            le=1.0,
            larger="slow neighbours are waited for, up to the deadline",
            smaller="fewer models in each mix; 0 never waits",
        ),
    ] = 0.75
    deadline_s: Annotated[
        float,
        knob(
            "A peer mixes what it has when it waited for this long after its own local steps.",
            unit="s",
            ge=0.05,
            le=86_400,
            larger="a round with dead neighbours takes longer",
            smaller="slow neighbours are left out",
        ),
    ] = 10.0
    max_age_rounds: Annotated[
        int,
        knob(
            "A model that is more than this many rounds older than the own one is not mixed.",
            unit="rounds",
            ge=0,
            le=1_000_000,
            larger="slow peers count, with old models",
            smaller="slow peers are left out",
        ),
    ] = 3


class LimitSettings(Section, frozen=True, kw_only=True):
    """What a member may cost another one at most."""

    model_max_bytes: Annotated[
        int,
        knob(
            "Largest snapshot that is fetched.",
            unit="bytes",
            ge=1024,
            le=2**40,
            larger="a hostile member can cost more traffic and disk",
            smaller="must hold the model of the task: 4 bytes a parameter",
        ),
    ] = 256 * MIB
    norm_cap_factor: Annotated[
        float,
        knob(
            "A received model is refused when its norm is larger than this factor times the norm of the own one: "
            "||v|| > factor * max(||x||, 1).",
            ge=1.0,
            le=1e6,
            larger="a hostile model may move the mix further",
            smaller="honest models that are far ahead are refused",
        ),
    ] = 10.0
    max_members: Annotated[
        int,
        knob(
            "Most members that a peer keeps in mind; further ones are ignored.",
            unit="members",
            ge=2,
            le=100_000,
            larger="more memory and heartbeat traffic when somebody invents members",
            smaller="must hold the whole swarm",
        ),
    ] = 1024


class MembershipSettings(Section, frozen=True, kw_only=True):
    """Who is a member, and who is alive."""

    admission: Annotated[
        Literal["open"],
        knob("Who may join: open (everybody who has this file).", planned=("invite", "allow-list")),
    ] = "open"
    heartbeat_s: Annotated[
        float,
        knob(
            "How often a peer says that it is alive. Every member hears of it: a link carries about "
            "250 * members / heartbeat_s bytes per second.",
            unit="s",
            ge=0.05,
            le=3600,
            larger="deaths are noticed later",
            smaller="more traffic",
        ),
    ] = 2.0
    timeout_s: Annotated[
        float,
        knob(
            "A member whose heartbeat did not change for this long counts as gone: the graph is computed without it. "
            "At least three times heartbeat_s.",
            unit="s",
            ge=0.15,
            le=86_400,
            larger="rounds wait for dead neighbours for longer",
            smaller="a peer with a bad line leaves and joins again and again",
        ),
    ] = 15.0

    def __post_init__(self) -> None:
        if self.timeout_s < 3 * self.heartbeat_s:
            raise ValueError(f"timeout_s: {self.timeout_s:g} must be at least 3 * heartbeat_s ({self.heartbeat_s:g})")


class SwarmFile(Section, frozen=True, kw_only=True):
    """The whole of `swarm.toml`."""

    name: Annotated[str, knob("Name of the swarm, for people.", example="digits", min_length=1, max_length=64)]
    seed: Annotated[int, knob("Seed of everything that peers compute alike: first model, graph.", ge=0, le=2**53)] = 1
    task: Annotated[
        Piece,
        knob("What is learned: model, data and loss, with their parameters.", example={"name": "digits-mlp"}),
    ]
    topology: Annotated[Piece, knob("Who exchanges models with whom: a graph family with its parameters.")] = Piece(
        "regular", {"degree": 4}
    )
    method: MethodSettings = MethodSettings()
    rounds: RoundSettings = RoundSettings()
    limits: LimitSettings = LimitSettings()
    membership: MembershipSettings = MembershipSettings()


def canonical(swarm: SwarmFile) -> bytes:
    """Return the one spelling of what `swarm` says: sorted JSON, without what is at its default, `2.0` as `2`.

    So a version that adds a setting finds the old id for a file that does not use it. The price: a default, once
    released, can never change, or peers of two versions would agree on the id and not on the rule.
    """
    return msgspec.json.encode(_whole_numbers_as_int(_without_defaults(swarm)), order="sorted")


def swarm_id(swarm: SwarmFile) -> bytes:
    """Return the swarm's id: SHA-256 (32 bytes) of a prefix and the canonical form."""
    return hashlib.sha256(b"murmuration/swarm/1\0" + canonical(swarm)).digest()


def example_swarm() -> SwarmFile:
    """Return the swarm that `murmuration init` proposes: a small one that learns scikit-learn's digits."""
    return SwarmFile(name="digits", task=Piece("digits-mlp"), rounds=RoundSettings(interval_s=1.0))


def _without_defaults(section: Section) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        if value != field.default:
            said[field.name] = _without_defaults(value) if isinstance(value, Section) else msgspec.to_builtins(value)
    return said


def _whole_numbers_as_int(value: Any) -> Any:
    """Write 1 and 1.0 alike: TOML tells them apart, people do not."""
    if isinstance(value, dict):
        return {key: _whole_numbers_as_int(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_numbers_as_int(entry) for entry in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
