"""Plain gradient descent of many perceptrons, which needs no gradient.

    W_l ← W_l − η δ_lᵀ a_{l−1},    b_l ← b_l − η Σ_n δ_ln

With every layer's weights in memory of their own for the length of a round, each of these is one batched product that
adds to its result: nothing the size of a model is read or written besides the models. Rates and the shares of samples
in the mean go into δ of the outputs, from where they reach everything. The loss is cross-entropy.

Calls of torch that touch a few numbers cost as much as products here. So whatever can be done for all steps at once, or
once for all steps, is done before the loop.
"""

# B rows, N samples of a mini-batch, I inputs and O outputs of a layer, C outputs of the last, S steps

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from netsim.virtual.stacked.loans import Scratch

Activation = Literal["", "relu", "tanh"]
Weights = list[tuple[Tensor, Tensor | None]]
"""Of each layer: weights [B, O, I], and biases [B, 1, O] if it has any."""

relu_backward = torch.ops.aten.threshold_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


class PerceptronDescent:
    """Models on their way; `weights` are copied. The last layer has no activation."""

    def __init__(self, weights: Weights, activations: Sequence[Activation], num_samples: int, scratch: Scratch) -> None:
        self._activations = activations
        self._weights: Weights = []
        self._values: list[Tensor] = []
        self._gradients: list[Tensor] = []
        for place, (w_BOI, b_B1O) in enumerate(weights):
            own = scratch.empty(f"weight {place}", *w_BOI.shape, like=w_BOI).copy_(w_BOI)
            bias = None if b_B1O is None else scratch.empty(f"bias {place}", *b_B1O.shape, like=w_BOI).copy_(b_B1O)
            self._weights.append((own, bias))
            shape = (len(w_BOI), num_samples, w_BOI.shape[1])
            self._values.append(scratch.empty(f"value {place}", *shape, like=w_BOI))
            self._gradients.append(scratch.empty(f"gradient {place}", *shape, like=w_BOI))
        # Only the rows may share memory: torch multiplies matrices of stride 0 one by one.
        self._ones = self._values[0].new_ones(1, 1, num_samples).expand(len(self._values[0]), 1, num_samples)

    def write_back(self, weights: Weights) -> None:
        """Copy the models to where they came from."""
        for (there_BOI, bias_B1O), (w_BOI, b_B1O) in zip(weights, self._weights, strict=True):
            there_BOI.copy_(w_BOI)
            if bias_B1O is not None and b_B1O is not None:
                bias_B1O.copy_(b_B1O)

    def walk(self, inputs: Tensor, targets: Tensor, share: Tensor, rate: Tensor) -> Tensor:
        """Do a step for each of the S mini-batches; return the sum of their losses [B].

        `inputs` [S, B, N, I], `targets` int64 [S, B, N], `share` [S, B, N] (see `MiniBatches`), `rate` [B, 1].
        """
        scale_SBN1 = (share * rate).unsqueeze(3)
        target_SBN1 = targets.unsqueeze(3)
        log_p_SBN1 = torch.empty_like(scale_SBN1)
        output_BNC, d_BNC = self._values[-1], self._gradients[-1]
        forward = [w_BOI.mT for w_BOI, _ in self._weights]
        transposed = [d_BNO.mT for d_BNO in self._gradients]
        steps = zip(inputs, target_SBN1, scale_SBN1, scale_SBN1.neg(), log_p_SBN1, strict=True)
        for a_BNI, target_BN1, scale_BN1, minus_BN1, chosen_BN1 in steps:
            self._forward(a_BNI, forward)
            torch.log_softmax(output_BNC, 2, out=d_BNC)
            torch.gather(d_BNC, 2, target_BN1, out=chosen_BN1)
            d_BNC.exp_().mul_(scale_BN1).scatter_add_(2, target_BN1, minus_BN1)
            self._backward(a_BNI, transposed)
        return (log_p_SBN1.squeeze(3) * share).sum(dim=(0, 2)).neg_()

    def _forward(self, a_BNI: Tensor, forward: list[Tensor]) -> None:
        layers = zip(self._weights, forward, self._values, self._activations, strict=True)
        for (_, b_B1O), w_BIO, z_BNO, activation in layers:
            if b_B1O is None:
                torch.bmm(a_BNI, w_BIO, out=z_BNO)
            else:
                torch.baddbmm(b_B1O, a_BNI, w_BIO, out=z_BNO)
            if activation == "relu":
                z_BNO.relu_()
            elif activation == "tanh":
                z_BNO.tanh_()
            a_BNI = z_BNO

    def _backward(self, inputs: Tensor, transposed: list[Tensor]) -> None:
        """Move the layers from the last to the first, each after the one before it has got its gradient through it."""
        for place in reversed(range(len(self._weights))):
            w_BOI, b_B1O = self._weights[place]
            d_BNO = self._gradients[place]
            a_BNI = inputs
            if place:
                a_BNI, d_BNI = self._values[place - 1], self._gradients[place - 1]
                torch.bmm(d_BNO, w_BOI, out=d_BNI)
                activation = self._activations[place - 1]
                if activation == "relu":
                    relu_backward(d_BNI, a_BNI, 0, grad_input=d_BNI)
                elif activation == "tanh":
                    tanh_backward(d_BNI, a_BNI, grad_input=d_BNI)
            w_BOI.baddbmm_(transposed[place], a_BNI, alpha=-1.0)
            if b_B1O is not None:
                b_B1O.baddbmm_(self._ones, d_BNO, alpha=-1.0)
