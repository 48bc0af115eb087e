"""Learning that is put off until somebody looks, and then done for as many peers at once as may be.

Theory of operation
-------------------
In virtual time nothing depends on what is in a model, only on when it is there. So what a shell asks for is written
down as *work*: local steps of one peer, or a mixing event of one peer. Work has a level: one more than the highest
level among what it reads, its peer's model and the snapshots that it mixes. Work of one level depends on nothing of
that level: all local steps of a level are one batched call, and so are all its mixing events. Asynchronous peers, who
never do the same at the same time, are computed in batches all the same.

Work is done when a measurement wants to look, when admission must (a model of an attacker), or when so many results
are outstanding that rows would get scarce (`window`). Results do not depend on when that is: the order within a batch
is that in which work was written down, batches are cut into pieces of fixed size, and nothing else enters.

Rows (`models.py`): a snapshot is the row of its author's model, which mixing replaces by another one. Rows are given
out when work is written down, so a row that is free may still be written to by work that is outstanding; hence rows
are used again only after the work was done.
"""

# B nodes of a batch, K slots, D entries of a model

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aggregation.algorithms import Algorithm
from aggregation.attacks.base import Attack, AttackView
from aggregation.hood import Ctx, Inbox, Meta
from aggregation.method import Method
from aggregation.seeding import derived_seed, rows_rng
from aggregation.store import Store
from aggregation.values import Gathered
from netsim.virtual.cohort import Cohort
from netsim.virtual.evaluation import Evaluation
from netsim.virtual.learning import Heard, Version
from netsim.virtual.models import ModelRows
from peer.store.tensor_file import snapshot_size
from peer.train.trainer import VIEW

MIX_ROWS = 256
MIN_WINDOW = 1024


class _Training(NamedTuple):
    peer: int
    round: int
    row: int


class _Mixing(NamedTuple):
    peer: int
    round: int
    degree: int
    row: int
    into: int
    slots: tuple[tuple[int, Heard], ...]  # (row, header)
    last: bool
    catching_up: bool


class _Crafting(NamedTuple):
    peer: int
    round: int
    into: int
    sent: tuple[int, ...]  # rows: what everybody sent last, or would send


class _Averaging(NamedTuple):
    rows: tuple[int, ...]
    into: int


@dataclass
class _Level:
    averagings: list[_Averaging] = field(default_factory=list)
    trainings: list[_Training] = field(default_factory=list)
    mixings: list[_Mixing] = field(default_factory=list)
    craftings: list[_Crafting] = field(default_factory=list)


class _Snapshot(NamedTuple):
    author: int
    row: int
    level: int


