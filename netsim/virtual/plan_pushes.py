"""Models of peers that give shares away: a share leaves the state at once, and is a copy until somebody has it."""

# B nodes of a batch, K parcels, W width of a channel

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aggregation.hood import Ctx, Dense, Inbox, Meta
from aggregation.store import Store
from netsim.virtual.learning import Version
from netsim.virtual.plan_events import PlannedEvents, Work


class PlannedPushes(PlannedEvents):
    """`PushLearning` of all peers of a world, in batches."""

    def steps(self, peer: int, round: int, at: float) -> None:
        """Do the local steps of `round`."""
        self._plan("steps", peer, round, at)

    def give(self, peer: int, round: int, at: float, count: int) -> list[Version]:
        """Take a share for each of `count` receivers out of the peer's state; each is held once by the caller."""
        return self._plan("give", peer, round, at, num_written=count)

    def absorb(self, peer: int, round: int, at: float, shares: Sequence[Version]) -> None:
        """Mix shares into the peer's state."""
        self._plan("absorb", peer, round, at, reads=shares)

    def refund(self, peer: int, round: int, at: float, share: Version) -> None:
        """Give a share back to the peer that gave it."""
        self._plan("refund", peer, round, at, reads=(share,))

    def imbalance(self, under_way: Sequence[Version]) -> float:
        """Return how far what is conserved is off; `under_way`: shares that are in nobody's state."""
        if self._conserved is None:
            return 0.0
        self.compute()
        if not under_way:
            return self._imbalance(None)
        rows = self._copies.get(torch.tensor([self._of_version[share].row for share in under_way]))
        names = [channel.name for channel in self._method.algorithm.channels]
        return self._imbalance(torch.cat([rows[name].double() for name in names], dim=1).sum(dim=0))

    def _do(self, kind: str, work: Sequence[Work], sub: Store, ctx: Ctx) -> None:
        if kind == "steps":
            self._train(work, sub, ctx)
        elif kind == "give":
            self._give(work, sub, ctx)
        elif kind == "absorb":
            self._absorb(work, sub, ctx)
        else:
            shares = self._copies.get(torch.tensor([one.reads[0] for one in work]))
            for channel in self._method.algorithm.channels:
                self._method.algorithm.refund(sub, channel.name, shares[channel.name])

    def _give(self, work: Sequence[Work], sub: Store, ctx: Ctx) -> None:
        count = len(work[0].writes)
        sent = self._method.outbox(sub, ctx, torch.full((len(work),), count))
        for k in range(count):
            rows = torch.tensor([one.writes[k] for one in work])
            self._copies.put(rows, {name: _share(values, k) for name, values in sent.items()})

    def _absorb(self, work: Sequence[Work], sub: Store, ctx: Ctx) -> None:
        rows_BK = torch.tensor([one.reads for one in work])
        shares = self._copies.get(rows_BK.flatten())
        values = {
            channel.name: Dense(shares[channel.name].view(*rows_BK.shape, -1))
            for channel in self._method.algorithm.channels
        }
        self._method.mix(sub, Inbox(Meta.of(torch.ones(rows_BK.shape, dtype=torch.bool)), values), ctx)


def _share(sent: Tensor, receiver: int) -> Tensor:
    """Return what receiver number `receiver` gets: all alike [B, W], or each its own [B, Kout, W]."""
    return sent if sent.ndim == 2 else sent[:, receiver]
