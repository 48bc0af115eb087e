"""Families that are drawn: Barabási–Albert, Watts–Strogatz, geometric and clustered graphs have the laws of theory."""

import itertools
import math
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.families import registry
from topology.families.geometric import radius_of, share_within
from topology.families.pair_hash import pair_hashes
from topology.families.positions import position, words
from topology.families.urn import Urn


def build(name, n, seed=0, **params):
    return registry.build(name, params).build(range(n), seed)


# Draws ---------------------------------------------------------------------------------------------------------------


def spread(counts, expected):
    """Pearson's statistic in units of its mean: near 1 for draws that are as uneven as chance makes them."""
    return sum((count - expected) ** 2 / expected for count in counts) / (len(counts) - 1)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_draws_are_uniform(n):
    urn = Urn(range(n), 3, "test")
    draws = 300 * n
    counts = Counter(urn.draw(words("draw", n, i)) for i in range(draws))
    assert set(counts) == set(range(n))
    assert n == 1 or spread([counts[rank] for rank in range(n)], draws / n) < 1.7


@pytest.mark.parametrize("rank", [1, 2, 5, 39])
def test_draws_among_the_earlier_are_uniform(rank):
    urn = Urn(range(40), 3, "test")
    draws = 300 * rank
    counts = Counter(urn.draw_before(rank, words("draw", rank, i)) for i in range(draws))
    assert set(counts) == set(range(rank))
    assert rank == 1 or spread([counts[earlier] for earlier in range(rank)], draws / rank) < 1.8


def test_a_member_more_changes_few_draws():
    draws = 2000
    for n in (50, 63, 64, 200):
        before, after = Urn(range(n), 1, "test"), Urn(range(n + 1), 1, "test")
        changed = sum(
            before.order[before.draw(words("draw", i))] != after.order[after.draw(words("draw", i))]
            for i in range(draws)
        )
        assert 0 < changed / draws < 6 / n


def test_words_are_a_stream_for_each_name():
    first, second = list(itertools.islice(words(1, "a"), 20)), list(itertools.islice(words(1, "b"), 20))
    assert first == list(itertools.islice(words(1, "a"), 20))
    assert len({*first, *second}) == 40
    assert np.mean([word / 2**64 for word in itertools.islice(words("mean"), 4000)]) == pytest.approx(0.5, abs=0.02)


# Barabási–Albert -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 2, 4])
@pytest.mark.parametrize("n", [2, 5, 30, 200])
def test_barabasi_albert_has_m_edges_per_arrival_and_is_connected_m_times(m, n):
    graph = build("barabasi-albert", n, seed=n, m=m)
    first = min(n, m + 1)
    assert len(graph.edges) == first * (first - 1) // 2 + (n - first) * m
    if n > m:
        assert min(map(graph.degree, graph.nodes)) == m or n == m + 1
        assert nx.node_connectivity(graph.to_networkx()) == m


@pytest.mark.parametrize("m", [1, 3])
def test_barabasi_albert_degrees_have_the_known_law(m):
    """P(k) = 2m(m+1) / (k(k+1)(k+2)) [Bollobás et al. 2001], and P(≥ k) = m(m+1) / (k(k+1)); slope of the tail −3."""
    n, seeds = 2000, 4
    degrees = Counter()
    for seed in range(seeds):
        graph = build("barabasi-albert", n, seed, m=m)
        degrees.update(map(graph.degree, graph.nodes))
    total = n * seeds
    for k in range(m, m + 4):
        expected = 2 * m * (m + 1) / (k * (k + 1) * (k + 2)) * total
        assert degrees[k] == pytest.approx(expected, abs=4 * math.sqrt(expected))
    tail = {k: sum(count for degree, count in degrees.items() if degree >= k) / total for k in (10, 20, 40)}
    for k, share in tail.items():
        assert share == pytest.approx(m * (m + 1) / (k * (k + 1)), rel=0.35)
    assert 1 - math.log(tail[40] / tail[10]) / math.log(40 / 10) == pytest.approx(3, abs=0.3)
    assert max(degrees) > 0.7 * m * math.sqrt(n)


def test_barabasi_albert_differs_from_uniform_attachment():
    """The oldest have grown: were targets uniform, the first would have about m·ln(n) neighbours, not m·√n."""
    n, m = 2000, 2
    oldest = [
        build("barabasi-albert", n, seed, m=m).degree(
            min(range(n), key=lambda name, seed=seed: position(seed, "barabasi-albert arrival", name))
        )
        for seed in range(6)
    ]
    assert np.mean(oldest) > 3 * m * math.log(n)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_a_join_changes_about_ten_m_edges_of_barabasi_albert(m):
    changed = []
    for seed in range(4):
        graphs = [set(build("barabasi-albert", n, seed, m=m).edges) for n in range(100, 112)]
        changed += [len(a ^ b) for a, b in itertools.pairwise(graphs)]
    assert np.mean(changed) < 16 * m


