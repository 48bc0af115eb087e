"""Learning by events, put off and done in batches: what `plan_pairs.py` and `plan_pushes.py` have in common.

As in `plan.py` what shells ask for is written down as work with a level, one more than the highest level of what it
reads; work of one level and kind is one batched call. Here work is an event of one peer: it reads and writes the state
of that peer, so that a peer has one event per level, and may read or write copies (`copies.py`). Before an event the
time since the peer's event before is let pass, as `Algorithm.advance` has it.

Time is in units of one mean duration of local steps, as the algorithms in continuous time count it.
"""

# B nodes of a batch, D entries of a model

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aggregation.hood import Ctx
from aggregation.method import Method
from aggregation.seeding import rows_rng
from aggregation.store import Store
from netsim.virtual.cohort import Cohort
from netsim.virtual.conserved import conserved_by
from netsim.virtual.copies import Copies
from netsim.virtual.evaluation import Evaluation
from netsim.virtual.learning import Version
from peer.store.tensor_file import snapshot_size

MAX_BATCH = 256
MIN_WINDOW = 1024


class Work(NamedTuple):
    """One event of one peer. `dt`: units of time since its last one; `reads`, `writes`: rows of copies."""

    peer: int
    round: int
    at: float
    dt: float
    reads: tuple[int, ...]
    writes: tuple[int, ...]


class _Copy(NamedTuple):
    row: int
    level: int


