"""The task's loss of every row's outputs, and its gradient by them: any loss, or cross-entropy by its closed form.

    ℓ_b = −1/N · Σ_n log p_bn[y_bn],    ∂ℓ_b/∂z_bn = (p_bn − e(y_bn)) / N,    p = softmax(z)

A task's loss is Python. That it is the mean cross-entropy is not asked for but watched: once for each shape it is run,
forward and backward, while every operation of torch that takes place is written down, with what goes in and what comes
out. Only if it is what `torch.nn.functional.cross_entropy` does, step by step, the closed form is used. A loss that
looks at values (an `if`, a scale) does something more, and is computed as it is written.
"""

# B rows, N samples of a mini-batch, C outputs

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from peer.train.task import Task

Step = tuple[str, list[Any], Any]
Loss = Callable[[Tensor, Tensor], Tensor]


class RowLoss:
    """`task.loss` of each row; safe to use from several threads."""

    def __init__(self, task: Task) -> None:
        self._loss: Loss = task.loss
        self._is_cross_entropy: dict[tuple[Any, ...], bool] = {}
        self._by_rows = vmap(task.loss, randomness="error")
        self._gradients = vmap(grad_and_value(task.loss), randomness="error")

    def loss(self, output: Tensor, target: Tensor, share: Tensor | None = None) -> Tensor:
        """Return the losses [B] of outputs [B, N, C] and targets [B, N, ...].

        `share` [B, N] is that of each sample in the mean, where the loss has a closed form; None: all alike.
        """
        if share is not None or self._has_closed_form(output, target):
            share = _alike(output) if share is None else share
            log_p = torch.log_softmax(output, dim=2).gather(2, target.unsqueeze(2)).squeeze(2)
            return (log_p * share).sum(dim=1).neg_()
        loss_B: Tensor = self._by_rows(output, target)
        return loss_B

    def gradient_(self, output: Tensor, target: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the gradients [B, N, C] by `output`, whose memory it may take, and the losses [B]."""
        if share is None and not self._has_closed_form(output, target):
            d_BNC, loss_B = self._gradients(output, target)
            return d_BNC, loss_B
        return cross_entropy_gradient_(output, target, _alike(output) if share is None else share)

    def _has_closed_form(self, output: Tensor, target: Tensor) -> bool:
        return output.ndim == 3 and self.is_cross_entropy_of(output.shape[1], output.shape[2], target)

    def is_cross_entropy_of(self, num_samples: int, num_classes: int, target: Tensor) -> bool:
        """Return whether the loss of float32 outputs [B, N, C] and `target` [B, N] has the closed form."""
        key = (num_samples, num_classes, target.shape[1:], target.dtype)
        known = self._is_cross_entropy.get(key)
        if known is None:
            known = is_cross_entropy(self._loss, torch.zeros(num_samples, num_classes), target[0])
            self._is_cross_entropy[key] = known
        # What cross_entropy ignores (targets -100) the closed form does not know.
        return known and int(target.min()) >= 0


def _alike(output: Tensor) -> Tensor:
    return output.new_full((1, 1), 1 / output.shape[1])


def cross_entropy_gradient_(output: Tensor, target: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients [B, N, C] of Σ_n share_n · cross-entropy_n by `output`, written over it, and the sums [B].

    `target` is int64 [B, N], `share` [B, N], or broadcasts to that.
    """
    y_BN1 = target.unsqueeze(2)
    log_p = torch.log_softmax(output, dim=2)
    loss_B = -(log_p.gather(2, y_BN1).squeeze(2) * share).sum(dim=1)
    d_BNC = torch.exp(log_p, out=output)
    d_BNC.scatter_add_(2, y_BN1, output.new_full((1, 1, 1), -1.0).expand(y_BN1.shape))
    return d_BNC.mul_(share.unsqueeze(2)), loss_B


def is_cross_entropy(loss: Loss, output: Tensor, target: Tensor) -> bool:
    """Return whether `loss` does, to tensors like `output` [N, C] and `target`, what `cross_entropy` does, and no more.

    Forward and backward are compared, operation by operation.
    """
    if output.ndim != 2 or target.dtype != torch.int64 or target.shape != output.shape[:1] or not output.numel():
        return False
    target = target.clamp(0, output.shape[1] - 1)
    return _record(loss, output, target) == _record(cross_entropy, output, target)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Writes down operations; a tensor is known by the place where it first occurred."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ditto
        self.steps: list[Step] = []
        self._seen: list[Tensor] = list(known)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        given = [self._name(arg) for arg in (*args, *sorted((kwargs or {}).items()))]
        result = func(*args, **(kwargs or {}))
        self.steps.append((str(func), given, self._name(result)))
        return result

    def _name(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            for place, seen in enumerate(self._seen):
                if seen is value:
                    return f"tensor {place}"
            self._seen.append(value)
            return f"tensor {len(self._seen) - 1} {value.dtype} {tuple(value.shape)}"
        if isinstance(value, tuple | list):
            return [self._name(part) for part in value]
        return repr(value)


def _record(loss: Loss, output: Tensor, target: Tensor) -> list[Step]:
    output = output.detach().clone().requires_grad_()
    target = target.detach().clone()
    with torch.enable_grad(), _Recorder(output, target) as recorder:
        torch.autograd.grad(loss(output, target), output)
        steps: list[Step] = recorder.steps
    return steps
