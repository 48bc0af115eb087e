"""Who has which samples: the split of a scenario, over the peers that hold data."""

# N samples

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netsim.scenario.population import SplitSettings
from peer.errors import ConfigError
from peer.train.partition import Indices, Labels, groups_split, shards_split, split

NOTHING: Indices = np.empty(0, dtype=np.int64)


def shares_of(
    settings: SplitSettings, holds_data: Sequence[bool], labels: Labels, groups: Labels | None, *, seed: int
) -> list[Indices]:
    """Return the sorted sample numbers of each peer, none for those without data.

    Where each peer is to have so many samples that the set is too small for all, the set is dealt out several times.
    Raises `ConfigError` when a peer that should have data would have none.
    """
    holders = [peer for peer, holds in enumerate(holds_data) if holds]
    if not holders:
        raise ConfigError("peers.classes: nobody holds data")
    size = settings.samples_per_peer
    copies = max(1, -(-len(holders) * size // len(labels))) if size else 1
    if len(labels) * copies < len(holders):
        raise ConfigError(
            f"data: {len(labels)} samples cannot be split among {len(holders)} peers that hold data; "
            "set data.samples_per_peer to deal them out several times"
        )
    parts = _split(settings, np.tile(labels, copies), None if groups is None else groups, len(holders), copies, seed)
    shares = [NOTHING] * len(holds_data)
    for peer, part in zip(holders, parts, strict=True):
        part = part % len(labels)
        if size and len(part) > size:
            random = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32, peer])
            part = part[random.permutation(len(part))[:size]]
        if not len(part):
            raise ConfigError(f"data: peer {peer} gets no sample; use another split, fewer peers or another seed")
        shares[peer] = np.sort(part)
    return shares


def _split(
    settings: SplitSettings, labels: Labels, groups: Labels | None, of: int, copies: int, seed: int
) -> list[Indices]:
    if settings.how == "shards":
        if of * settings.shards_per_peer > len(labels):
            raise ConfigError(
                f"data.shards_per_peer: {of} peers with {settings.shards_per_peer} pieces each are more pieces than "
                f"there are samples ({len(labels)})"
            )
        return shards_split(labels, of, settings.shards_per_peer, seed)
    if settings.how == "groups":
        if groups is None:
            raise ConfigError('data.how = "groups": this task knows no groups of samples')
        if len(np.unique(groups)) * copies < of:
            raise ConfigError(f'data.how = "groups": {len(np.unique(groups))} groups cannot be split among {of} peers')
        return groups_split(np.concatenate([groups + copy * (groups.max() + 1) for copy in range(copies)]), of, seed)
    return split(labels, of, how=settings.how, alpha=settings.alpha, seed=seed)