# Watts–Strogatz ------------------------------------------------------------------------------------------------------


def test_watts_strogatz_without_shortcuts_is_a_ring_lattice():
    graph = build("watts-strogatz", 30, degree=6, rewire=0)
    lattice = nx.circulant_graph(30, [1, 2, 3])
    order = Urn(range(30), 0, "watts-strogatz").order
    assert nx.utils.graphs_equal(graph.to_networkx(), nx.relabel_nodes(lattice, dict(enumerate(order))))


@pytest.mark.parametrize("rewire", [0.0, 0.05, 0.2, 0.6, 1.0])
def test_clustering_falls_and_edges_stay_as_watts_strogatz_is_rewired(rewire):
    n, degree = 1000, 8
    graph = build("watts-strogatz", n, seed=2, degree=degree, rewire=rewire)
    assert len(graph.edges) == n * degree // 2
    assert min(map(graph.degree, graph.nodes)) >= degree // 2
    expected = 3 * (degree - 2) / (4 * (degree - 1)) * (1 - rewire) ** 3
    assert nx.average_clustering(graph.to_networkx()) == pytest.approx(expected, abs=0.02)


def test_a_few_shortcuts_make_a_small_world():
    far, near, random = (
        nx.average_shortest_path_length(build("watts-strogatz", 400, 1, degree=6, rewire=p).to_networkx())
        for p in (0, 0.05, 1)
    )
    assert far == pytest.approx(400 / (2 * 6), rel=0.05)
    assert near < far / 4
    assert random == pytest.approx(math.log(400) / math.log(6), rel=0.15)


