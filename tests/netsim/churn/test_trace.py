"""Traces: reading, assigning, and one line for what is wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.churn import registry
from topology.errors import BadParameterError

NAMES = ["peer-0", "peer-1", "peer-2"]


@pytest.fixture
def trace(tmp_path):
    def build(text, **params):
        path = tmp_path / "trace.csv"
        path.write_text(text, encoding="utf-8")
        return registry.build("trace", {"file": str(path), **params})

    return build


def played(churn, names=NAMES, seed=1, until_s=math.inf):
    return [list(churn.presence(name, i, seed=seed, until_s=until_s)) for i, name in enumerate(names)]


ROWS = "peer,start_s,end_s\npeer-2,5,inf\n0,10,12.5\n0,0,10\n"


def test_peers_follow_the_rows_of_their_name_or_number(trace):
    churn = trace(ROWS)
    assert played(churn) == [[(0, 10), (10, 12.5)], [], [(5, math.inf)]]
    assert played(churn, until_s=10) == [[(0, 10)], [], [(5, math.inf)]]
    churn.require(NAMES)


def test_columns_may_be_in_any_order_and_further_ones_are_passed_over(trace):
    churn = trace('\ufeffend_s, site ,peer,start_s\r\n\r\n9,x,"peer-1", 3\r\n7,y,002,1e0\r\n')
    assert played(churn) == [[], [(3, 9)], [(1, 7)]]


MANY = "peer,start_s,end_s\nb,1,2\na,3,4\nb,5,6\n"


def test_more_peers_than_in_the_trace_go_round(trace):
    b, a = [(1, 2), (5, 6)], [(3, 4)]
    churn = trace(MANY, assign="round-robin")
    assert played(churn) == [b, a, b]
    assert played(churn, NAMES[:1], seed=9) == [b]
    churn.require([])


@given(st.integers(0, 50), st.integers(1, 9))
def test_shuffled_each_row_is_followed_as_often_as_any_other(tmp_path_factory, seed, times):
    path = tmp_path_factory.mktemp("traces") / "trace.csv"
    path.write_text("peer,start_s,end_s\n" + "".join(f"x{i},{i},{i + 1}\n" for i in range(5)))
    churn = registry.build("trace", {"file": str(path), "assign": "shuffled"})
    names = [str(i) for i in range(5 * times)]
    found = played(churn, names, seed)
    assert sorted(found) == sorted([[(float(i), i + 1.0)] for i in range(5)] * times)
    played(churn, names, seed + 1)
    assert played(churn, names, seed) == found


def test_shuffled_seeds_differ(trace):
    churn = trace("peer,start_s,end_s\n" + "".join(f"x{i},{i},{i + 1}\n" for i in range(20)), assign="shuffled")
    assert played(churn, seed=1) != played(churn, seed=2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": no session in it"),
        ("peer,start_s,end_s\n", ": no session in it"),
        ("0,1,2\n", ":1: expected the heading peer,start_s,end_s, got '0,1,2': 'peer' is there 0 times"),
        ("peer,start_s,end_s,peer\n", ":1: expected the heading .* 'peer' is there 2 times"),
        ("peer,start_s,end_s\n0,1\n", ":2: expected peer, start_s, end_s, got '0,1'"),
        ("peer,start_s,end_s\n,1,2\n", ":2: the name of the peer is empty"),
        ("peer,start_s,end_s\n0,1,2\n\n0,x,2\n", ":4: start_s must be seconds, 0 or more, got 'x'"),
        ("peer,start_s,end_s\n0,-1,2\n", ":2: start_s must be seconds, 0 or more, got '-1'"),
        ("peer,start_s,end_s\n0,1,nan\n", ":2: end_s must be seconds, 0 or more, got 'nan'"),
        ("peer,start_s,end_s\n0,inf,inf\n", ":2: start_s must be finite"),
        ("peer,start_s,end_s\n0,5,4\n", ":2: end_s must be later than start_s = 5, got 4"),
        ("peer,start_s,end_s\n0,5,5\n", ":2: end_s must be later than start_s = 5, got 5"),
        (
            "peer,start_s,end_s\n0,5,9\n1,0,50\n00,1,6\n",
            ":2: peer '0' comes at 5 s, but is there to 6 s by line 4",
        ),
        ("peer,start_s,end_s\n0,0,inf\n0,9,10\n", ":3: peer '0' comes at 9 s, but is there to inf s by line 2"),
        ("peer,start_s,end_s\n0,5,9\n0,5,6\n", ":2: peer '0' comes at 5 s, but is there to 6 s by line 3"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(trace, text, complaint):
    with pytest.raises(BadParameterError, match=rf"trace\.csv{complaint}") as caught:
        trace(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("peer,start_s,end_s\n0,1,2\npeer-9,1,2\n", ":3: peer 'peer-9' is none of the 3 peers, by name or number"),
        ("peer,start_s,end_s\n3,1,2\n", ":2: peer '3' is none of the 3 peers"),
        ("peer,start_s,end_s\n1,1,2\n", None),
        ("peer,start_s,end_s\n1,1,2\npeer-1,3,4\n", ":3: peers '1' and 'peer-1' are the same"),
        ("peer,start_s,end_s\n²,1,2\n", ":2: peer '²' is none of"),
        ("peer,start_s,end_s\n٣,1,2\n", ":2: peer '٣' is none of"),
    ],
)
def test_who_is_in_the_trace_must_be_in_the_population(trace, text, complaint):
    churn = trace(text)
    if complaint is None:
        churn.require(NAMES)
        return
    with pytest.raises(BadParameterError, match=rf"trace\.csv{complaint}"):
        churn.require(NAMES)
    trace(text, assign="shuffled").require(NAMES)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(BadParameterError, match=r"none\.csv: cannot be read: No such file"):
        registry.build("trace", {"file": str(tmp_path / "none.csv")})
    (tmp_path / "bytes.csv").write_bytes(b"peer,start_s,end_s\n\xff,1,2\n")
    with pytest.raises(BadParameterError, match=r"bytes\.csv: not a text in UTF-8"):
        registry.build("trace", {"file": str(tmp_path / "bytes.csv")})
    (tmp_path / "huge.csv").write_text("peer,start_s,end_s\n" + "x" * 200_000 + ",1,2\n")
    with pytest.raises(BadParameterError, match=r"huge\.csv: not a CSV file: field larger"):
        registry.build("trace", {"file": str(tmp_path / "huge.csv")})
