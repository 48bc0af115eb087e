"""All experiments, in the order of the page."""

from __future__ import annotations

from netsim.experiments.findings import (
    byzantine,
    disaster,
    disaster_mnist,
    epidemic,
    modest_crash,
    partition,
    stragglers,
    topologies,
)
from netsim.experiments.findings.experiment import Experiment


def experiments(*, mnist: str = "") -> tuple[Experiment, ...]:
    """Return all experiments; `mnist` is the folder of MNIST's files, empty where there is none."""
    return (
        disaster.EXPERIMENT,
        disaster.MATCHED,
        disaster_mnist.experiment(mnist),
        modest_crash.EXPERIMENT,
        topologies.EXPERIMENT,
        epidemic.EXPERIMENT,
        partition.EXPERIMENT,
        stragglers.EXPERIMENT,
        byzantine.EXPERIMENT,
    )