class PlannedEvents(Evaluation):
    """States of all peers and copies. `cohort` trains and evaluates, `method` has the hooks."""

    def __init__(
        self,
        cohort: Cohort,
        method: Method,
        *,
        swarm: bytes,
        seed: int,
        names: Sequence[str],
        total_rounds: int,
    ) -> None:
        n = len(names)
        self._cohort = cohort
        self._method = method
        self._swarm = swarm
        self._seed = seed
        self._names = names
        self._total_rounds = total_rounds
        self._window = max(MIN_WINDOW, n)
        self._copies = Copies()
        self._of_version: dict[Version, _Copy] = {}
        self._holders: dict[Version, int] = {}
        self._count = 0
        self._levels: dict[int, dict[str, list[Work]]] = {}
        self._ready = [0] * n
        self._at = [0.0] * n
        self._done = 0
        self._outstanding = 0
        self._forgot = [False] * n
        self._loss = np.full(n, np.nan)
        self._conserved = conserved_by(method)
        self._trained: Tensor | None = None  # what local steps added to the conserved sum, [W] float64
        self._start: Tensor | None = None
        self.state = Store(x=cohort.first_model().repeat(n, 1))
        method.init(self.state, self._ctx(range(n), [0] * n, self._at))
        self.model_bytes = snapshot_size(cohort.space.width)
        self.space_hash = cohort.space.space_hash
        self.exchange_bytes = sum(snapshot_size(channel.width(cohort.space)) for channel in method.algorithm.channels)
        """Size on the wire of what a peer sends in an exchange: all channels."""

    # What shells ask for --------------------------------------------------------------------------------------------

    def num_steps(self, peer: int) -> int:
        """Return the number of local steps of a round; 0 without data."""
        return 0 if self._forgot[peer] else self._cohort.num_steps(peer)

    def samples(self, peer: int) -> int:
        """Return the size of the training set."""
        return 0 if self._forgot[peer] else self._cohort.num_samples(peer)

    def forget_data(self, peer: int) -> None:
        """Have the peer train no more."""
        self._forgot[peer] = True

    def wake(self, peer: int, at: float) -> None:
        """The peer is there from now on: no time passes for whoever is away."""
        self._at[peer] = at

    def hold(self, version: Version) -> None:
        """Count one more holder of a copy."""
        self._holders[version] += 1

    def release(self, version: Version) -> None:
        """Count one holder less; without any the copy is gone."""
        left = self._holders[version] - 1
        if left:
            self._holders[version] = left
            return
        del self._holders[version]
        self._copies.release(self._of_version.pop(version).row)

    @property
    def num_copies(self) -> int:
        """Copies that somebody holds."""
        return len(self._holders)

    def _plan(
        self, kind: str, peer: int, round: int, at: float, *, reads: Sequence[Version] = (), num_written: int = 0
    ) -> list[Version]:
        """Write an event down; return the copies that it makes, each held once by the caller."""
        level, rows = self._ready[peer], []
        for version in reads:
            copy = self._of_version[version]
            level = max(level, copy.level)
            self._copies.hold(copy.row)
            rows.append(copy.row)
        level = max(level, self._done) + 1
        written = []
        for _ in range(num_written):
            self._count += 1
            self._of_version[self._count] = _Copy(self._copies.take(), level)
            self._holders[self._count] = 1
            written.append(self._count)
        into = tuple(self._of_version[version].row for version in written)
        work = Work(peer, round, at, max(0.0, at - self._at[peer]), tuple(rows), into)
        self._levels.setdefault(level, {}).setdefault(kind, []).append(work)
        self._ready[peer] = level
        self._at[peer] = at
        self._outstanding += 1
        if self._outstanding >= self._window:
            self.compute()
        return written

    # Work -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _do(self, kind: str, work: Sequence[Work], sub: Store, ctx: Ctx) -> None:
        """Do events of one kind to the states `sub` of their peers, which are up to date."""

    def compute(self) -> None:
        """Do all work that is outstanding."""
        for number in sorted(self._levels):
            for kind, events in sorted(self._levels[number].items()):
                for work in _alike(events):
                    self._do_batch(kind, work)
                    for row in (row for one in work for row in one.reads):
                        self._copies.release(row)
            self._done = number
        self._levels.clear()
        self._outstanding = 0
        self._copies.settle()

    def _do_batch(self, kind: str, work: Sequence[Work]) -> None:
        peers = [one.peer for one in work]
        ids = torch.tensor(peers)
        sub, ctx = self.state.take(ids), self._ctx(peers, [one.round for one in work], [one.at for one in work])
        self._method.algorithm.advance(sub, torch.tensor([one.dt for one in work], dtype=torch.float64), ctx)
        self._do(kind, work, sub, ctx)
        self.state.put(ids, sub)

    def _train(self, work: Sequence[Work], st: Store, ctx: Ctx) -> None:
        """Do local steps on `st`, and take note of what they do to what is conserved."""
        peers = [one.peer for one in work]
        conserved = self._conserved
        before = torch.zeros(1) if conserved is None else conserved(st).sum(dim=0)
        self._loss[peers] = self._cohort.train(self._method, st, peers, ctx)
        if conserved is not None:
            change = conserved(st).sum(dim=0) - before
            self._trained = change if self._trained is None else self._trained + change

    def _ctx(self, peers: Sequence[int], rounds: Sequence[int], at: Sequence[float]) -> Ctx:
        t = torch.tensor(rounds)
        return Ctx(
            t=t,
            now=torch.tensor(at, dtype=torch.float64),
            lr=self._method.step.rate(t),
            neighbours=torch.ones(len(t), dtype=torch.int64),
            space=self._cohort.space,
            rng=rows_rng(self._seed, self._swarm, [self._names[peer] for peer in peers], list(rounds)),
            frac=(t.double() / self._total_rounds).clamp_max(1.0) if self._total_rounds else None,
        )

    # Looking --------------------------------------------------------------------------------------------------------

    def models(self, peers: Sequence[int]) -> Tensor:
        """Return copies of the models of peers, [len(peers), D]."""
        self.compute()
        return self.state["x"].index_select(0, torch.tensor(list(peers)))

    def mean_loss(self, peers: Sequence[int]) -> float:
        """Return the mean training loss of the last local steps, of those who have one."""
        self.compute()
        known = self._loss[list(peers)]
        known = known[np.isfinite(known)]
        return float(known.mean()) if len(known) else float("nan")

    def _imbalance(self, under_way: Tensor | None) -> float:
        """Return how far what is conserved is off, relative to what there is of it; `under_way` [W] belongs to it too.

        Compared is with the first call, all entries at once: 1 is as much as all peers hold in their largest entry.
        """
        if self._conserved is None:
            return 0.0
        self.compute()
        each_NW = self._conserved(self.state)
        total_W = each_NW.sum(dim=0)
        if under_way is not None:
            total_W = total_W + under_way
        if self._trained is not None:
            total_W = total_W - self._trained
        if self._start is None:
            self._start = total_W
        off = float((total_W - self._start).abs().max())
        if off == 0.0 or not math.isfinite(off):
            return 0.0  # what has diverged is no question of exchanges
        return off / float(each_NW.abs().sum(dim=0).max())


def _alike(events: Sequence[Work]) -> list[list[Work]]:
    """Return events of one kind in batches that read and write as many copies each."""
    groups: dict[tuple[int, int], list[Work]] = {}
    for one in events:
        groups.setdefault((len(one.reads), len(one.writes)), []).append(one)
    return [
        group[start : start + MAX_BATCH]
        for _, group in sorted(groups.items())
        for start in range(0, len(group), MAX_BATCH)
    ]
