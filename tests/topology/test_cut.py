"""What is left of a graph: set algebra, and ways to split."""

import math

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.graphs import TEN, connected, of
from topology.connectivity import components
from topology.disruption.cut import (
    crossing,
    lost_links,
    partitioned,
    split_by_area,
    split_by_hash,
    split_connected,
    with_edges,
    within,
    without,
    without_edges,
)
from topology.errors import GraphError
from topology.families.positions import ordered
from topology.graph import Graph

seeds = st.integers(-(2**63), 2**63)
some = st.sets(st.integers(0, 15))
few = settings(max_examples=40)


@st.composite
def shares(draw):
    parts = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any))
    return [part / sum(parts) for part in parts]


# Nodes and edges


@few
@given(connected(), some, some)
def test_losses_add_up_in_any_order(graph, dead, more):
    left = without(graph, dead)
    assert left.to_networkx().edges == graph.to_networkx().subgraph(set(graph.nodes) - dead).edges
    assert set(left.nodes) == set(graph.nodes) - dead
    assert without(left, more) == without(without(graph, more), dead) == without(graph, dead | more)
    assert within(graph, more) == without(graph, set(graph.nodes) - more)


@few
@given(connected(), seeds, st.floats(0, 1))
def test_edges_that_are_put_back_heal_the_graph(graph, seed, share):
    lost = lost_links(graph, share, seed)
    left = without_edges(graph, [(b, a) for a, b in lost])
    assert left.nodes == graph.nodes
    assert set(left.edges) == set(graph.edges) - set(lost)
    assert with_edges(left, lost) == graph
    assert without_edges(left, lost) == left


def test_who_is_dead_gets_no_link_back():
    graph = Graph.from_edges("abc", ["ab", "bc"])
    cut = crossing(graph, ["a", "bc"])
    assert cut == (("a", "b"),)
    assert with_edges(without(without_edges(graph, cut), "a"), cut) == Graph.from_edges("bc", ["bc"])


@few
@given(connected(), seeds)
def test_a_larger_share_of_links_loses_the_same_and_more(graph, seed):
    lost = [set(lost_links(graph, share, seed)) for share in (0, 0.2, 0.5, 1)]
    assert lost[0] <= lost[1] <= lost[2] <= lost[3] == set(graph.edges)
    assert [len(edges) for edges in lost] == [math.floor(share * len(graph.edges) + 0.5) for share in (0, 0.2, 0.5, 1)]


def test_each_link_is_lost_alike():
    graph = TEN["barbell"]
    counts = dict.fromkeys(graph.edges, 0)
    for seed in range(400):
        for edge in lost_links(graph, 0.5, seed):
            counts[edge] += 1
    mean = 400 * round(len(counts) * 0.5) / len(counts)
    assert all(abs(count - mean) < 4.5 * math.sqrt(mean / 2) for count in counts.values())


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        lost_links(TEN["ring"], share, 1)


# Partitions


@few
@given(connected(), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_a_partition_cuts_what_crosses_it_and_nothing_else(graph, part):
    groups = [[node for node in graph.nodes if part[node] == number] for number in range(3)]  # 3: in no group
    cut = crossing(graph, groups)
    assert cut == tuple((a, b) for a, b in graph.edges if part[a] != part[b])
    left = partitioned(graph, groups)
    assert set(left.edges) | set(cut) == set(graph.edges)
    assert not set(left.edges) & set(cut)
    assert with_edges(left, cut) == graph


def test_nobody_is_in_two_groups():
    with pytest.raises(GraphError, match="2 is in two groups"):
        partitioned(TEN["ring"], [[1, 2], [2, 3]])


@few
@given(names=st.sets(st.text(max_size=4), max_size=20), shares=shares(), seed=seeds)
def test_groups_drawn_at_random_have_the_sizes_asked_for(names, shares, seed):
    groups = split_by_hash(names, shares, seed)
    assert sorted(node for group in groups for node in group) == sorted(names)
    assert all(group and list(group) == sorted(group) for group in groups)
    assert all(min(abs(len(group) - share * len(names)) for share in shares) <= 1 for group in groups)
    assert groups == split_by_hash(sorted(names, reverse=True), shares, seed)


def test_the_seed_decides_who_is_on_which_side():
    sides = {split_by_hash(range(20), [0.25, 0.75], seed) for seed in range(5)}
    assert len(sides) == 5
    assert {(len(few), len(many)) for few, many in sides} == {(5, 15)}


def test_lines_on_the_map():
    places = {node: (node % 4, node // 4) for node in range(16)}
    assert split_by_area(places, [0.5, 0.5]) == (
        tuple(node for node in range(16) if node % 4 < 2),
        tuple(node for node in range(16) if node % 4 >= 2),
    )
    assert split_by_area(places, [0.25, 0.25, 0.5], 90) == (tuple(range(4)), tuple(range(4, 8)), tuple(range(8, 16)))
    assert split_by_area(places, [1 / 16, 15 / 16], 45)[0] == (0,)
    assert split_by_area(places, [1 / 16, 15 / 16], 225)[0] == (15,)


@pytest.mark.parametrize("shares", [[], [0.5, 0.4], [-0.5, 1.5], [math.nan]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_hash(range(4), shares, 0)
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_area({0: (0, 0)}, shares)


@few
@given(connected(), st.integers(1, 5), seeds)
def test_parts_of_a_connected_graph_are_connected(graph, num_parts, seed):
    parts = split_connected(graph, num_parts, seed)
    assert len(parts) == min(num_parts, len(graph))
    assert sorted(node for part in parts for node in part) == list(graph.nodes)
    assert all(within(graph, part).is_connected() for part in parts)
    assert len(components(partitioned(graph, parts))) == len(parts)


def test_parts_are_of_about_equal_size():
    grid = of(nx.grid_2d_graph(12, 12, periodic=True))
    for seed in range(5):
        sizes = [len(part) for part in split_connected(grid, 4, seed)]
        assert sum(sizes) == 144
        assert min(sizes) >= 24
    assert len({split_connected(grid, 4, seed) for seed in range(5)}) == 5


def test_islands_without_a_centre_go_to_the_smallest_part_whole():
    islands = [(0, 1, 2, 3), (4, 5, 6), (7, 8), (9,)]
    graph = Graph.from_edges(range(10), [(a, a + 1) for island in islands for a in island[:-1]])
    for seed in range(10):
        assert split_connected(graph, 1, seed) == (graph.nodes,)
        centres = set(ordered(graph.nodes, seed, "split")[:3])
        parts = split_connected(graph, 3, seed)
        for island in islands:
            touching = [part for part in parts if set(part) & set(island)]
            assert len(touching) == max(1, len(centres & set(island)))
        assert max(map(len, parts)) <= 6


def test_at_least_one_part():
    with pytest.raises(ValueError, match="at least one part"):
        split_connected(TEN["ring"], 0, 1)
    assert split_connected(Graph({}), 3, 1) == ()
