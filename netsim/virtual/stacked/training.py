"""Local steps of many peers: their rows of a store in chunks, several at once.

Chunks are small enough for what a step touches (model, gradient, update) to stay in the cache, and large enough for
the cost of calling torch to vanish. How rows are cut depends on the rows alone, and what a chunk computes on nothing
else: so the result is the same, to the bit, whatever the number of threads and whichever chunk is ready first.
"""

# B rows

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from aggregation.hood import Ctx
from aggregation.method import Method
from aggregation.steps.base import Oracle
from aggregation.store import Store
from netsim.virtual.stacked.descent import delegated

CHUNK_ROWS = 64
"""Rows of a chunk at most."""

OracleOf = Callable[[Tensor, Ctx], Oracle]
"""(rows int64 [b], their context): the oracle of these rows for the round."""


def train_rows(
    method: Method,
    st: Store,
    rows: Tensor,
    H: Tensor,
    oracle_of: OracleOf,
    ctx_of: Callable[[Tensor], Ctx],
    *,
    threads: int = 1,
    chunk_rows: int = CHUNK_ROWS,
) -> Tensor:
    """Do `H` [B] local steps on the rows `rows` (int64 [B], no repeats) of `st`; return mean losses, float64 [B].

    `oracle_of` and `ctx_of` are asked for the rows of a chunk, from several threads at once. As in the trainer, a row
    whose model is not finite afterwards stays as it was, and its loss is NaN. Rows with about as many steps share a
    chunk, since a chunk takes as long as its longest.
    """
    method = delegated(method)
    order = H.argsort(stable=True)
    loss_B = torch.full(H.shape, torch.nan, dtype=torch.float64)
    num_chunks = -(-len(rows) // chunk_rows)
    turn = threading.Lock()

    def train(places: Tensor) -> None:
        ids = rows[places]
        ctx = ctx_of(ids)
        with turn:
            sub = st.take(ids)
        loss_b = method.train(sub, oracle_of(ids, ctx), H[places], ctx)
        fine = finite_rows(sub["x"])
        if not bool(fine.all()):
            kept = fine.nonzero()[:, 0]
            ids, sub, loss_b = ids[kept], sub.take(kept), loss_b.masked_fill(~fine, torch.nan)
        with turn:
            for name in sorted(set(st) - set(sub)):  # made by another chunk since: what a row has not touched is zero
                sub[name] = st[name].new_zeros((len(ids), *st[name].shape[1:]))
            st.put(ids, sub)
        loss_B[places] = loss_b

    with _one_thread_per_operation():
        chunks = order.tensor_split(num_chunks) if num_chunks else ()
        if threads == 1 or num_chunks == 1:
            for places in chunks:
                train(places)
        else:
            with ThreadPoolExecutor(threads, thread_name_prefix="train-rows") as pool:
                for done in [pool.submit(train, places) for places in reversed(chunks)]:  # the longest first
                    done.result()
    return loss_B


def finite_rows(x: Tensor) -> Tensor:
    """Return which rows of `x` [B, D] hold nothing but finite numbers, [B] bool."""
    fine_B = x.sum(dim=1).isfinite()
    doubtful = (~fine_B).nonzero()[:, 0]  # a sum may overflow, too
    fine_B[doubtful] = x[doubtful].isfinite().all(dim=1)
    return fine_B


@contextlib.contextmanager
def _one_thread_per_operation() -> Iterator[None]:
    """Have torch's operations not split up among threads: there are chunks enough for all."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
