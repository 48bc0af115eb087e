"""Any module for many rows: its forward pass as a function of its tensors, differentiated and mapped over the rows."""

# B rows, D entries of a model, N samples of a mini-batch, P samples that all rows see

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from aggregation.param_space import ParamSpace
from netsim.virtual.stacked.loans import Loans
from netsim.virtual.stacked.metric import metric_of_rows
from peer.errors import ConfigError
from peer.train.task import Data, Task

_DROPOUTS = nn.modules.dropout._DropoutNd

Named = dict[str, Tensor]


class FunctionalModel:
    """`StackedModel` of any module without running statistics.

    Dropout draws one mask for each row from torch's default generator: not the masks that the daemon's peers draw.
    """

    def __init__(self, task: Task, model: nn.Module, space: ParamSpace) -> None:
        _refuse_statistics(model)
        space.flatten(model)  # raises unless the space is of this model
        self.space = space
        self.draws = any(map(_draws, model.modules()))
        self._task = task
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._dtypes = {segment.name: tensors[segment.name].dtype for segment in space.segments}
        self._trained = [segment for segment in space.segments if segment.kind != "buffer"]
        self._buffers = [segment for segment in space.segments if segment.kind == "buffer"]
        pristine = copy.deepcopy(model)
        # A call swaps the module's tensors for those of the rows: no two threads may have the same module.
        self._modules = Loans(lambda: copy.deepcopy(pristine))

    def weighs(self, x: Tensor, inputs: Tensor, targets: Tensor) -> bool:  # noqa: ARG002  the interface
        """Return False: what a loss makes of samples is its own business."""
        return False

    def gradient(
        self, x: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None, *, share: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `StackedModel`."""
        assert share is None
        views = self.space.views(x)
        trained = {segment.name: views.pop(segment.name) for segment in self._trained}
        with self._modules.loan() as module:
            module.train()

            def loss(trained: Named, fixed: Named, inputs: Tensor, targets: Tensor) -> Tensor:
                return self._task.loss(self._call(module, {**trained, **fixed}, inputs), targets)

            by_name, loss_B = self._map(grad_and_value(loss))(trained, views, inputs, targets)
        g_BD = torch.empty_like(x) if out is None else out
        for segment in self._trained:
            g_BD[:, segment.span] = by_name[segment.name].reshape(len(x), -1)
        for segment in self._buffers:
            g_BD[:, segment.span] = 0.0
        return g_BD, loss_B.detach()

    @torch.no_grad()
    def loss(
        self, x: Tensor, inputs: Tensor, targets: Tensor, *, training: bool = True, share: Tensor | None = None
    ) -> Tensor:
        """See `StackedModel`."""
        assert share is None
        with self._modules.loan() as module:
            module.train(training)

            def loss(named: Named, inputs: Tensor, targets: Tensor) -> Tensor:
                return self._task.loss(self._call(module, named, inputs), targets)

            loss_B: Tensor = self._map(loss)(self.space.views(x), inputs, targets)
        return loss_B

    def outputs(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See `StackedModel`."""
        return self._outputs(x, inputs, None)

    def outputs_of_own(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See `StackedModel`."""
        return self._outputs(x, inputs, 0)

    def metric(self, x: Tensor, data: Data) -> Tensor:
        """See `StackedModel`."""
        return metric_of_rows(self._task, self.outputs, x, data)

    @torch.no_grad()
    def _outputs(self, x: Tensor, inputs: Tensor, rows_of_inputs: int | None) -> Tensor:
        with self._modules.loan() as module:
            module.eval()

            def output(named: Named, inputs: Tensor) -> Tensor:
                return self._call(module, named, inputs)

            output_BP: Tensor = vmap(output, in_dims=(0, rows_of_inputs))(self.space.views(x), inputs)
        return output_BP

    def _call(self, module: nn.Module, named: Named, inputs: Tensor) -> Tensor:
        cast = {name: tensor.to(self._dtypes[name]) for name, tensor in named.items()}
        output: Tensor = functional_call(module, cast, (inputs,))
        return output

    def _map(self, function: Any) -> Any:
        """Map over rows; randomness that `draws` did not foresee, and so nobody seeded, is torch's error."""
        return vmap(function, randomness="different" if self.draws else "error")


def _refuse_statistics(model: nn.Module) -> None:
    for name, layer in model.named_modules():
        if getattr(layer, "running_mean", None) is not None:
            raise ConfigError(
                f"the model's layer {name or 'at the top'!r} ({type(layer).__name__}) keeps running statistics, which"
                " the simulator cannot keep for many peers: use track_running_stats=False, GroupNorm or LayerNorm"
            )


def _draws(layer: nn.Module) -> bool:
    if isinstance(layer, _DROPOUTS):
        return layer.p > 0
    share = getattr(layer, "dropout", 0.0)  # attention and recurrent layers
    return isinstance(layer, nn.RReLU) or (isinstance(share, float | int) and share > 0)