class PlannedLearning(Evaluation):
    """`Learning` of all peers of a world, in batches. `cohort` trains and evaluates rows; `method` mixes them."""

    def __init__(
        self,
        cohort: Cohort,
        method: Method,
        *,
        swarm: bytes,
        seed: int,
        names: Sequence[str],
        total_rounds: int,
        norm_cap_factor: float,
        attack: Attack | None = None,
        attackers: Sequence[int] = (),
    ) -> None:
        n = len(names)
        self._cohort = cohort
        self._method = method
        self._swarm = swarm
        self._seed = seed
        self._names = names
        self._total_rounds = total_rounds
        self._norm_cap = norm_cap_factor
        self._attack = attack
        self._attackers = tuple(sorted(attackers)) if attack is not None else ()
        self._attack_state = Store(x=torch.zeros(len(self._attackers), 1))
        self._sent: dict[int, Version] = {}  # while there are attackers: what each peer sent last, unattacked
        self._window = max(MIN_WINDOW, n // 4)
        self._rows = ModelRows(cohort.space.width, 2 * n + 2 * self._window + 64)
        self._row_of = [self._rows.take() for _ in range(n)]
        self._rows.matrix[self._row_of] = cohort.first_model()
        self._ready = [0] * n
        self._trained = [-1] * n  # round whose local steps are in the model
        self._done = 0  # levels up to this one are done
        self._levels: dict[int, _Level] = {}
        self._outstanding = 0
        self._snapshots: dict[Version, _Snapshot] = {}
        self._holders: dict[Version, int] = {}
        self._count = 0
        self._forgot = [False] * n
        self._loss = np.full(n, np.nan)
        self._state = Store()  # of all peers, but for x
        self._init_state()
        self.model_bytes = snapshot_size(cohort.space.width)
        self.space_hash = cohort.space.space_hash
        self.num_refused = 0

    def _init_state(self) -> None:
        ids = torch.arange(len(self._names))
        sub = Store(x=self._rows.matrix.index_select(0, torch.tensor(self._row_of)))
        self._method.init(sub, self._ctx(ids.tolist(), [0] * len(ids), [0] * len(ids)))
        for name, tensor in sub.items():
            if name != "x":
                self._state[name] = tensor

    # What shells ask for --------------------------------------------------------------------------------------------

    def num_steps(self, peer: int) -> int:
        """Return the number of local steps of a round; 0 without data."""
        return 0 if self._forgot[peer] else self._cohort.num_steps(peer)

    def samples(self, peer: int) -> int:
        """Return the size of the training set."""
        return 0 if self._forgot[peer] else self._cohort.num_samples(peer)

    def train(self, peer: int, round: int) -> None:
        """Write the local steps of `round` down."""
        if self._trained[peer] == round:
            return  # it crashed since, and does the same steps again: to the bit what they gave before
        self._trained[peer] = round
        level = self._next_level(self._ready[peer])
        self._levels.setdefault(level, _Level()).trainings.append(_Training(peer, round, self._row_of[peer]))
        self._ready[peer] = level

    def publish(self, peer: int, round: int) -> Version:
        """Return the peer's model, as it will be, as a snapshot; or what an attacker sends in its place."""
        row, level = self._row_of[peer], self._ready[peer]
        self._rows.hold(row)
        version = self._new_snapshot(peer, row, level)
        if not self._attackers:
            return version
        if peer in self._sent:
            self.release(self._sent[peer])
        self._sent[peer] = version
        if peer in self._attackers:
            return self._craft(peer, round)
        self.hold(version)
        return version

    def _new_snapshot(self, peer: int, row: int, level: int) -> Version:
        self._count += 1
        self._snapshots[self._count] = _Snapshot(peer, row, level)
        self._holders[self._count] = 1
        return self._count

    def _craft(self, peer: int, round: int) -> Version:
        sent = [
            self._snapshots[self._sent[i]] if i in self._sent else self._current(i) for i in range(len(self._names))
        ]
        for snapshot in sent:
            self._rows.hold(snapshot.row)
        level = self._next_level(max(snapshot.level for snapshot in sent))
        into = self._rows.take()
        rows = tuple(snapshot.row for snapshot in sent)
        self._levels.setdefault(level, _Level()).craftings.append(_Crafting(peer, round, into, rows))
        return self._new_snapshot(peer, into, level)

    def _current(self, peer: int) -> _Snapshot:
        return _Snapshot(peer, self._row_of[peer], self._ready[peer])

    def hold(self, version: Version) -> None:
        """Count one more holder."""
        self._holders[version] += 1

    def release(self, version: Version) -> None:
        """Count one holder less."""
        left = self._holders[version] - 1
        if left:
            self._holders[version] = left
            return
        del self._holders[version]
        self._rows.release(self._snapshots.pop(version).row)

    def verdict(self, peer: int, version: Version) -> str:
        """Look at a snapshot of an attacker; those of the others are looked at when they are mixed."""
        snapshot = self._snapshots[version]
        if snapshot.author not in self._attackers:
            return ""
        self.compute()
        norms = torch.linalg.vector_norm(
            self._rows.matrix[torch.tensor([snapshot.row, self._row_of[peer]])], dim=1, dtype=torch.float64
        )
        received, own = norms.tolist()
        if not np.isfinite(received):
            return "not_finite"
        return "norm_too_large" if received > self._norm_cap * max(own, 1.0) else ""

    def mix(self, peer: int, round: int, degree: int, heard: Sequence[Heard], *, last: bool, catching_up: bool) -> None:
        """Write a mixing event down."""
        slots, level = [], self._ready[peer]
        for slot in heard:
            snapshot = self._snapshots[slot.version]
            level = max(level, snapshot.level)
            self._rows.hold(snapshot.row)
            slots.append((snapshot.row, slot))
        into = self._rows.take()
        level = self._next_level(level)
        mixing = _Mixing(peer, round, degree, self._row_of[peer], into, tuple(slots), last, catching_up)
        self._levels.setdefault(level, _Level()).mixings.append(mixing)
        self._ready[peer] = level
        self._row_of[peer] = into
        self._trained[peer] = -1
        self._note_outstanding()

    def average(self, author: int, versions: Sequence[Version]) -> Version:
        """Return the uniform mean of snapshots as a snapshot of `author`, held once by the caller."""
        row, level = self._averaged(versions)
        return self._new_snapshot(author, row, level)

    def adopt(self, peer: int, version: Version) -> None:
        """Give the peer a copy of a snapshot in place of its model."""
        row, self._ready[peer] = self._averaged([version])
        self._rows.release(self._row_of[peer])
        self._row_of[peer] = row
        self._trained[peer] = -1

    def _averaged(self, versions: Sequence[Version]) -> tuple[int, int]:
        found = [self._snapshots[version] for version in versions]
        for snapshot in found:
            self._rows.hold(snapshot.row)
        level = self._next_level(max(snapshot.level for snapshot in found))
        into = self._rows.take()
        work = _Averaging(tuple(snapshot.row for snapshot in found), into)
        self._levels.setdefault(level, _Level()).averagings.append(work)
        self._note_outstanding()
        return into, level

    def forget_data(self, peer: int) -> None:
        """Have the peer train no more."""
        self._forgot[peer] = True

    def _note_outstanding(self) -> None:
        self._outstanding += 1
        if self._outstanding >= self._window:
            self.compute()

    def _next_level(self, above: int) -> int:
        return max(above, self._done) + 1

    # Work -----------------------------------------------------------------------------------------------------------

    def compute(self) -> None:
        """Do all work that is outstanding."""
        for number in sorted(self._levels):
            level = self._levels[number]
            for averaging in level.averagings:
                self._average(averaging)
            if level.trainings:
                self._train(level.trainings)
            for crafting in level.craftings:
                self._do_craft(crafting)
            for group in _alike(level.mixings):
                self._mix(group)
            for mixing in level.mixings:
                self._rows.release(mixing.row)
                for row, _ in mixing.slots:
                    self._rows.release(row)
            self._done = number
        self._levels.clear()
        self._outstanding = 0
        self._rows.settle()

    def _average(self, work: _Averaging) -> None:
        matrix = self._rows.matrix
        if len(work.rows) == 1:
            matrix[work.into] = matrix[work.rows[0]]
        else:
            matrix[work.into] = matrix[torch.tensor(work.rows)].double().mean(dim=0).to(matrix.dtype)
        for row in work.rows:
            self._rows.release(row)

    def _do_craft(self, work: _Crafting) -> None:
        assert self._attack is not None
        view = AttackView(
            "x",
            self._rows.matrix.index_select(0, torch.tensor(work.sent)),
            torch.tensor(self._attackers),
            torch.zeros(len(self._attackers), 1, dtype=torch.int64),
            torch.ones(len(self._attackers), 1, dtype=torch.bool),
        )
        ctx = self._ctx(self._attackers, [work.round] * len(self._attackers), [0] * len(self._attackers))
        crafted = self._attack.craft(view, ctx, self._attack_state)
        self._rows.matrix[work.into] = crafted[self._attackers.index(work.peer), 0]
        for row in work.sent:
            self._rows.release(row)

    def _train(self, work: Sequence[_Training]) -> None:
        peers, rounds = [one.peer for one in work], [one.round for one in work]
        sub, rows = self._take(peers, [one.row for one in work])
        ctx = self._ctx(peers, rounds, [0] * len(work))
        loss = self._cohort.train(self._method, sub, peers, ctx)
        self._put(peers, rows, sub)
        self._loss[peers] = loss

    def _mix(self, work: Sequence[_Mixing]) -> None:
        peers, rounds = [one.peer for one in work], [one.round for one in work]
        sub, _ = self._take(peers, [one.row for one in work])
        ctx = self._ctx(peers, rounds, [one.degree for one in work], judge=True)
        most = max(len(one.slots) for one in work)
        ids, meta = self._slots(work, most)
        self._notice_view(sub, work, ctx)
        inbox = Inbox(meta, {"x": Gathered(self._rows.matrix, ids)})
        self._method.mix(sub, inbox, ctx, last=work[0].last, catching_up=work[0].catching_up)
        self._put(peers, torch.tensor([one.into for one in work]), sub)

    def _slots(self, work: Sequence[_Mixing], most: int) -> tuple[Tensor, Meta]:
        """Return the rows [B, K] of what was heard, and what is known of it; admission takes its last look here."""
        b = len(work)
        table = np.zeros((7, b, most), dtype=np.int64)
        ok = np.zeros((b, most), dtype=bool)
        for place, one in enumerate(work):
            for slot, (row, heard) in enumerate(one.slots):
                ok[place, slot] = True
                table[:, place, slot] = (
                    row, slot, heard.age_rounds, heard.steps, heard.degree, heard.samples, heard.seq,
                )  # fmt: skip
        ids, index, age, steps, degree, samples, seq = (torch.from_numpy(part) for part in table)
        present = torch.from_numpy(ok)
        meta = Meta.of(
            present & self._admitted(ids, present, torch.tensor([one.row for one in work])),
            ids=index,
            age=age.double(),
            steps=steps,
            degree=degree,
            samples=samples,
            origin_version=seq,
        )
        return ids, meta

    def _admitted(self, ids: Tensor, present: Tensor, own: Tensor) -> Tensor:
        """Return which snapshots are finite and not too large, as the trainer's admission has it, [B, K] bool."""
        rows, place = torch.unique(ids[present], return_inverse=True)
        fine = torch.zeros(ids.shape, dtype=torch.bool)
        if not len(rows):
            return fine
        received = torch.linalg.vector_norm(self._rows.matrix[rows], dim=1, dtype=torch.float64)[place]
        cap = self._norm_cap * torch.linalg.vector_norm(self._rows.matrix[own], dim=1, dtype=torch.float64).clamp_min(1)
        fine[present] = received.isfinite() & (received <= cap[:, None].expand(ids.shape)[present])
        self.num_refused += int(len(place) - fine.sum())
        return fine

    def _notice_view(self, sub: Store, work: Sequence[_Mixing], ctx: Ctx) -> None:
        """Tell the algorithm, if it cares, which peers do not hear the same ones as in the round before."""
        algorithm = self._method.algorithm
        if type(algorithm).on_view is Algorithm.on_view:
            return
        views = [
            derived_seed(0, "".join(self._names[heard.author] for _, heard in one.slots), "", 0, "view") >> 1
            for one in work
        ]
        view = torch.tensor(views)
        before = sub.get(VIEW, view)
        sub[VIEW] = view
        changed = (before != view).nonzero()[:, 0]
        if len(changed):
            part = sub.take(changed)
            algorithm.on_view(part, ctx.rows(changed))
            sub.put(changed, part)

    def _take(self, peers: Sequence[int], rows: Sequence[int]) -> tuple[Store, Tensor]:
        index = torch.tensor(rows)
        ids = torch.tensor(peers)
        sub = Store({name: tensor.index_select(0, ids) for name, tensor in self._state.items()})
        sub["x"] = self._rows.matrix.index_select(0, index)
        return sub, index

    def _put(self, peers: Sequence[int], rows: Tensor, sub: Store) -> None:
        self._rows.matrix.index_copy_(0, rows, sub["x"])
        ids = torch.tensor(peers)
        for name, tensor in sub.items():
            if name == "x":
                continue
            if name not in self._state:
                self._state[name] = tensor.new_zeros((len(self._names), *tensor.shape[1:]))
            self._state[name].index_copy_(0, ids, tensor)

    def _ctx(self, peers: Sequence[int], rounds: Sequence[int], degrees: Sequence[int], *, judge: bool = False) -> Ctx:
        t = torch.tensor(rounds)
        rng = rows_rng(self._seed, self._swarm, [self._names[peer] for peer in peers], rounds)
        return Ctx(
            t=t,
            now=torch.zeros(len(t), dtype=torch.float64),
            lr=self._method.step.rate(t),
            neighbours=torch.tensor(degrees),
            space=self._cohort.space,
            rng=rng,
            eval=self._cohort.judge(peers, rng) if judge else None,
            frac=(t.double() / self._total_rounds).clamp_max(1.0) if self._total_rounds else None,
        )

    # Looking --------------------------------------------------------------------------------------------------------

    def models(self, peers: Sequence[int]) -> Tensor:
        """Return copies of the models of peers, [len(peers), D]."""
        self.compute()
        return self._rows.matrix.index_select(0, torch.tensor([self._row_of[peer] for peer in peers]))

    def mean_loss(self, peers: Sequence[int]) -> float:
        """Return the mean training loss of the last local steps, of those who have one."""
        self.compute()
        known = self._loss[list(peers)]
        known = known[np.isfinite(known)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def state_bytes(self) -> int:
        """Bytes of what all peers must keep: their models, their last snapshots, and the state of their methods."""
        kept = sum(tensor.numel() * tensor.element_size() for tensor in self._state.values())
        return kept + 4 * self._rows.num_held * self._cohort.space.width


def _alike(work: Sequence[_Mixing]) -> Iterator[list[_Mixing]]:
    """Yield mixing events that can be done in one call: of one kind, with about as many slots, at most `MIX_ROWS`."""
    groups: dict[tuple[bool, bool, int], list[_Mixing]] = {}
    for one in work:
        key = (one.last, one.catching_up, max(0, len(one.slots) - 1).bit_length() if one.slots else -1)
        groups.setdefault(key, []).append(one)
    for _, group in sorted(groups.items()):
        for start in range(0, len(group), MIX_ROWS):
            yield group[start : start + MIX_ROWS]
