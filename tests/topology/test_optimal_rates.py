"""DADAO's optimal rates against the golden file and against what no rates can beat."""

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from tests.topology.graphs import of
from topology.errors import GraphError
from topology.graph import Graph
from topology.optimal_rates import optimal_rates
from topology.spectra import chi, least_rate

CASES = json.loads((Path(__file__).parents[1] / "golden" / "dadao_optimal_rates.json").read_text())["cases"]


def graph_of(case):
    return Graph.from_edges(range(case["n"]), map(tuple, case["edges"]))


def total(graph, rates):
    """What the rates cost once they are scaled to 2 χ₁ χ₂ = 1."""
    chi1, chi2 = chi(graph, dict(zip(graph.edges, rates, strict=True)))
    return (2 * chi1 * chi2) ** 0.5 * sum(rates)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_totals_are_those_of_the_golden_file_or_less(case):
    graph = graph_of(case)
    rates = optimal_rates(graph)
    assert list(rates) == list(graph.edges)
    assert sum(rates.values()) == pytest.approx(case["optimal_total"], rel=1e-2)
    assert sum(rates.values()) <= min(case["optimal_total"], case["uniform_total"]) * (1 + 1e-5)
    chi1, chi2 = chi(graph, rates)
    assert 2 * chi1 * chi2 == pytest.approx(1, abs=1e-9)
    assert case["uniform_total"] / sum(rates.values()) == pytest.approx(case["gain"], rel=1e-2)


@pytest.mark.parametrize("case", [case for case in CASES if case["gain"] > 1.01], ids=lambda case: case["name"])
def test_no_rates_near_by_cost_less(case):
    graph = graph_of(case)
    rates = np.array(list(optimal_rates(graph).values()))
    random = np.random.default_rng(5)
    for length in (1e-2, 1e-1):
        for _ in range(40):
            assert total(graph, rates * np.exp(length * random.normal(size=len(rates)))) >= rates.sum() * (1 - 1e-5)


def test_a_bridge_is_used_more():
    barbell = of(nx.barbell_graph(4, 0))
    rates = optimal_rates(barbell)
    assert max(rates, key=rates.__getitem__) == (3, 4)
    assert rates[3, 4] > 2 * max(rate for edge, rate in rates.items() if edge != (3, 4))


def test_two_nodes_need_one_meeting_per_unit():
    """χ₁ = χ₂ = 1 / (2 λ): 2 χ₁ χ₂ = 1 at λ = 1/√2."""
    assert optimal_rates(Graph.from_edges("ab", [("a", "b")])) == {("a", "b"): pytest.approx(0.5**0.5)}


@pytest.mark.parametrize("graph", [of(nx.complete_graph(5)), of(nx.star_graph(6)), of(nx.path_graph(7))], ids=repr)
def test_never_above_equal_rates_which_are_optimal_here(graph):
    equal = least_rate(graph) * len(graph.edges)
    found = sum(optimal_rates(graph).values())
    assert found == pytest.approx(equal, rel=1e-5)
    assert found <= equal * (1 + 1e-12)


@pytest.mark.parametrize("graph", [Graph.from_edges([0], []), Graph.from_edges(range(4), [(0, 1), (2, 3)])])
def test_graphs_that_never_agree_are_refused(graph):
    with pytest.raises(GraphError, match="connected"):
        optimal_rates(graph)
