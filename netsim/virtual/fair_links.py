"""Transfers over access links that share them fairly: who sends how fast, and who is done when.

Each peer has an access link with a capacity up and one down; what lies between is never the bottleneck, as is usual in
models of the edge of the internet. A transfer gets an equal share of both of its ends:

    rate(s → r) = min(up_s / num_uploads_s, down_r / num_downloads_r)

This is the equal-share model, and not max-min fairness [Bertsekas & Gallager 1992, Data Networks, §6.5.2], which would
hand on what a transfer cannot use at one end because the other is slower. Max-min rates couple the whole connected set
of transfers (in a swarm: all of them), so that each begin and end would cost as much as there are transfers under way;
here it costs what shares one of the two links. What is given up: a link may stand partly idle. What is kept:

    no link carries more than its capacity
    every transfer gets exactly the equal share of at least one of its ends
    a link that is the slower end of all its transfers is used fully
    no transfer is faster than max-min fairness would have it now: its rate there is at least the smaller of its two
    equal shares; both agree where all peers have equal links and equally many transfers

A transfer is looked at only when its rate changes. In between its progress is a line, `moved + rate · (t − since)`,
and the time of its end is known. The heap holds a time for each transfer that is never later than its end: a rate that
falls leaves it alone, one that rises pushes a new one. Entries that no longer hold are dropped when they come up.

Nothing here reads a clock. What ended before the time that a call passes ends first, at its own time, and frees its
share from then on; so results depend on when transfers begin, not on how often somebody looks.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from math import inf

_TOGETHER = 1e-12
"""Ends that differ by less, relative to the time, are one instant: rounding must not tell equal transfers apart."""


class FairLinks:
    """Transfers between peers 0 .. n − 1 with access links of `up_bytes_s` and `down_bytes_s` bytes per second.

    inf is an unlimited link, and costs nothing however many transfers share it; 0 one that is stuck. Times are seconds,
    and may not go back from call to call (ValueError). Cost of a begin or an end: O(u + d) rates and at most as many
    heap entries, u uploads of the sender and d downloads of the receiver.
    """

    def __init__(self, up_bytes_s: Sequence[float], down_bytes_s: Sequence[float]) -> None:
        if len(up_bytes_s) != len(down_bytes_s):
            raise ValueError(
                f"{len(up_bytes_s)} capacities up, but {len(down_bytes_s)} down; expected one of each a peer"
            )
        for capacity in (*up_bytes_s, *down_bytes_s):
            _check_capacity(capacity)
        n = len(up_bytes_s)
        self.now = 0.0
        self._up = list(map(float, up_bytes_s))
        self._down = list(map(float, down_bytes_s))
        self._up_share = self._up.copy()
        self._down_share = self._down.copy()
        self._uploads: list[dict[int, _Transfer]] = [{} for _ in range(n)]
        self._downloads: list[dict[int, _Transfer]] = [{} for _ in range(n)]
        self._under_way: dict[int, _Transfer] = {}
        self._done: dict[int, _Transfer] = {}  # in the order of their ends
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, transfer_id: int, sender: int, receiver: int, size_bytes: float, now: float) -> None:
        """Let a transfer begin. The id is not in use, the ends are two peers (ValueError)."""
        if not (0 <= sender < len(self._up) and 0 <= receiver < len(self._up) and sender != receiver):
            raise ValueError(f"a transfer joins two of the peers 0 .. {len(self._up) - 1}, got {sender} and {receiver}")
        if not 0 <= size_bytes < inf:
            raise ValueError(f"a transfer has a finite size in bytes, got {size_bytes}")
        if transfer_id in self._under_way or transfer_id in self._done:
            raise ValueError(f"transfer {transfer_id} is under way already")
        self._advance(now)
        transfer = _Transfer(transfer_id, sender, receiver, size_bytes, now)
        self._under_way[transfer_id] = transfer
        self._uploads[sender][transfer_id] = transfer
        self._downloads[receiver][transfer_id] = transfer
        self._share((sender,), (receiver,), now)
        if transfer.rate < 0:
            self._set_rate(transfer, min(self._up_share[sender], self._down_share[receiver]), now)

    def cancel(self, transfer_id: int, now: float) -> float:
        """Break off a transfer and return the bytes that had moved. KeyError for one that is not under way.

        One that has ended but was not taken yet is forgotten as well: all its bytes had moved.
        """
        self._advance(now)
        if (done := self._done.pop(transfer_id, None)) is not None:
            return done.size_bytes
        transfer = self._found(transfer_id)
        moved = transfer.moved_at(now)
        self._remove((transfer,), now)
        return moved

    def cancel_peer(self, peer: int, now: float) -> list[int]:
        """Break off all transfers from and to a peer and return their ids, sorted. What has ended has ended."""
        self._advance(now)
        broken = {**self._uploads[peer], **self._downloads[peer]}
        self._remove(broken.values(), now)
        return sorted(broken)

    def set_capacity(self, peer: int, up_bytes_s: float, down_bytes_s: float, now: float) -> None:
        """Give a peer's access link other capacities from now on."""
        _check_capacity(up_bytes_s)
        _check_capacity(down_bytes_s)
        self._advance(now)
        self._up[peer], self._down[peer] = float(up_bytes_s), float(down_bytes_s)
        self._up_share[peer] = self._up[peer] / (len(self._uploads[peer]) or 1)
        self._down_share[peer] = self._down[peer] / (len(self._downloads[peer]) or 1)
        for transfer in (*self._uploads[peer].values(), *self._downloads[peer].values()):
            rate = min(self._up_share[transfer.sender], self._down_share[transfer.receiver])
            if rate != transfer.rate:
                self._set_rate(transfer, rate, now)

    def next_done(self) -> float | None:
        """Return when the next transfer ends, or the first of those that were not taken yet did; None: never."""
        if self._done:
            return next(iter(self._done.values())).due
        due = self._next_due()
        return due if due < inf else None

    def take_done(self, now: float) -> list[int]:
        """Return the transfers that have ended and were not returned before, by time, then by id."""
        self._advance(now)
        ids = sorted(self._done, key=lambda transfer_id: (self._done[transfer_id].due, transfer_id))
        self._done.clear()
        return ids

    def rate(self, transfer_id: int) -> float:
        """Return bytes per second; 0 for a transfer that has ended. KeyError for one that is unknown."""
        return 0.0 if transfer_id in self._done else self._found(transfer_id).rate

    def moved(self, transfer_id: int, now: float) -> float:
        """Return the bytes that have moved. KeyError for a transfer that is unknown."""
        self._advance(now)
        done = self._done.get(transfer_id)
        return done.size_bytes if done is not None else self._found(transfer_id).moved_at(now)

    def _found(self, transfer_id: int) -> _Transfer:
        try:
            return self._under_way[transfer_id]
        except KeyError:
            raise KeyError(f"transfer {transfer_id} is not under way") from None

    # Time -----------------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """End what is due by now, one instant after the other."""
        if not self.now <= now < inf:
            raise ValueError(f"time goes forward and is finite: it was {self.now} already, got {now}")
        while (due := self._next_due()) <= now:
            self._end_all_at(due)
        self.now = now

    def _end_all_at(self, due: float) -> None:
        # All of an instant first, then the rates of those who stay: else the first would speed up the others.
        ended: list[_Transfer] = []
        latest = due + _TOGETHER * abs(due)
        while self._next_due() <= latest:
            _, transfer_id = heapq.heappop(self._heap)
            transfer = self._under_way.pop(transfer_id)
            transfer.due = due
            ended.append(transfer)
        self._done.update((transfer.id, transfer) for transfer in ended)
        self._detach(ended, due)

    def _next_due(self) -> float:
        """Return when the next transfer ends, which is then on top of the heap."""
        heap = self._heap
        while heap:
            time, transfer_id = heap[0]
            transfer = self._under_way.get(transfer_id)
            if transfer is None or transfer.queued != time:
                heapq.heappop(heap)
            elif transfer.due == time:
                return time
            elif transfer.due < inf:
                transfer.queued = transfer.due
                heapq.heapreplace(heap, (transfer.due, transfer_id))
            else:
                transfer.queued = inf
                heapq.heappop(heap)
        return inf

    # Rates ----------------------------------------------------------------------------------------------------------

    def _remove(self, transfers: Collection[_Transfer], now: float) -> None:
        for transfer in transfers:
            del self._under_way[transfer.id]
        self._detach(transfers, now)

    def _detach(self, transfers: Collection[_Transfer], now: float) -> None:
        """Take transfers off their links, and let the others there share anew."""
        for transfer in transfers:
            del self._uploads[transfer.sender][transfer.id]
            del self._downloads[transfer.receiver][transfer.id]
        senders = dict.fromkeys(transfer.sender for transfer in transfers)
        self._share(senders, dict.fromkeys(transfer.receiver for transfer in transfers), now)

    def _share(self, senders: Collection[int], receivers: Collection[int], now: float) -> None:
        """Share the links up of senders and down of receivers among those who use them now."""
        up_share, down_share, set_rate = self._up_share, self._down_share, self._set_rate
        for sender in senders:
            up_share[sender] = self._up[sender] / (len(self._uploads[sender]) or 1)
        for receiver in receivers:
            down_share[receiver] = self._down[receiver] / (len(self._downloads[receiver]) or 1)
        for sender in senders:
            share = up_share[sender]
            if share == inf:
                continue  # the rates are those of the other ends, before and after
            for transfer in self._uploads[sender].values():
                other = down_share[transfer.receiver]
                rate = share if share < other else other
                if rate != transfer.rate:
                    set_rate(transfer, rate, now)
        for receiver in receivers:
            share = down_share[receiver]
            if share == inf:
                continue
            for transfer in self._downloads[receiver].values():
                other = up_share[transfer.sender]
                rate = share if share < other else other
                if rate != transfer.rate:
                    set_rate(transfer, rate, now)

    def _set_rate(self, transfer: _Transfer, rate: float, now: float) -> None:
        if now > transfer.since:
            transfer.moved = transfer.moved_at(now)
            transfer.since = now
        transfer.rate = rate
        left_bytes = transfer.size_bytes - transfer.moved
        due = transfer.due = now if left_bytes <= 0 else now + left_bytes / rate if rate else inf
        if due < transfer.queued:
            transfer.queued = due
            heapq.heappush(self._heap, (due, transfer.id))
            if len(self._heap) > 64 + 4 * len(self._under_way):
                self._rebuild()

    def _rebuild(self) -> None:
        """Drop the entries that hold no more: in long runs they could outnumber those that do."""
        self._heap = [(t.queued, t.id) for t in self._under_way.values() if t.queued < inf]
        heapq.heapify(self._heap)


class _Transfer:
    __slots__ = ("due", "id", "moved", "queued", "rate", "receiver", "sender", "since", "size_bytes")

    def __init__(self, transfer_id: int, sender: int, receiver: int, size_bytes: float, now: float) -> None:
        self.id = transfer_id
        self.sender = sender
        self.receiver = receiver
        self.size_bytes = size_bytes
        self.moved = 0.0  # up to `since`
        self.since = now
        self.rate = -1.0  # none yet
        self.due = inf
        self.queued = inf  # its entry in the heap: never later than `due`

    def moved_at(self, now: float) -> float:
        if now <= self.since:
            return self.moved  # not inf · 0
        return min(self.moved + self.rate * (now - self.since), self.size_bytes)


def _check_capacity(capacity: float) -> None:
    if not capacity >= 0:
        raise ValueError(f"a capacity is bytes per second, 0 or more, got {capacity}")
