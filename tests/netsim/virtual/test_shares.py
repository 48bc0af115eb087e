"""Who has which samples: every sample goes to one peer, and nobody who should have data goes without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.scenario.population import SplitSettings
from netsim.virtual.shares import shares_of
from peer.errors import ConfigError

NUM_LABELS = 10
LABELS = np.random.RandomState(3).randint(NUM_LABELS, size=600)
GROUPS = np.random.RandomState(4).randint(40, size=600)


def split(of, *, labels=LABELS, seed=1, holds=None, **knobs):
    return shares_of(SplitSettings(**knobs), holds or [True] * of, labels, GROUPS[: len(labels)], seed=seed)


@pytest.mark.parametrize("how", ["iid", "dirichlet", "shards", "groups"])
@given(of=st.integers(1, 25), seed=st.integers(0, 2**53))
@settings(max_examples=15, deadline=None)
def test_every_sample_goes_to_exactly_one_peer(how, of, seed):
    shares = split(of, how=how, seed=seed)
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(600))
    assert all(len(share) and np.array_equal(share, np.sort(share)) for share in shares)
    if how != "groups":
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= (1 if how != "shards" else 2)


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    for how in ("iid", "dirichlet", "shards", "groups"):
        one, again, other = (split(8, how=how, seed=seed) for seed in (1, 1, 2**40))
        assert all(map(np.array_equal, one, again))
        assert not all(map(np.array_equal, one, other))


def test_shards_give_few_labels_and_a_larger_alpha_more():
    def labels_each(**knobs):
        return np.mean([len(np.unique(LABELS[share])) for share in split(20, **knobs)])

    assert labels_each(how="shards", shards_per_peer=2) <= 4  # a piece may lie across the border of two labels
    assert labels_each(how="dirichlet", alpha=0.1) < labels_each(how="dirichlet", alpha=1.0) < labels_each(how="iid")


def test_groups_stay_whole():
    owner = np.empty(600, dtype=int)
    for peer, share in enumerate(split(12, how="groups")):
        owner[share] = peer
    assert all(len(np.unique(owner[group == GROUPS])) == 1 for group in np.unique(GROUPS))


def test_relays_have_nothing_and_the_others_all():
    shares = split(4, holds=[True, False, True, False])
    assert [len(share) for share in shares] == [300, 0, 300, 0]


@pytest.mark.parametrize("how", ["iid", "dirichlet", "shards"])
def test_samples_per_peer_are_kept_of_each_share(how):
    whole = split(10, how=how)
    some = split(10, how=how, samples_per_peer=20)
    for kept, share in zip(some, whole, strict=True):
        assert len(kept) == 20
        assert set(kept) <= set(share)


@pytest.mark.parametrize("how", ["iid", "dirichlet", "shards"])
def test_a_small_set_is_dealt_out_several_times(how):
    shares = split(100, how=how, samples_per_peer=20)  # 2000 samples of 600: four times
    assert {len(share) for share in shares} == {20}
    dealt = np.bincount(np.concatenate(shares), minlength=600)
    assert dealt.max() <= 4
    assert (dealt > 0).mean() > 0.95
    assert all(np.array_equal(share, np.sort(share)) for share in shares)


def test_several_copies_of_groups_go_to_several_peers():
    shares = split(100, how="groups", samples_per_peer=20)
    assert all(len(np.unique(GROUPS[share])) >= 1 for share in shares)
    assert sum(map(len, shares)) > 600


@pytest.mark.parametrize(
    ("of", "knobs", "complaint"),
    [
        (601, {}, "data: 600 samples cannot be split among 601 peers that hold data; set data.samples_per_peer"),
        (20, {"how": "shards", "shards_per_peer": 31}, "data.shards_per_peer: 20 peers with 31 pieces each are more"),
        (41, {"how": "groups"}, 'data.how = "groups": 40 groups cannot be split among 41 peers'),
    ],
)
def test_a_split_with_empty_peers_is_refused(of, knobs, complaint):
    with pytest.raises(ConfigError) as caught:
        split(of, **knobs)
    assert str(caught.value).startswith(complaint)


def test_nobody_holds_data():
    with pytest.raises(ConfigError, match=r"peers\.classes: nobody holds data"):
        split(2, holds=[False, False])


def test_a_task_without_groups_is_not_split_by_them():
    with pytest.raises(ConfigError, match="this task knows no groups"):
        shares_of(SplitSettings(how="groups"), [True], LABELS, None, seed=1)
