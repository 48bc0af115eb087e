"""Shares of a data set: complete, disjoint, even, seeded, and skewed as the source says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.config.peer_file import DataSettings
from peer.train.partition import Labels, own_share, split

DIGITS: Labels = np.random.RandomState(5).randint(0, 10, size=1300).astype(np.int64)


def label_counts(shares: list[np.ndarray], labels: Labels) -> np.ndarray:
    return np.stack([np.bincount(labels[share], minlength=10) for share in shares])


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(-3, 5), min_size=1, max_size=60),
    of=st.integers(1, 60),
    how=st.sampled_from(["dirichlet", "iid"]),
    alpha=st.sampled_from([1e-9, 1e-3, 0.5, 10.0, 1e6]),
    seed=st.integers(0, 2**53),
)
def test_every_sample_goes_to_exactly_one_share(labels: list[int], of: int, how: str, alpha: float, seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    if of > len(labels):
        with pytest.raises(ValueError, match="cannot split"):
            split(array, of, how=how, alpha=alpha, seed=seed)  # type: ignore[arg-type]  # drawn from the two
        return
    shares = split(array, of, how=how, alpha=alpha, seed=seed)  # type: ignore[arg-type]  # ditto
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(labels)))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(share) > 0).all() for share in shares), "sorted"
    again = split(array, of, how=how, alpha=alpha, seed=seed)  # type: ignore[arg-type]  # ditto
    assert all((one == other).all() for one, other in zip(shares, again, strict=True))


def test_the_seed_decides() -> None:
    one, other = (split(DIGITS, 8, how="dirichlet", alpha=0.5, seed=seed) for seed in (1, 2))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("how", "digest"), [("dirichlet", "a45f10"), ("iid", "bd35e7")])
def test_devices_with_other_versions_split_alike(how: str, digest: str) -> None:
    """Pinned: a change of these numbers gives devices overlapping shares."""
    shares = split(DIGITS, 8, how=how, alpha=0.5, seed=1)  # type: ignore[arg-type]  # the two
    found = hashlib.sha256(b"".join(share.astype("<i8").tobytes() for share in shares)).hexdigest()
    assert found[:6] == digest


def test_a_small_alpha_gives_few_labels_and_a_large_one_all() -> None:
    """Hsu et al. 2019, figure 1: alpha -> 0 one class each, alpha -> infinity the prior of the population."""
    num_labels = {}
    for alpha in (1e-6, 0.1, 0.5, 1e6):
        counts = label_counts(split(DIGITS, 8, how="dirichlet", alpha=alpha, seed=3), DIGITS)
        largest = np.sort(counts, axis=1)[:, ::-1].cumsum(axis=1) / counts.sum(axis=1, keepdims=True)
        num_labels[alpha] = (largest < 0.9).sum(axis=1).mean() + 1  # labels that make up nine tenths of a share
    assert num_labels[1e-6] < 3
    assert num_labels[1e-6] < num_labels[0.1] < num_labels[0.5] < num_labels[1e6]
    assert num_labels[1e6] >= 9


def test_own_share_is_one_of_them() -> None:
    shares = split(DIGITS, 8, how="dirichlet", alpha=0.5, seed=1)
    for index in range(8):
        assert (own_share(DIGITS, DataSettings(of=8, index=index)) == shares[index]).all()
    assert (own_share(DIGITS, DataSettings()) == np.arange(len(DIGITS))).all(), "the whole set, when it is not split"
