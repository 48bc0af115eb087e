"""A hostile minority against the mean and against nearest-neighbour averaging.

Source: [Farhadkhani et al. 2023, Robust Collaborative Learning with Linear Gradient Overhead] (MoNNA); attacks: see
`aggregation/attacks/`.
"""

from __future__ import annotations

from typing import Any

from netsim.experiments.findings.experiment import Claim, Column, Experiment, Picture, Runs, Variation
from netsim.experiments.findings.figures import accuracy, final, worst
from netsim.experiments.findings.pictures import MID_ROUND, curves_over_rounds

SEEDS = (0, 1, 2)
RULES = {"mean": {"method.mixer": {"name": "linear"}, "method.weights": {"name": "uniform"}}, "NNA": {}}
ATTACKS: dict[str, dict[str, Any]] = {
    "nobody attacks": {"attack": {}},
    "sign flip": {"attack.attack": {"name": "sign-flip"}},
    "ALIE": {},
}
SHORTER = {"rounds.total": 60, "measure.every_rounds": 10}

VARIATIONS = tuple(
    Variation(f"{rule}, {attack}", "byzantine", {**SHORTER, **method, **settings}, SEEDS)
    for rule, method in RULES.items()
    for attack, settings in ATTACKS.items()
)


def _claims(runs: Runs) -> list[Claim]:
    def less(one: str, other: str) -> list[float | None]:
        return runs.paired([one, other], accuracy, lambda a, b: a - b)

    return [
        Claim("mean, nobody attacks", runs.figures("mean, nobody attacks", accuracy), "0.942", 0.907, 0.977),
        Claim("mean, sign flip: accuracy", runs.figures("mean, sign flip", accuracy), "0.10", high=0.3),
        Claim("NNA, sign flip: what it costs", less("NNA, nobody attacks", "NNA, sign flip"), "0.003", high=0.035),
        Claim("NNA, ALIE: what it costs", less("NNA, nobody attacks", "NNA, ALIE"), "0.003", high=0.035),
        Claim(
            "price of NNA where nobody attacks",
            less("mean, nobody attacks", "NNA, nobody attacks"),
            "0.003",
            high=0.035,
        ),
    ]


def _pictures(runs: Runs) -> list[Picture]:
    figure = curves_over_rounds("Five of 26 peers are hostile", dict(runs))
    return [Picture("byzantine", MID_ROUND, figure)]


EXPERIMENT = Experiment(
    name="byzantine",
    title="A Byzantine minority",
    question=(
        "Does a robust rule keep 21 honest peers learning with 5 who collude, and what does it cost where nobody does?"
    ),
    setup="""\
26 peers, everybody's neighbour is everybody; one local step per round (momentum 0.9 in the damped form, lr 0.5,
batches of 25), 60 rounds. Five send what they agreed on, knowing all that the others send: a negative mean (*sign
flip*), or the mean shifted within the honest spread (*ALIE*). The rule is the plain mean, or the mean of the
nearest n - f (*NNA*, f = 5). Expected figures are those of an independent simulation of 20 nodes with 4 attackers
(docs/methods.md).""",
    variations=VARIATIONS,
    columns=(
        Column("accuracy", accuracy),
        Column("worst peer", worst),
        Column("consensus", final("consensus"), 4),
    ),
    claims=_claims,
    pictures=_pictures,
)
