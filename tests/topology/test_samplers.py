"""What every sampler promises, over the registry; then what each one adds, with the theory it is chosen for."""

import math
import subprocess
import sys
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.catalogue import entry_of
from topology.digraph import Digraph
from topology.errors import BadParameterError
from topology.families import registry as families
from topology.graph import Graph
from topology.samplers import registry
from topology.samplers.draws import distinct_others, generator

ALONG_THE_GRAPH = {"static", "random-neighbour", "graph-matching"}
MUTUAL = {"static", "epidemic-oracle", "matching", "graph-matching"}

names = st.lists(st.text(max_size=5), max_size=12)
numbers = st.lists(st.integers(-(2**70), 2**70), max_size=12)
seeds = st.integers(-(2**63), 2**63)
rounds = st.integers(0, 2**40)


@pytest.fixture(params=registry.names())
def sampler(request):
    return registry.build(request.param)


def ring(members):
    return families.build("ring").build(members, 0)


def drawn(name, members=range(16), seed=1, round=0, graph=None, **params):
    return registry.build(name, params).draw(
        members, seed=seed, round=round, graph=ring(members) if graph is None else graph
    )


def averaging(digraph):
    """Every node takes the mean of itself and its senders: float64 [n, n]."""
    n = len(digraph)
    matrix = np.eye(n)
    for node in digraph.nodes:
        matrix[node, list(digraph.senders(node))] = 1
    return matrix / matrix.sum(1, keepdims=True)


# All of them


@settings(max_examples=40, deadline=None)  # the first draw imports numpy
@given(members=names | numbers, seed=seeds, round=rounds, data=st.data())
def test_peers_agree_in_whatever_order_they_heard_of_each_other(members, seed, round, data):
    shuffled = data.draw(st.permutations(members + members[:3]))
    graph = ring(members)
    for name in registry.names():
        sampler = registry.build(name)
        draw = sampler.draw(members, seed=seed, round=round, graph=graph)
        assert draw == sampler.draw(iter(shuffled), seed=seed, round=round, graph=graph)
        assert draw.nodes == tuple(sorted(set(members)))
        assert draw.is_mutual() or name not in MUTUAL
        if name in ALONG_THE_GRAPH:
            assert all(b in graph.neighbours(a) for a, b in draw.edges)


@settings(max_examples=40, deadline=None)
@given(known=names, members=names, round=rounds)
def test_a_graph_over_other_members_is_used_as_far_as_it_goes(known, members, round):
    graph = ring(known)
    for name in sorted(ALONG_THE_GRAPH):
        draw = drawn(name, members, round=round, graph=graph)
        assert draw.nodes == tuple(sorted(set(members)))
        assert all(a in graph and b in graph.neighbours(a) for a, b in draw.edges)


def test_another_round_gives_another_draw_when_it_says_so(sampler):
    graph = ring(range(16))
    draws = {sampler.draw(range(16), seed=1, round=round, graph=graph) for round in range(4)}
    assert len(draws) == (4 if sampler.changes else 1)


def test_the_seed_decides(sampler):
    draws = {sampler.draw(range(16), seed=seed, round=3, graph=ring(range(16))) for seed in range(4)}
    assert len(draws) == (4 if sampler.changes else 1)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_members(sampler, n):
    draw = sampler.draw(range(n), seed=0, round=0, graph=ring(range(n)))
    assert len(draw) == n
    assert draw.edges == () or n > 1


def test_documented_in_the_form_of_the_catalogue(sampler):
    entry = entry_of(registry, next(n for n in registry.names() if registry.piece(n) is type(sampler)))
    assert entry.summary.endswith(".")
    assert entry.formula
    assert entry.source
    assert all(len(parameter.meaning) > 20 for parameter in entry.parameters)


def test_the_same_in_another_process_under_another_hash_seed():
    code = (
        "from topology.families import registry as families\nfrom topology.samplers import registry\n"
        "members = list(map(str, range(9)))\ngraph = families.build('ring').build(members, 7)\n"
        "for name in registry.names():\n"
        "    print(name, registry.build(name).draw(members, seed=7, round=2, graph=graph).edges)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": "5"})
    members = list(map(str, range(9)))
    draws = {
        name: drawn(name, members, seed=7, round=2, graph=families.build("ring").build(members, 7))
        for name in registry.names()
    }
    assert run.stdout.decode() == "".join(f"{name} {draw.edges}\n" for name, draw in draws.items())


