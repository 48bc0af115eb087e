"""Split one data set among peers: a pure function of the labels and the seed, so that every device computes its share.

Every sample goes to exactly one share, and the sizes differ by at most one: so each share has at least
floor(N / of) samples, whatever the labels.
"""

# N samples, P shares, C labels

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from peer.config.peer_file import DataSettings

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


def own_share(labels: Labels, settings: DataSettings) -> Indices:
    """Return the sorted sample indices of this device's share: number `settings.index` of `settings.of`."""
    shares = split(labels, settings.of, how=settings.how, alpha=settings.alpha, seed=settings.seed)
    return shares[settings.index]


def split(labels: Labels, of: int, *, how: Literal["dirichlet", "iid"], alpha: float, seed: int) -> list[Indices]:
    """Return the sorted sample indices of each of `of` shares. Raises `ValueError` when there are too few samples.

    `how="iid"`: a random permutation, dealt out. `how="dirichlet"`: see `dirichlet_split`. Cost O(N log C + P C).
    """
    if not 1 <= of <= len(labels):
        raise ValueError(f"cannot split {len(labels)} samples into {of} shares")
    # RandomState: its numbers are the same in every version of numpy (NEP 19), so devices that differ in it agree.
    rng = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
    if how == "iid":
        order = rng.permutation(len(labels))
        return [np.sort(order[share::of]) for share in range(of)]
    return dirichlet_split(labels, of, alpha, rng)


def dirichlet_split(labels: Labels, of: int, alpha: float, rng: np.random.RandomState) -> list[Indices]:
    """Split by label shares q_p ~ Dirichlet(alpha, ..., alpha), one draw for each share p.

    Shares take turns; at its turn p draws a label from q_p, restricted to labels of which samples are left, and takes a
    random sample of it. (Where q_p has no mass on what is left, it is drawn anew over that.) The source lets one client
    after the other take all its samples; taking turns spreads the leftovers over all.

    Source: Hsu, Qi, Brown 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", arXiv:1909.06335, section 3.
    """
    classes, label_N = np.unique(labels, return_inverse=True)
    stock = [rng.permutation(np.flatnonzero(label_N == label)).tolist() for label in range(len(classes))]
    mass_PC = np.stack([_label_shares(len(classes), alpha, rng) for _ in range(of)])
    shares: list[list[int]] = [[] for _ in range(of)]
    bounds_PC = _bounds(mass_PC)
    for turn, draw in enumerate(rng.random_sample(len(labels))):
        share = turn % of
        label = int(np.searchsorted(bounds_PC[share], draw, side="right"))
        shares[share].append(stock[label].pop())
        if not stock[label] and turn + 1 < len(labels):
            _take_off(mass_PC, label, np.array([bool(samples) for samples in stock]), alpha, rng)
            bounds_PC = _bounds(mass_PC)
    return [np.sort(np.array(share, dtype=np.int64)) for share in shares]


def _label_shares(num_classes: int, alpha: float, rng: np.random.RandomState) -> NDArray[np.float64]:
    gammas = rng.standard_gamma(alpha, size=num_classes)
    if gammas.sum() > 0.0:
        return np.asarray(gammas / gammas.sum())
    # A tiny alpha: all gammas underflow. Its limit is one label, drawn at random.
    return np.asarray(np.eye(num_classes)[rng.randint(num_classes)])


def _take_off(
    mass_PC: NDArray[np.float64], label: int, is_left_C: NDArray[np.bool_], alpha: float, rng: np.random.RandomState
) -> None:
    """Take a label that ran out off all shares, in place."""
    mass_PC[:, label] = 0.0
    for share in np.flatnonzero(mass_PC.sum(1) <= 0.0):
        mass_PC[share, is_left_C] = _label_shares(int(is_left_C.sum()), alpha, rng)


def _bounds(mass_PC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cumulative probabilities [P, C]."""
    cumulative_PC = np.cumsum(mass_PC, axis=1)
    # The last label that has mass, and all after it, get exactly 1 (x / x): no draw below 1 falls behind it.
    return np.asarray(cumulative_PC / cumulative_PC[:, -1:])


def shards_split(labels: Labels, of: int, shards_per_peer: int, seed: int) -> list[Indices]:
    """Return the sorted sample indices of each of `of` shares: sorted by label, cut into pieces, pieces dealt out.

    Each share gets `shards_per_peer` of the of·shards_per_peer pieces, so about as many labels. Cost O(N log N).
    Source: [McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized Data].
    """
    rng = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
    shuffled = rng.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    pieces = np.array_split(by_label, of * shards_per_peer)
    order = rng.permutation(len(pieces))
    return [np.sort(np.concatenate([pieces[p] for p in order[share::of]])) for share in range(of)]


def groups_split(groups: Labels, of: int, seed: int) -> list[Indices]:
    """Return the sorted sample indices of each of `of` shares: whole groups, each to whoever has fewest samples so far.

    `groups` [N] int64: the natural group (writer, site) of each sample. Groups are dealt out in a random order; with
    fewer groups than shares some shares are empty. Cost O(N log N + G·P).
    """
    rng = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
    members: list[list[Indices]] = [[] for _ in range(of)]
    sizes = np.zeros(of, dtype=np.int64)
    for group in rng.permutation(np.unique(groups)):
        found = np.flatnonzero(groups == group)
        share = int(sizes.argmin())
        members[share].append(found)
        sizes[share] += len(found)
    return [np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.int64) for found in members]
