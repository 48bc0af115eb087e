"""The disasters once more, on MNIST: whether the order of what hurts depends on the data.

Source: as `disaster.py`.
"""

from __future__ import annotations

from typing import Any

from netsim.experiments.findings.disaster import COLUMNS, FEW_SEEDS, REPAIRED, WORST, variations
from netsim.experiments.findings.experiment import SHOWN_PATH, Claim, Experiment, Runs
from netsim.experiments.findings.figures import accuracy

SAMPLES = 28
"""Samples of each device: as few as in the experiment on digits, where it cannot learn much alone."""


def experiment(path: str) -> Experiment:
    """Return it; `path` is the folder of MNIST's files, empty where there is none."""
    base: dict[str, Any] = {
        "task": {"name": "mnist-mlp"},
        "task.path": path or SHOWN_PATH,
        "data.samples_per_peer": SAMPLES,
        "measure.test_samples": 1000,
        "measure.every_rounds": 5,
    }
    return Experiment(
        name="disaster-mnist",
        title="Disaster on MNIST",
        question="Is it the same with other data and a model ten times as large?",
        setup=f"""\
As above with MNIST's files (the set of 10,000 images, a fifth of it for testing, of which 1,000 are used) and a
perceptron 784-64-10; each device has {SAMPLES} samples. There is no independent simulation of it: what is claimed
is the order.""",
        variations=variations(base, FEW_SEEDS, (WORST,)),
        columns=COLUMNS,
        claims=_claims,
        needs="" if path else "it needs MNIST's files, give their folder as `--mnist PATH`",
    )


def _claims(runs: Runs) -> list[Claim]:
    hubs, relays, data, random, leaves = (
        f"{who}, q = 0.3, t = 1" for who in ("hubs", "relays", "data", "random", "leaves")
    )

    def less(one: str, other: str) -> list[float | None]:
        return runs.paired([one, other], accuracy, lambda a, b: a - b)

    return [
        Claim("random - hubs", less(random, hubs), low=0.05),
        Claim("random - relays: connectivity alone", less(random, relays), low=0.03),
        Claim("data - relays: connectivity hurts more than data", less(data, relays), low=0.0),
        Claim("none - random: the network is robust", less("none", random), high=0.05),
        Claim("none - leaves", less("none", leaves), high=0.02),
        Claim("repaired - hubs", less(REPAIRED, hubs), low=0.05),
    ]
