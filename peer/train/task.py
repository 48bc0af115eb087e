"""What a team brings: a model, data, a loss and a metric.

A task is a class with a nested frozen `Config`, like every piece (`topology.registry`); outside packages announce
theirs in the entry-point group `murmuration.tasks`. **Import torch inside the methods, not at the top of the file**:
the daemon looks at names and parameters of tasks, and never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from topology.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn


class Data(NamedTuple):
    """N samples: `inputs` [N, ...] as the model takes them, `targets` [N, ...] as the loss takes them, on the CPU."""

    inputs: Tensor
    targets: Tensor


class Task(Protocol):
    """What is learned. Everything random in it must come from torch's default generator, which the trainer seeds."""

    metric_name: str
    """What `metric` measures, for people: "accuracy", ..."""

    def model(self) -> nn.Module:
        """Return a new model in its initial state: the same on every device, since the generator is seeded alike."""

    def train_data(self) -> Data:
        """Return the training set: this device's own, or a public one that the trainer takes this device's share of.

        To take a share by labels, targets must be integers [N].
        """

    def test_data(self) -> Data:
        """Return the set on which every peer measures."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss over a batch, a scalar that can be differentiated."""

    def metric(self, output: Tensor, target: Tensor) -> float:
        """Return the mean of the metric over a batch; larger is better."""


tasks: Registry[Task] = Registry(
    "task",
    "murmuration.tasks",
    {
        "digits-mlp": "peer.train.tasks.digits_mlp:DigitsMlp",
        "mnist-mlp": "peer.train.tasks.mnist_mlp:MnistMlp",
    },
)
"""All tasks by name."""
