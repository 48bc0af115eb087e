"""Slow peers, waited for or not."""

from __future__ import annotations

from netsim.experiments.findings.experiment import Claim, Column, Experiment, Picture, Runs, Variation
from netsim.experiments.findings.figures import accuracy, when_reached, worst
from netsim.experiments.findings.pictures import curves

SEEDS = (0, 1, 2)
ROUNDS = 40
TARGET = 0.8

VARIATIONS = (
    Variation("quorum 0.66", "stragglers", {}, SEEDS),
    Variation("quorum 1", "stragglers", {"rounds.quorum": 1.0}, SEEDS),
    Variation("quorum 1, nobody slow", "stragglers", {"rounds.quorum": 1.0, "peers.classes": []}, SEEDS),
)

duration = when_reached("round_median", ROUNDS, lambda row: row.at_s)
until_target = when_reached("accuracy_mean", TARGET, lambda row: row.at_s)


def _claims(runs: Runs) -> list[Claim]:
    some, everybody, nobody_slow = (variation.name for variation in VARIATIONS)
    return [
        Claim(
            "seconds until the median peer is done, quorum 1 over 0.66",
            runs.paired([everybody, some], duration, lambda a, b: a / b), low=1.5, digits=2,
        ),
        Claim(
            "seconds until 80 % accuracy, quorum 1 over 0.66",
            runs.paired([everybody, some], until_target, lambda a, b: a / b), low=1.0, digits=2,
        ),
        Claim(
            "accuracy at the end, quorum 1 - 0.66",
            runs.paired([everybody, some], accuracy, lambda a, b: a - b), "0", -0.03, 0.03,
            remark="waiting for all is worth more per round than was thought; whether by the data of the slow or by "
            "more models in each mix is not told apart here.",
        ),
        Claim(
            "seconds until the median peer is done, quorum 0.66 over nobody slow",
            runs.paired([some, nobody_slow], duration, lambda a, b: a / b), "1", high=2.0, digits=2,
        ),
    ]  # fmt: skip


def _pictures(runs: Runs) -> list[Picture]:
    figure = curves(
        "A fifth of the peers is five times slower",
        dict(runs),
        x="at_s",
        y="accuracy_mean",
        x_label="seconds",
        y_label="accuracy in %",
        scale=100.0,
    )
    return [Picture("stragglers", "Mean over peers and seeds, with 95 % confidence over the seeds.", figure)]


EXPERIMENT = Experiment(
    name="stragglers",
    title="Stragglers and the quorum",
    question="What does it cost to wait for slow peers, and what not to?",
    setup="""\
100 peers on a random 6-regular graph, data by Dirichlet (alpha = 0.5), a fifth of them five times slower. A peer
mixes when it has the models of a quorum of its neighbours; what comes later counts in its next round, if it is at
most 3 rounds old.""",
    variations=VARIATIONS,
    columns=(
        Column("s until the median is done", duration, 1),
        Column("s until 80 %", until_target, 1),
        Column("accuracy", accuracy),
        Column("worst peer", worst),
    ),
    claims=_claims,
    pictures=_pictures,
)
