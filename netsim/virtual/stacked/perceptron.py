"""Sequences of linear layers, ReLU and tanh for many rows, forward and backward by hand.

    z_l = a_{l−1} W_lᵀ + b_l,   a_l = φ_l(z_l)
    δ_l = ∂ℓ/∂z_l,   ∂ℓ/∂W_l = δ_lᵀ a_{l−1},   ∂ℓ/∂b_l = Σ_n δ_ln,   δ_{l−1} = (δ_l W_l) ∘ φ'_{l−1}

Each product is one batched matrix product over all rows. Weights are read where they lie, in the flat rows [B, D]: that
costs nothing. Gradients of weights are computed into memory of their own and then copied to their place: torch hands a
batched product to the BLAS only when the result is contiguous, and would else multiply row by row, half as fast.
"""

# B rows, D entries of a model, N samples of a mini-batch, I inputs and O (o in some layer) outputs of a layer

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aggregation.param_space import ParamSpace, Segment
from netsim.virtual.stacked.functional import FunctionalModel
from netsim.virtual.stacked.loans import Loans, Scratch
from netsim.virtual.stacked.metric import metric_of_rows
from netsim.virtual.stacked.model import MiniBatches
from netsim.virtual.stacked.perceptron_descent import (
    Activation,
    PerceptronDescent,
    Weights,
    relu_backward,
    tanh_backward,
)
from netsim.virtual.stacked.row_loss import RowLoss
from peer.train.task import Data, Task


class Layer(NamedTuple):
    """A linear layer and what follows it."""

    weight: Segment
    bias: Segment | None
    activation: Activation

    def shape(self, num_rows: int) -> tuple[int, int, int]:
        """(B, O, I)."""
        return num_rows, self.weight.shape[0], self.weight.shape[1]


def layers_of(model: nn.Module, space: ParamSpace) -> tuple[Layer, ...] | None:
    """Return the layers of `model`, or None unless this file can do what it does.

    It can when the model is an `nn.Sequential` of Flatten, Identity, Dropout with p = 0, Linear, ReLU and Tanh, with at
    most one activation, and that behind a Linear; when nothing else hangs on it (hooks, parametrizations, shared or
    frozen layers); and when all of it, float32, is in `space`.
    """
    if type(model) is not nn.Sequential or any(map(_has_hooks, model.modules())):
        return None
    segments = {segment.name: segment for segment in space.segments}
    layers: list[Layer] = []
    seen = 0
    for name, module in model.named_children():
        if type(module) is nn.Linear:
            weight, bias = segments.get(f"{name}.weight"), segments.get(f"{name}.bias")
            if weight is None or (module.bias is not None) != (bias is not None):
                return None
            layers.append(Layer(weight, bias, ""))
            seen += 1 + (bias is not None)
        elif type(module) in (nn.ReLU, nn.Tanh):
            if not layers or layers[-1].activation:
                return None
            layers[-1] = layers[-1]._replace(activation="relu" if type(module) is nn.ReLU else "tanh")
        elif not _does_nothing(module):
            return None
    parameters = list(model.parameters())
    whole = seen == len(segments) == len(parameters) and len(list(model.children())) == len(model)
    plain = all(p.dtype == torch.float32 and p.requires_grad for p in parameters)
    return tuple(layers) if layers and whole and plain else None


def _does_nothing(module: nn.Module) -> bool:
    """Return whether it leaves samples [N, I] alone."""
    if type(module) is nn.Flatten:
        return module.start_dim == 1 and module.end_dim == -1
    return type(module) is nn.Identity or (type(module) is nn.Dropout and module.p == 0)


def _has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds)


