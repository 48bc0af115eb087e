"""Graphs from files: what is read, how nodes become members, and what is wrong with a bad file."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.test_families import DODECAHEDRON
from topology.errors import BadParameterError
from topology.families import registry
from topology.families.file import natural
from topology.graph import Graph


def load(path):
    return registry.build("file", {"path": str(path)})


@pytest.fixture
def write(tmp_path):
    def put(text, name="graph.edges"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return put


def test_the_dodecahedron():
    graph = load(DODECAHEDRON).build(range(20), 0)
    assert set(map(graph.degree, graph.nodes)) == {3}
    assert nx.diameter(graph.to_networkx()) == 5
    assert nx.utils.edges_equal(graph.edges, nx.dodecahedral_graph().edges)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# nodes\n% more of it\n\n1 2\n2\t3 0.5 # a weight\n2 1\n10 3\n"),
        ("a.edges", "1 2\r\n2 3\r\n3 10\r\n"),
        ("a.csv", "source,target,weight\n1,2,0.5\n2, 3,0.25\n3,10,1\n"),
        ("a.CSV", "From, To\n1,2\n2,3\n3,10\n"),
        ("a.csv", b"\xef\xbb\xbf1,2\n2,3\n3,10\n"),
    ],
)
def test_edge_lists(write, name, text):
    family = load(write(text, name))
    assert family.graph == Graph.from_edges(["1", "2", "3", "10"], [("1", "2"), ("2", "3"), ("3", "10")])
    assert family.build(["d", "b", "a", "c"], 0).edges == (("a", "b"), ("b", "c"), ("c", "d"))


def test_fewer_members_take_the_first_nodes(write):
    family = load(write("n1 n2\nn2 n10\nn10 n1\n"))
    assert family.build([7, 5], 0) == Graph.from_edges([5, 7], [(5, 7)])
    assert family.build([7, 5, 9], 3).edges == ((5, 7), (5, 9), (7, 9))


def test_more_members_than_nodes_are_refused(write):
    family = load(write("1 2\n2 3\n"))
    with pytest.raises(BadParameterError, match=r"graph\.edges: its 3 nodes are too few for 4 members"):
        family.build(range(4), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n\n3\n", "line 3: expected two names of nodes, got '3'"),
        ("1,2\n,3\n", "line 2: expected two names of nodes, got ',3'"),
        ("1 2\n# 3 3\n2 2 # again\n", "line 3: node '2' may not be its own neighbour"),
        ("1 2\nsource target\ntarget target\n", "line 3: node 'target'"),
        ("# nothing\n", "no edge in it"),
        ("source,target\n", "no edge in it"),
        (b"1 2\n\xff\xfe 3\n", "not a text in UTF-8"),
    ],
)
def test_bad_edge_lists_are_refused_with_the_line(write, text, message):
    with pytest.raises(BadParameterError, match=message):
        load(write(text))


def test_a_missing_file_a_folder_and_an_unknown_kind(tmp_path, write):
    with pytest.raises(BadParameterError, match=r"nowhere\.txt: cannot be read: No such file"):
        load(tmp_path / "nowhere.txt")
    with pytest.raises(BadParameterError, match=r"nowhere\.graphml: cannot be read: No such file"):
        load(tmp_path / "nowhere.graphml")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(BadParameterError, match="cannot be read"):
        load(tmp_path / "folder.txt")
    with pytest.raises(BadParameterError, match=r"ends in \.csv, \.edges, \.graphml, \.txt, not '\.gexf'"):
        load(write("<gexf/>", "graph.gexf"))


@pytest.mark.parametrize("name", ["ring", "barabasi-albert", "star"])
def test_graphml_there_and_back(tmp_path, name):
    members = [f"peer{i}" for i in range(12)]
    graph = registry.build(name).build(members, 3)
    path = tmp_path / "graph.graphml"
    nx.write_graphml(graph.to_networkx(), path)
    family = load(path)
    assert family.graph == graph
    in_natural_order = dict(zip(members, range(12), strict=True))
    expected = [(in_natural_order[a], in_natural_order[b]) for a, b in graph.edges]
    assert family.build(range(12), 0) == Graph.from_edges(range(12), expected)


def test_graphml_of_numbers_directed_edges_and_nodes_alone(tmp_path):
    directed = nx.MultiDiGraph([(2, 10), (10, 2), (2, 10), (9, 2)])
    directed.add_node(11)
    path = tmp_path / "graph.graphml"
    nx.write_graphml(directed, path)
    assert load(path).build("abcd", 0).edges == (("a", "b"), ("a", "c"))  # 2, 9, 10, 11


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n", "no GraphML: .*line 1"),
        ("<graphml>\n<graph>", "no GraphML: .*line 2"),
        ("<html></html>", "no GraphML"),
        ('<graphml xmlns="http://graphml.graphdrawing.org/xmlns"></graphml>', "no GraphML"),
    ],
)
def test_bad_graphml_is_refused(write, text, message):
    with pytest.raises(BadParameterError, match=message):
        load(write(text, "graph.graphml"))


def test_graphml_with_a_loop_or_without_edges_is_refused(tmp_path):
    for graph, message in ((nx.Graph([("a", "b"), ("b", "b")]), "node 'b' may not"), (nx.empty_graph(3), "no edge")):
        nx.write_graphml(graph, tmp_path / "graph.graphml")
        with pytest.raises(BadParameterError, match=message):
            load(tmp_path / "graph.graphml")


def test_natural_order():
    assert sorted(["n10", "n2", "a", "10", "9", "n2b", "n02", "B"], key=natural) == [
        "9", "10", "B", "a", "n02", "n2", "n2b", "n10",
    ]  # fmt: skip


@given(names=st.lists(st.text(max_size=6), unique=True))
def test_natural_order_is_an_order(names):
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)
