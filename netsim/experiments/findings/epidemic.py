"""Random receivers in each round against a graph that stays, at equal traffic.

Source: [de Vos, Farhadkhani, Guerraoui, Kermarrec, Pires & Sharma 2023, Epidemic Learning: Boosting Decentralized
Learning with Randomized Communication].
"""

from __future__ import annotations

from netsim.experiments.findings.experiment import Claim, Column, Experiment, Picture, Runs, Variation
from netsim.experiments.findings.figures import accuracy, final, worst
from netsim.experiments.findings.pictures import MID_ROUND, curves_over_rounds

SEEDS = (0, 1, 2)
REGULAR = {"topology.family": {"name": "regular", "degree": 4}, "method.weights": {"name": "uniform"}}

consensus = final("consensus")


LATE = (
    "a peer to whom the draw gives no sender waits for the deadline (30 s), as an isolated device does; meanwhile the "
    "others are rounds ahead, what it then asks for is not served any more, and it skips rounds. That is our rounds, "
    "not the method, which has no deadline."
)


def _sampler(name: str, **params: object) -> dict[str, object]:
    return {**REGULAR, "topology.sampler": {"name": name, **params}}


VARIATIONS = (
    Variation("static, degree 4", "by-topology", REGULAR, SEEDS),
    Variation("epidemic (oracle), 4 each", "by-topology", _sampler("epidemic-oracle", degree=4), SEEDS),
    Variation("epidemic (local), 4 each", "by-topology", _sampler("epidemic-local", count=4), SEEDS),
)


def _claims(runs: Runs) -> list[Claim]:
    static, oracle, local = (variation.name for variation in VARIATIONS)
    return [
        Claim(
            "bytes, local over static",
            runs.paired([local, static], final("bytes_sent"), lambda a, b: a / b),
            "1",
            0.95,
            1.05,
            remark="as below.",
        ),
        Claim("accuracy, oracle - static", runs.paired([oracle, static], accuracy, lambda a, b: a - b), low=0.0),
        Claim(
            "accuracy, local - static", runs.paired([local, static], accuracy, lambda a, b: a - b), low=0.0, remark=LATE
        ),
        Claim(
            "worst peer, oracle - static",
            runs.paired([oracle, static], worst, lambda a, b: a - b),
            low=0.0,
            remark="three seeds do not tell: the worst of 64 peers varies more than the graphs differ.",
        ),
        Claim(
            "consensus distance, oracle over static",
            runs.paired([oracle, static], consensus, lambda a, b: a / b),
            high=1.0,
        ),
    ]


def _pictures(runs: Runs) -> list[Picture]:
    figure = curves_over_rounds("Accuracy at equal traffic", dict(runs))
    return [Picture("epidemic", MID_ROUND, figure)]


EXPERIMENT = Experiment(
    name="epidemic",
    title="Epidemic learning against a static graph",
    question=("Is it better to talk to other peers in every round than always to the same ones, for the same traffic?"),
    setup="""\
As in the experiment on topologies, with uniform weights over oneself and whoever was heard. Each peer sends its
model to four others per round: its neighbours in a random 4-regular graph (*static*), in a new such graph for each
round (*oracle*), or to four that it draws alone (*local*: some hear nobody in a round, others many).""",
    variations=VARIATIONS,
    columns=(
        Column("accuracy", accuracy),
        Column("worst peer", worst),
        Column("consensus", consensus, 4),
        Column("MB sent", lambda run: run.totals[-1].bytes_sent / 1e6, 1),
        Column("seconds", final("at_s"), 0),
        Column("rounds skipped", lambda run: float(run.record.counters.get("rounds_skipped", 0)), 1),
    ),
    claims=_claims,
    pictures=_pictures,
)