class StackedPerceptron:
    """`StackedModel` of `layers`, see `layers_of`. Inputs of more than one axis a sample are flattened."""

    draws = False

    def __init__(self, task: Task, model: nn.Module, space: ParamSpace, layers: Sequence[Layer]) -> None:
        self.space = space
        self._task = task
        self._layers = tuple(layers)
        self._flattens = any(type(module) is nn.Flatten for module in model.children())
        self._loss = RowLoss(task)
        self._general = FunctionalModel(task, model, space)
        self._scratch = Loans(Scratch)

    def weighs(self, x: Tensor, inputs: Tensor, targets: Tensor) -> bool:
        """See `StackedModel`: where the loss is cross-entropy."""
        if not self._takes(x, inputs) or targets.ndim != 2:
            return False
        return self._loss.is_cross_entropy_of(targets.shape[1], self._layers[-1].weight.shape[0], targets)

    def gradient(
        self, x: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None, *, share: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `StackedModel`."""
        if not self._takes(x, inputs):
            return self._general.gradient(x, inputs, targets, out, share=share)
        g_BD = torch.empty_like(x) if out is None else out
        with torch.no_grad(), self._scratch.loan() as scratch:
            weights = self._weights(x)
            values = self._forward(weights, inputs, scratch)
            output = values[-1]
            keeps = bool(self._layers[-1].activation)  # its derivative needs what it gave
            d_BNO, loss_B = self._loss.gradient_(output.clone() if keeps else output, targets, share)
            for layer, (d_BNo, a_BNI) in self._backward(weights, values, d_BNO.contiguous(), scratch):
                product_BOI = scratch.empty("product", *layer.shape(len(x)), like=x)
                torch.bmm(d_BNo.mT, a_BNI, out=product_BOI)
                _view(g_BD, layer.weight).copy_(product_BOI)
                if layer.bias is not None:
                    torch.sum(d_BNo, dim=1, out=_view(g_BD, layer.bias))
        return g_BD, loss_B

    @torch.no_grad()
    def descend(self, x: Tensor, rate: Tensor, steps: Iterator[MiniBatches]) -> Tensor | None:
        """See `Descends`."""
        loss_B = x.new_zeros(len(x))
        with self._scratch.loan() as scratch:
            descent: PerceptronDescent | None = None
            for block in steps:
                if descent is None:
                    if not self._can_descend(x, block):
                        return None
                    activations = [layer.activation for layer in self._layers]
                    descent = PerceptronDescent(self._weights(x), activations, block.targets.shape[2], scratch)
                loss_B += descent.walk(block.inputs.flatten(3), block.targets, block.share, rate)
            if descent is not None:
                descent.write_back(self._weights(x))
        return loss_B

    def _can_descend(self, x: Tensor, block: MiniBatches) -> bool:
        return not self._layers[-1].activation and self.weighs(x, block.inputs[0], block.targets[0])

    @torch.no_grad()
    def loss(
        self, x: Tensor, inputs: Tensor, targets: Tensor, *, training: bool = True, share: Tensor | None = None
    ) -> Tensor:
        """See `StackedModel`."""
        if not self._takes(x, inputs):
            return self._general.loss(x, inputs, targets, training=training, share=share)
        with self._scratch.loan() as scratch:
            return self._loss.loss(self._forward(self._weights(x), inputs, scratch)[-1], targets, share)

    def outputs(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See `StackedModel`."""
        return self.outputs_of_own(x, inputs.expand(len(x), *inputs.shape))

    @torch.no_grad()
    def outputs_of_own(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See `StackedModel`."""
        if not self._takes(x, inputs):
            return self._general.outputs_of_own(x, inputs)
        with self._scratch.loan() as scratch:
            return self._forward(self._weights(x), inputs, scratch)[-1].clone()

    def metric(self, x: Tensor, data: Data) -> Tensor:
        """See `StackedModel`."""
        return metric_of_rows(self._task, self.outputs, x, data)

    def _takes(self, x: Tensor, inputs: Tensor) -> bool:
        """Return whether inputs are samples [N, I] of the rows' dtype once they are flattened."""
        return inputs.dtype == x.dtype == torch.float32 and (inputs.ndim == 3 or (self._flattens and inputs.ndim > 3))

    def _weights(self, x: Tensor) -> Weights:
        """Return weights [B, O, I] and biases [B, 1, O] of the layers, as they lie in `x` [B, D]."""
        return [
            (_view(x, layer.weight), None if layer.bias is None else _view(x, layer.bias).unsqueeze(1))
            for layer in self._layers
        ]

    def _forward(self, weights: Weights, inputs: Tensor, scratch: Scratch) -> list[Tensor]:
        """Return the inputs and what each layer gives, [B, N, I] and [B, N, O]s; all but the inputs are scratch."""
        values = [inputs.flatten(2)]
        num_rows, num_samples = inputs.shape[:2]
        for place, (layer, (w_BOI, b_B1O)) in enumerate(zip(self._layers, weights, strict=True)):
            z_BNO = scratch.empty(f"value {place}", num_rows, num_samples, w_BOI.shape[1], like=w_BOI)
            if b_B1O is None:
                torch.bmm(values[-1], w_BOI.mT, out=z_BNO)
            else:
                torch.baddbmm(b_B1O, values[-1], w_BOI.mT, out=z_BNO)
            if layer.activation == "relu":
                z_BNO.relu_()
            elif layer.activation == "tanh":
                z_BNO.tanh_()
            values.append(z_BNO)
        return values

    def _backward(
        self, weights: Weights, values: list[Tensor], d_BNO: Tensor, scratch: Scratch
    ) -> Iterator[tuple[Layer, tuple[Tensor, Tensor]]]:
        """Yield each layer from the last, with gradients by what it computes [B, N, O], and its inputs [B, N, I].

        `d_BNO` are those by the outputs; it is written to. When a layer is yielded its weights are needed no more.
        """
        for place in reversed(range(len(self._layers))):
            layer = self._layers[place]
            if layer.activation == "relu":
                relu_backward(d_BNO, values[place + 1], 0, grad_input=d_BNO)
            elif layer.activation == "tanh":
                tanh_backward(d_BNO, values[place + 1], grad_input=d_BNO)
            d_BNI = d_BNO
            if place:
                d_BNI = scratch.empty(f"gradient {place}", *values[place].shape, like=d_BNO)
                torch.bmm(d_BNO, weights[place][0], out=d_BNI)
            yield layer, (d_BNO, values[place])
            d_BNO = d_BNI


def _view(x: Tensor, segment: Segment) -> Tensor:
    return x[:, segment.span].view(-1, *segment.shape)
