"""Gradients of many peers on their own mini-batches: what a local step of `aggregation` asks for, B rows at once."""

# B rows, D entries of a model, N samples of a mini-batch

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aggregation.seeding import Rng
from netsim.virtual.stacked.batches import RowBatches
from netsim.virtual.stacked.model import Descends, MiniBatches, StackedModel
from peer.train.task import Data

BLOCK_BYTES = 4 << 20
"""Inputs that are gathered at once for a round that is done in one call."""

_default_generator = threading.Lock()
"""Held while torch's default generator, of which there is one in a process, is seeded for somebody."""


class _Samples(NamedTuple):
    rows: Tensor | None
    inputs: Tensor
    targets: Tensor
    share: Tensor | None


class StackedOracle:
    """`aggregation.steps.Oracle` of B peers for one round; `shards[b]` has the places of row b's samples in `data`.

    Mini-batches are to the index those of the daemon's peers with the same generators. Several oracles may work at once
    in several threads, on one model and one set of data.

    Where the model draws (dropout), the masks of a call come from the first row's generator: they repeat with the seed,
    but depend on which rows share an oracle, and are not those that the daemon's peers draw, one by one. Such calls
    wait for each other.
    """

    def __init__(
        self,
        model: StackedModel,
        data: Data,
        shards: Sequence[Tensor],
        *,
        batch_size: int,
        epochs: int,
        steps: int,
        rng: Rng,
    ) -> None:
        self._model = model
        self._data = data
        self._rng = rng
        self._batches = RowBatches(shards, batch_size, epochs=epochs, steps=steps, rng=rng)
        self.H = self._batches.H
        """Number of steps of each row, int64 [B]."""
        self._gradient: Tensor | None = None
        self._num_calls = 0
        self._at = -1
        self._samples: list[_Samples] = []
        self._whole: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, h: int) -> tuple[Tensor, Tensor]:
        """Return the gradient [B, D] and the loss [B] at `x` [B, D] on mini-batch `h`; see `Oracle`."""
        if self._gradient is None:
            self._gradient = torch.empty_like(x)
        with self._seeded():
            whole, *rest = self._mini_batch(x, h)
            g_BD, loss_B = self._model.gradient(x, whole.inputs, whole.targets, self._gradient, share=whole.share)
            for some in rest:
                assert some.rows is not None
                g_bD, loss_b = self._model.gradient(x.index_select(0, some.rows), some.inputs, some.targets)
                g_BD.index_copy_(0, some.rows, g_bD)
                loss_B.index_copy_(0, some.rows, loss_b)
        return g_BD, loss_B

    def loss(self, x: Tensor, h: int) -> Tensor:
        """Return the loss [B] alone; see `LossOracle`."""
        with self._seeded():
            whole, *rest = self._mini_batch(x, h)
            loss_B = self._model.loss(x, whole.inputs, whole.targets, share=whole.share)
            for some in rest:
                assert some.rows is not None
                loss_b = self._model.loss(x.index_select(0, some.rows), some.inputs, some.targets)
                loss_B.index_copy_(0, some.rows, loss_b)
        return loss_B

    def descend(self, x: Tensor, H: Tensor, rate: Tensor) -> Tensor | None:
        """Do `H` [B] steps x ← x − rate · gradient in place; return the sum of the losses [B]. `rate` is [B, 1].

        None, and nothing done, where model or loss want them one by one. H may be less than `self.H`, not more.
        """
        targets = self._data.targets
        if not isinstance(self._model, Descends) or (not targets.is_floating_point() and int(targets.min()) < 0):
            return None  # what is no label may be ignored by the loss

        return self._model.descend(x, rate, self._blocks(H))

    def _blocks(self, H: Tensor) -> Iterator[MiniBatches]:
        index, share = self._batches.whole(H)
        if not len(index):
            return
        sample_bytes = self._data.inputs[:1].numel() * self._data.inputs.element_size()
        num_steps = max(1, BLOCK_BYTES // (index[0].numel() * sample_bytes))
        for chosen, part in zip(index.split(num_steps), share.split(num_steps), strict=True):  # type: ignore[no-untyped-call]
            yield MiniBatches(gather(self._data.inputs, chosen), gather(self._data.targets, chosen), part)

    def _mini_batch(self, x: Tensor, h: int) -> list[_Samples]:
        """Return the samples of all rows; then again those of rows that have fewer or more, if that matters."""
        if h != self._at:
            self._samples = self._weighed(x, h) or [
                _Samples(rows, *self._gather(index), None) for rows, index in self._batches.pieces(h)
            ]
            self._at = h
        return self._samples

    def _weighed(self, x: Tensor, h: int) -> list[_Samples] | None:
        """Return them at once with the share of each, or None: all are alike, or the model cannot weigh them."""
        if self._batches.is_full(h):
            return None
        if self._whole is None:
            self._whole = self._batches.whole(self.H)
        index, share = self._whole
        inputs, targets = self._gather(index[h])
        return [_Samples(None, inputs, targets, share[h])] if self._model.weighs(x, inputs, targets) else None

    def _gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return gather(self._data.inputs, index), gather(self._data.targets, index)

    @contextlib.contextmanager
    def _seeded(self) -> Iterator[None]:
        if not self._model.draws:
            yield
            return
        self._num_calls += 1
        seed = self._rng(0, f"training, call {self._num_calls}").initial_seed()
        with _default_generator, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield


def gather(whole: Tensor, index: Tensor) -> Tensor:
    """Return `whole[index]`, [*index.shape, ...]; four times as fast for small samples as torch's indexing."""
    return whole.index_select(0, index.reshape(-1)).view(*index.shape, *whole.shape[1:])
