"""A network that falls into halves and becomes whole again.

Source: the question of [Gilbert & Lynch 2002] for models: what two halves that go on alone cost, and whether it heals.
"""

from __future__ import annotations

from netsim.experiments.findings.experiment import Claim, Column, Experiment, Picture, Runs, Variation
from netsim.experiments.findings.figures import accuracy, at_time, final, worst
from netsim.experiments.findings.pictures import curves

SEEDS = (0, 1, 2)
BEGINS_S, HEALS_S = 60.0, 180.0

before = at_time("consensus", BEGINS_S)
apart = at_time("consensus", HEALS_S)
after = final("consensus")

VARIATIONS = (
    Variation("halves for 120 s", "partition-heal", {}, SEEDS),
    Variation("no partition", "partition-heal", {"timeline": []}, SEEDS),
)


def _claims(runs: Runs) -> list[Claim]:
    split, whole = (variation.name for variation in VARIATIONS)
    return [
        Claim(
            "consensus distance at the end of the partition over that without one",
            runs.paired([split, whole], apart, lambda a, b: a / b), low=1.5, digits=2,
        ),
        Claim(
            "consensus distance at the end over that without a partition",
            runs.paired([split, whole], after, lambda a, b: a / b), "1", 0.8, 1.25, 2,
        ),
        Claim(
            "accuracy at the end, without - with a partition",
            runs.paired([whole, split], accuracy, lambda a, b: a - b), "0", -0.02, 0.02,
        ),
    ]  # fmt: skip


def _pictures(runs: Runs) -> list[Picture]:
    figure = curves(
        "Halves from 60 s to 180 s",
        dict(runs),
        x="at_s",
        y="consensus",
        x_label="seconds",
        y_label="distance² from the mean model",
        log=True,
    )
    return [Picture("partition", "Consensus distance, mean over the seeds.", figure)]


EXPERIMENT = Experiment(
    name="partition",
    title="Partition, and what it leaves",
    question=("Do the models of two halves drift apart, and is anything of it left when the network has healed?"),
    setup="""\
60 peers on a random 4-regular graph, data by Dirichlet (alpha = 0.3), a round every 3 s. From second 60 to second
180 two random halves cannot reach each other: links across break, members of the other half are timed out; then
they are dialed again.""",
    variations=VARIATIONS,
    columns=(
        Column("consensus at 60 s", before, 4),
        Column("at 180 s", apart, 4),
        Column("at the end", after, 4),
        Column("accuracy at 180 s", at_time("accuracy_mean", HEALS_S)),
        Column("at the end", accuracy),
        Column("worst peer", worst),
    ),
    claims=_claims,
    pictures=_pictures,
)