def test_the_share_of_shortcuts_is_the_probability():
    n, degree, rewire = 2000, 4, 0.3
    order = Urn(range(n), 1, "watts-strogatz").order
    rank = {name: i for i, name in enumerate(order)}
    graph = build("watts-strogatz", n, 1, degree=degree, rewire=rewire)
    apart = [(rank[a] - rank[b]) % n for a, b in graph.edges]
    shortcuts = sum(min(hop, n - hop) > degree // 2 for hop in apart)
    assert shortcuts / len(graph.edges) == pytest.approx(rewire, rel=0.06)


@pytest.mark.parametrize("n", range(1, 12))
def test_small_worlds_of_few_members_end(n):
    for seed in range(5):
        graph = build("watts-strogatz", n, seed, degree=4, rewire=1.0)
        assert len(graph.edges) <= n * 2
        if n <= 5:
            assert len(graph.edges) == n * (n - 1) // 2


# Geometric -----------------------------------------------------------------------------------------------------------

places = st.floats(0, 1, exclude_max=True)


@given(
    at=st.dictionaries(st.integers(0, 99), st.tuples(places, places), max_size=15),
    radius=st.floats(1e-6, 1.6),
)
def test_geometric_neighbours_are_those_nearer_than_the_radius(at, radius):
    graph = registry.build("geometric", {"radius": radius}).build_at(at)
    assert graph.nodes == tuple(sorted(at))
    near = {
        (a, b)
        for a, b in itertools.combinations(sorted(at), 2)
        if (at[a][0] - at[b][0]) ** 2 + (at[a][1] - at[b][1]) ** 2 < radius**2
    }
    assert set(graph.edges) == near


def test_geometric_of_many_is_what_all_pairs_give():
    family = registry.build("geometric", {"radius": 0.09})
    at = family.positions(range(300), 4)
    graph = family.build(range(300), 4)
    assert graph == family.build_at(at)
    near = [(a, b) for a, b in itertools.combinations(range(300), 2) if math.dist(at[a], at[b]) < 0.09]
    assert graph.edges == tuple(near)
    assert len(near) > 600


def test_a_pair_at_the_radius_is_no_edge():
    family = registry.build("geometric", {"radius": 0.5})
    assert family.build_at({1: (0.0, 0.0), 2: (0.5, 0.0)}).edges == ()
    assert family.build_at({1: (0.0, 0.0), 2: (0.49999, 0.0)}).edges == ((1, 2),)
    assert family.build_at({1: (-3.0, 2.0), 2: (-3.2, 2.0)}).edges == ((1, 2),)  # who moves may leave the map


@pytest.mark.parametrize(("n", "degree"), [(150, 6), (300, 12), (60, 40), (60, 58), (2, 1)])
def test_a_degree_is_met(n, degree):
    family = registry.build("geometric", {"degree": degree})
    mean = np.mean([2 * len(family.build(range(n), seed).edges) / n for seed in range(30)])
    assert mean == pytest.approx(min(n - 1, degree), rel=0.03)


@pytest.mark.parametrize("degree", [59, 60, 1e9])
def test_a_degree_that_cannot_be_met_gives_the_complete_graph(degree):
    graph = registry.build("geometric", {"degree": degree}).build(range(60), 0)
    assert graph == registry.build("complete").build(range(60), 0)


@given(share=st.floats(1e-12, 0.97))
def test_the_radius_is_the_inverse_of_the_share(share):
    assert share_within(radius_of(share)) == pytest.approx(share, rel=1e-9)


def test_clustering_of_geometric_graphs_is_that_of_overlapping_discs():
    """1 − 3√3/4π for two discs whose centres are in each other [Dall & Christensen 2002]; more along the border."""
    graph = build("geometric", 2000, degree=15)
    assert nx.average_clustering(graph.to_networkx()) == pytest.approx(1 - 3 * math.sqrt(3) / (4 * math.pi), abs=0.05)


# Clustered -----------------------------------------------------------------------------------------------------------


def test_clustered_blocks_have_their_densities():
    family = registry.build("clustered", {"clusters": 3, "p_in": 0.4, "p_out": 0.05})
    n, seeds = 240, 6
    edges, pairs = Counter(), Counter()
    for seed in range(seeds):
        cluster = [family.cluster(name, seed) for name in range(n)]
        assert set(cluster) == {0, 1, 2}
        assert max(Counter(cluster).values()) < n / 3 + 4 * math.sqrt(n / 3)
        pairs.update(cluster[a] == cluster[b] for a, b in itertools.combinations(range(n), 2))
        edges.update(cluster[a] == cluster[b] for a, b in family.build(range(n), seed).edges)
    assert edges[True] / pairs[True] == pytest.approx(0.4, rel=0.02)
    assert edges[False] / pairs[False] == pytest.approx(0.05, rel=0.04)


def test_one_cluster_is_an_erdos_renyi_graph():
    counts = []
    for seed in range(40):
        graph = build("clustered", 40, seed, clusters=1, p_in=0.3, p_out=0.0)
        counts.append(len(graph.edges))
    pairs = 40 * 39 / 2
    assert np.mean(counts) == pytest.approx(0.3 * pairs, rel=0.03)
    assert np.std(counts) == pytest.approx(math.sqrt(pairs * 0.3 * 0.7), rel=0.35)  # pairs are independent


def test_the_seed_decides_on_clusters():
    cluster = registry.build("clustered", {"clusters": 4, "p_in": 1.0, "p_out": 0.0}).cluster
    moved = sum(cluster(name, 1) != cluster(name, 2) for name in range(400))
    assert moved / 400 == pytest.approx(3 / 4, abs=0.1)


def test_certain_and_impossible_edges():
    graph = build("clustered", 30, 1, clusters=4, p_in=1.0, p_out=0.0)
    cluster = registry.build("clustered", {"clusters": 4, "p_in": 1.0, "p_out": 0.0}).cluster
    groups = Counter(cluster(name, 1) for name in range(30))
    assert sorted(map(len, nx.connected_components(graph.to_networkx()))) == sorted(groups.values())
    assert len(graph.edges) == sum(size * (size - 1) // 2 for size in groups.values())
    everybody = build("clustered", 30, 1, clusters=4, p_in=1.0, p_out=1.0)
    assert everybody == registry.build("complete").build(range(30), 0)


def test_a_pair_of_a_clustered_graph_depends_on_no_third_member():
    family = registry.build("clustered", {"p_in": 0.5, "p_out": 0.2})
    small, large = family.build(range(30), 3), family.build(range(60), 3)
    assert small.edges == tuple(edge for edge in large.edges if max(edge) < 30)


def scrambled(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@given(key=st.integers(0, 2**64 - 1), others=st.lists(st.integers(0, 2**64 - 1), max_size=8))
def test_pair_hashes_are_their_slow_twin_and_the_same_from_either_end(key, others):
    found = pair_hashes(key, np.array(others, dtype=np.uint64))
    slow = [(scrambled((key + other) % 2**64 ^ scrambled(key ^ other)) >> 11) / 2**53 for other in others]
    assert found.tolist() == slow
    assert all(
        pair_hashes(other, np.array([key], dtype=np.uint64)) == one for other, one in zip(others, found, strict=True)
    )


def test_pair_hashes_are_uniform():
    keys = [position("key", i) for i in range(400)]
    found = np.concatenate([pair_hashes(keys[i], np.array(keys[i + 1 :], dtype=np.uint64)) for i in range(399)])
    counts, _ = np.histogram(found, bins=64, range=(0, 1))
    assert spread(counts.tolist(), len(found) / 64) < 1.6
    assert len(set(found.tolist())) == len(found)
