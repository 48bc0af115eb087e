"""The authors' sampling and peer managers (`modest_sampling.json`), and our own rules (`modest_daemon.json`)."""

import itertools
import json
from pathlib import Path

import pytest

from peer.core.messages import PeerId
from peer.core.modest_messages import Status, ViewEntry
from peer.core.modest_scan import Scan, ScanPace
from peer.core.modest_view import ModestView
from tests.core.modest.harness import config
from topology.samplers.hash_order import hash_order, hash_position

GOLDEN = Path(__file__).parents[2] / "golden"
AUTHORS = json.loads((GOLDEN / "modest_sampling.json").read_text())
OURS = json.loads((GOLDEN / "modest_daemon.json").read_text())
IDS = {
    "ascii": [name.encode() for name in AUTHORS["ids_ascii"]],
    "sha256(node<i>)": [bytes.fromhex(digits) for digits in AUTHORS["ids_sha"]],
}
KEEPS_LOCAL = "equal index, other direction"  # the one merge in which the authors' rule is not ours


def entries_of(table):
    return [ViewEntry(PeerId(peer), last, idx, Status[status]) for peer, (last, (idx, status)) in table.items()]


def view_of(table, *, own_id="nobody", window=50):
    view = ModestView(PeerId(own_id), activity_window=window, max_members=100)
    view.merge(entries_of(table))
    return view


def table_of(view):
    return {e.peer: [e.last_round, [e.idx, e.status.name]] for e in view.entries() if e.peer != view.own_id}


@pytest.mark.parametrize("case", AUTHORS["orders"], ids=lambda case: f"{case['ids'][:6]}-{case['round']}")
def test_orders(case):
    ids = IDS[case["ids"]]
    order = hash_order(reversed(ids), case["round"])
    assert [peer_id.hex() for peer_id in order] == case["order"]
    assert [ids.index(peer_id) for peer_id in order[:4]] == case["first4_index"]
    assert hash_position(order[0], case["round"]).hex() == case["md5_first"]


def test_the_order_breaks_ties_by_id(monkeypatch):
    monkeypatch.setattr("topology.samplers.hash_order.hash_position", lambda peer_id, round: b"same")
    assert hash_order([b"b", b"c", b"a"], 1) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("case", AUTHORS["merges"], ids=lambda case: case["note"][:40])
def test_merges(case):
    view = view_of(case["local"])
    view.merge(entries_of(case["remote"]))
    expected = case["merged"]
    if case["note"].startswith(KEEPS_LOCAL):
        expected = {"x": [5, [3, "LEAVE"]]}
    assert table_of(view) == expected


@pytest.mark.parametrize("round", AUTHORS["active"]["result"])
def test_active_set(round):
    golden = AUTHORS["active"]
    view = ModestView(PeerId("me"), activity_window=golden["inactivity_threshold"], max_members=100, first_idx=3)
    view.change_own(Status.LEAVE)
    view.merge(entries_of(golden["view"]))
    assert view.own == entries_of(golden["view"])[0]
    number = None if round == "None" else int(round.partition("_")[0])
    assert view.active(number) == golden["result"][round]
    assert view.highest_round == AUTHORS["highest"]["highest_round"]


@pytest.mark.parametrize("case", AUTHORS["aggregation_threshold"], ids=lambda case: f"{case['s']}x{case['sf']}")
def test_thresholds_are_floors_but_never_zero(case):
    assert config(sample_size=case["s"], success_fraction=case["sf"]).num_needed == max(1, case["needed_floor"])


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_merging_in_any_order_gives_one_view(order):
    view = view_of({})
    for place in order:
        view.merge(entries_of(OURS["views"][place]))
    assert table_of(view) == OURS["merged_any_order"]


def search(candidates, wanted, dead):
    """Return the live ones and how many candidates were pinged, when the dead are passed over one by one."""
    pace = ScanPace(hedge=0, reping_s=1.0, timeout_s=5.0)
    scan = Scan(wanted, candidates, own_id=PeerId("nobody"), nonce=1, pace=pace)
    now, pinged = 0.0, []
    while scan.result() is None:
        opened = scan.advance(now)
        pinged += opened
        for peer in opened:
            if peer not in dead:
                scan.pong(peer)
        if not opened:
            now += 5.0
            scan.expire(now)
    return list(scan.result()), pinged


@pytest.mark.parametrize("case", OURS["live_samples"], ids=lambda case: f"round{case['round']}-{len(case['dead'])}dead")
def test_live_samples(case):
    view = view_of({name: [0, [0, "JOIN"]] for name in AUTHORS["ids_ascii"]}, own_id=AUTHORS["ids_ascii"][0])
    assert view.ordered(case["round"]) == case["order"]
    assert search(view.ordered(case["round"]), case["s"], case["dead"]) == (case["sample"], case["pings_needed_prefix"])
    found, _ = search(view.ordered(case["round"] + 1), case["a"], case["dead"])
    assert found == case["aggregator_for_round_r_models"]