def test_nothing_heavy_is_imported_to_read_the_settings():
    code = (
        "import sys\n"
        "from topology.samplers import registry as samplers\nfrom topology.disruption import registry as targets\n"
        "assert all(registry.config(name) for registry in (samplers, targets) for name in registry.names())\n"
        "print(*{'numpy', 'networkx', 'torch', 'trio'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split() == []


def test_draws_are_frozen():
    """A change here breaks every running swarm: peers of different versions would not agree on the exchange."""
    draws = {name: drawn(name, "abcde", seed=3, round=4).edges for name in registry.names()}
    assert {name: " ".join(a + b for a, b in edges) for name, edges in draws.items()} == FROZEN


# Draws of distinct partners


def test_all_sets_of_others_are_equally_likely():
    who = np.repeat(np.arange(5), 4000)
    rows = distinct_others(generator(1, 0, "test"), who, 2, 5)
    for node in range(5):
        counts = Counter(tuple(sorted(row)) for row in rows[who == node].tolist())
        assert set(counts) == {(a, b) for a in range(5) for b in range(a + 1, 5) if node not in (a, b)}
        assert max(abs(count - 4000 / 6) for count in counts.values()) < 4 * math.sqrt(4000 / 6)


@given(n=st.integers(2, 30), data=st.data())
def test_partners_are_distinct_others(n, data):
    count = data.draw(st.integers(0, n - 1))
    rows = distinct_others(generator(1, n, "test"), np.arange(n), count, n)
    assert rows.shape == (n, count)
    assert all(len({node, *row}) == count + 1 and set(row) <= set(range(n)) for node, row in enumerate(rows.tolist()))


def test_purposes_rounds_and_seeds_have_streams_of_their_own():
    firsts = {
        generator(seed, round, purpose).randint(2**31 - 1) for seed in (0, 1) for round in (0, 1) for purpose in "ab"
    }
    assert len(firsts) == 8
    assert generator(0, 1, "a").randint(2**31 - 1) in firsts


# static


def test_static_is_the_graph():
    graph = families.build("regular").build(range(20), 1)
    assert drawn("static", range(20), graph=graph) == Digraph.from_graph(graph)


# random-neighbour


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_random_neighbour_pushes_to_so_many_of_the_neighbours(count):
    graph = families.build("erdos-renyi", {"p": 0.3}).build(range(20), 1)
    draw = drawn("random-neighbour", range(20), graph=graph, count=count)
    assert all(len(draw.receivers(node)) == min(count, graph.degree(node)) for node in graph.nodes)


def test_each_neighbour_gets_its_turn():
    star = Graph.from_edges(range(5), [(0, node) for node in range(1, 5)])
    counts = Counter(drawn("random-neighbour", range(5), round=k, graph=star).receivers(0)[0] for k in range(800))
    assert all(abs(counts[node] - 200) < 4 * math.sqrt(200 * 3 / 4) for node in range(1, 5))


# epidemic-local, epidemic-oracle


@pytest.mark.parametrize(("n", "fanout"), [(2, 1), (3, 2), (8, 3), (9, 4), (16, 4), (17, 5), (1000, 10)])
def test_epidemic_local_pushes_to_log_n_members(n, fanout):
    draw = drawn("epidemic-local", range(n))
    assert {len(draw.receivers(node)) for node in draw.nodes} == {fanout}


def test_senders_of_epidemic_local_are_nearly_poisson():
    draw = drawn("epidemic-local", range(4000), count=3)
    in_degrees = np.array([len(draw.senders(node)) for node in draw.nodes])
    assert in_degrees.mean() == 3
    assert in_degrees.var() == pytest.approx(3, rel=0.1)
    assert (in_degrees == 0).mean() == pytest.approx(math.exp(-3), rel=0.15)


def test_more_receivers_than_members_are_all_members():
    assert drawn("epidemic-local", range(5), count=100) == Digraph.from_graph(
        families.build("complete").build(range(5), 0)
    )


@pytest.mark.parametrize("degree", [1, 2, 3, 6])
def test_epidemic_oracle_is_regular_in_each_round(degree):
    for round in range(3):
        draw = drawn("epidemic-oracle", range(40), round=round, degree=degree)
        assert {len(draw.receivers(node)) for node in draw.nodes} == {degree}


# matching, graph-matching


@pytest.mark.parametrize("n", [10, 11])
def test_matching_leaves_out_the_odd_one_only(n):
    idle = Counter()
    for round in range(200):
        draw = drawn("matching", range(n), round=round)
        idle.update(node for node in draw.nodes if not draw.receivers(node))
        assert Counter(len(draw.receivers(node)) for node in draw.nodes)[1] == n - n % 2
    assert len(idle) == (11 if n % 2 else 0)


def test_all_matchings_are_equally_likely():
    counts = Counter(drawn("matching", range(4), round=round).receivers(0)[0] for round in range(900))
    assert all(abs(counts[node] - 300) < 4 * math.sqrt(300 * 2 / 3) for node in (1, 2, 3))


def test_a_matching_halves_the_variance_as_it_should():
    """E[W²] = E[W] contracts by (n−2)/(2n−2) on vectors of mean zero [Boyd et al. 2006]."""
    n = 8
    mean = sum(averaging(drawn("matching", range(n), round=round)) for round in range(500)) / 500
    values = np.linalg.eigvalsh((mean + mean.T) / 2)
    assert values[:-1].mean() == pytest.approx((n - 2) / (2 * n - 2), abs=0.002)
    assert values[-2] == pytest.approx((n - 2) / (2 * n - 2), abs=0.06)


@given(seed=seeds, p=st.floats(0, 1))
def test_a_matching_in_the_graph_is_maximal(seed, p):
    graph = families.build("erdos-renyi", {"p": p}).build(range(12), seed)
    draw = drawn("graph-matching", range(12), seed, graph=graph)
    assert max(len(draw.receivers(node)) for node in draw.nodes) <= 1
    assert all(draw.receivers(a) or draw.receivers(b) for a, b in graph.edges)


def test_every_edge_of_the_graph_is_used_some_time():
    graph = families.build("regular").build(range(12), 1)
    used = {edge for round in range(60) for edge in drawn("graph-matching", range(12), round=round, graph=graph).edges}
    assert used == set(Digraph.from_graph(graph).edges)


# one-peer-exponential


@pytest.mark.parametrize("order", ["hash", "sorted"])
@pytest.mark.parametrize("n", [2, 4, 8, 32])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_one_peer_exponential_is_an_exact_average_after_log_n_rounds(n, order, start):
    """[Ying et al. 2021]: whichever round it begins with."""
    product = np.eye(n)
    for round in range(start, start + n.bit_length() - 1):
        assert not np.allclose(product, 1 / n)
        product = averaging(drawn("one-peer-exponential", range(n), round=round, order=order)) @ product
    np.testing.assert_allclose(product, 1 / n)


@pytest.mark.parametrize("n", [2, 3, 7, 12])
def test_one_peer_exponential_gives_one_and_takes_one(n):
    for round in range(6):
        draw = drawn("one-peer-exponential", range(n), round=round)
        assert (
            {len(draw.receivers(node)) for node in draw.nodes}
            == {len(draw.senders(node)) for node in draw.nodes}
            == {1}
        )


def test_distances_double_in_the_order_of_names():
    draws = [drawn("one-peer-exponential", range(10), round=round, order="sorted") for round in range(5)]
    assert [draw.receivers(3)[0] for draw in draws] == [4, 5, 7, 1, 4]


# expected-pull


@pytest.mark.parametrize("mean", [0.0, 0.2, 1.0, 2.5])
def test_expected_pull_pulls_so_many_in_the_mean(mean):
    counts = Counter()
    for round in range(10):
        draw = drawn("expected-pull", range(300), round=round, mean=mean)
        counts.update(len(draw.senders(node)) for node in draw.nodes)
    assert set(counts) <= {math.floor(mean), math.ceil(mean)}
    pulled = sum(count * number for count, number in counts.items()) / 3000
    assert pulled == pytest.approx(mean, abs=4 * math.sqrt((mean % 1) * (1 - mean % 1) / 3000))


def test_the_one_who_pulls_is_the_receiver():
    draw = drawn("expected-pull", range(300), mean=2.0)
    assert {len(draw.senders(node)) for node in draw.nodes} == {2}
    assert len({len(draw.receivers(node)) for node in draw.nodes}) > 2


def test_pulling_from_all_is_an_all_reduce():
    np.testing.assert_allclose(averaging(drawn("expected-pull", range(9), mean=8.0)), 1 / 9)
    assert drawn("expected-pull", range(9), mean=50.5) == drawn("expected-pull", range(9), mean=8.0)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("random-neighbour", {"count": 0}),
        ("epidemic-local", {"count": -1}),
        ("epidemic-oracle", {"degree": 0}),
        ("one-peer-exponential", {"order": "random"}),
        ("expected-pull", {"mean": -0.1}),
        ("expected-pull", {"mean": math.nan}),
        ("static", {"degree": 3}),
    ],
)
def test_parameters_out_of_range_are_refused(name, params):
    with pytest.raises(BadParameterError, match=name):
        registry.build(name, params)


def test_configs_are_plain_values():
    for name in registry.names():
        config = registry.check(name)
        assert msgspec.convert(msgspec.to_builtins(config), type(config)) == config


FROZEN = {
    "epidemic-local": "ab ac ad ba bd be ca cb ce da db de ea ec ed",
    "epidemic-oracle": "ab ac ad ae ba bc bd be ca cb cd ce da db dc de ea eb ec ed",
    "expected-pull": "ce",
    "graph-matching": "ad ce da ec",
    "matching": "ae cd dc ea",
    "one-peer-exponential": "ab bd ce dc ea",
    "random-neighbour": "ab ba cb de ec",
    "static": "ab ad ba bc cb ce da de ec ed",
}
