"""What is measured, of whom, and when: rows of small worlds against what they must be by hand."""

import math

import pytest

from netsim.virtual.measures import Measures, live_graph
from netsim.virtual.wire import size_of
from peer.core.messages import Refuse
from tests.netsim.virtual.worlds import event, world
from topology.connectivity import connectivity

ROUND_S = 1.0 + 3 * 0.02


class Rows:
    """Stands in for the writer of a run."""

    def __init__(self):
        self.totals = []
        self.columns = []

    def row(self, totals, columns):
        self.totals.append(totals)
        self.columns.append({name: column.tolist() for name, column in columns.items()})


def measured(count=4, **tables):
    played = world(count, **tables)
    rows = Rows()
    measures = Measures(played, rows)
    played.play()
    measures.measure()
    return played, rows, measures


def test_the_first_and_the_last_row_of_two_peers_by_hand():
    played, rows, _ = measured(2, rounds={"total": 3}, measure={"every_rounds": 100})
    first, last = rows.totals
    assert (first.at_s, first.round_min, first.round_median, first.round_max) == (0.0, 0, 0, 0)
    assert (first.num_alive, first.num_components, first.largest_component, first.num_isolated) == (2, 1, 2, 0)
    assert (first.bytes_sent, first.messages_sent, first.node_rounds, first.transfers_broken) == (0, 0, 0, 0)
    assert (first.accuracy_mean, first.accuracy_std) == (0.0, 0.0)  # nobody has heard of anybody
    assert last.at_s == pytest.approx(3 * ROUND_S)
    assert (last.round_min, last.round_max, last.node_rounds) == (3, 3, 6)
    assert (last.accuracy_mean, last.accuracy_min, last.accuracy_max, last.accuracy_std) == (1.0, 1.0, 1.0, 0.0)
    assert (last.accuracy_merged, last.consensus, last.loss_mean) == (None, None, None)  # a ledger learns nothing
    assert last.bytes_sent == sum(played.wire.bytes_out)
    assert 6 * 20_000 <= last.bytes_sent < 6 * 20_000 + 20_000
    assert rows.columns[-1]["round"] == [3, 3]
    assert rows.columns[-1]["degree"] == [1, 1]
    assert rows.columns[-1]["bytes_out"] == played.wire.bytes_out


def test_rows_by_time():
    played, rows, _ = measured(rounds={"total": 6}, measure={"every_s": 2.0, "every_rounds": 1})
    assert [row.at_s for row in rows.totals] == pytest.approx([0.0, 2.0, 4.0, 6.0, 6 * ROUND_S])
    assert [row.round_median for row in rows.totals] == [0, 1, 3, 5, 6]
    assert played.stop_reason == "rounds"


@pytest.mark.parametrize(("every", "rounds"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 2, 4, 6]), (4, [0, 4, 6])])
def test_rows_by_rounds_of_the_median_peer(every, rounds):
    _, rows, _ = measured(rounds={"total": 6}, measure={"every_rounds": every})
    assert [row.round_median for row in rows.totals] == rounds
    assert [row.at_s for row in rows.totals] == pytest.approx([ROUND_S * round for round in rounds])


def test_no_instant_is_measured_twice():
    _, rows, measures = measured(rounds={"total": 2})
    before = len(rows.totals)
    measures.measure()
    assert len(rows.totals) == before


def test_the_median_is_of_those_who_are_there():
    classes = [{"name": "slow", "who": {"name": "listed", "peers": ["peer-0000"]}, "speed": 0.1}]
    _, rows, _ = measured(
        5,
        peers={"classes": classes},
        rounds={"total": 8, "quorum": 0.5},
        stop={"time_s": 6.0},
        timeline=[event(4.0, name="crash", who={"name": "listed", "peers": ["peer-0001", "peer-0002"]})],
        measure={"every_s": 1.0},
    )
    last = rows.totals[-1]
    assert last.num_alive == 3
    assert (last.round_min, last.round_median) == (0, last.round_max)
    assert rows.columns[-1]["alive"] == [True, False, False, True, True]
    assert [math.isnan(one) for one in rows.columns[-1]["accuracy"]] == [False, True, True, False, False]
    assert rows.columns[-1]["degree"][1:3] == [0, 0]
    assert rows.columns[-1]["round"][1] == 3  # where it was when it went


def test_a_sample_is_drawn_once_and_of_the_honest():
    tables = {
        "attack": {"attack": {"name": "alie"}, "who": {"name": "random", "share": 0.5}},
        "measure": {"peers": 5},
        "rounds": {"total": 2},
    }
    played, rows, measures = measured(20, **tables)
    assert len(measures.measured) == 5
    assert not set(measures.measured) & set(played.cast.attackers)
    assert {tuple(columns["peer"]) for columns in rows.columns} == {tuple(measures.measured)}
    assert rows.totals[-1].num_alive == 20
    everybody = measured(20, attack=tables["attack"], rounds={"total": 2})[2]
    assert everybody.measured == [peer for peer in range(20) if peer not in played.cast.attackers]


def test_components_are_those_of_who_can_reach_whom():
    played = world(
        9,
        rounds={"total": 40},
        timeline=[
            event(3.0, name="partition", shares=[0.34, 0.66], for_s=10.0),
            event(5.0, name="crash", who={"name": "listed", "peers": ["peer-0000"]}),
        ],
    )
    found = []
    for at_s in (2.0, 4.0, 12.0, 20.0):
        played.queue.at(at_s, lambda: found.append(connectivity(live_graph(played))))
    played.play()
    sides = len(played.events[0].peers)
    assert sides == 6
    assert [one.num_components for one in found] == [1, 2, 2, 1]
    assert found[0].largest_component == 9
    assert found[1].largest_component == 6
    assert sum(len(one) for one in [live_graph(played)]) == 8
    assert found[3].largest_component == 8


def test_a_target_accuracy_ends_the_run():
    played, rows, _ = measured(8, topology={"family": {"name": "ring"}}, rounds={"total": 20}, stop={"accuracy": 0.6})
    assert played.stop_reason == "accuracy"
    assert rows.totals[-1].accuracy_mean >= 0.6
    assert all(row.accuracy_mean < 0.6 for row in rows.totals[:-1])


def test_measuring_by_time_does_not_keep_a_dead_world_going():
    everybody = {"name": "random", "share": 1.0}
    played, rows, _ = measured(
        3, timeline=[event(1.5, name="crash", who=everybody)], measure={"every_s": 7.0}, rounds={"total": 50}
    )
    assert played.stop_reason == "nothing left to happen"
    assert rows.totals[-1].num_alive == 0
    assert rows.totals[-1].accuracy_mean is None
    assert played.queue.now < 200.0


def test_what_is_counted_is_what_was_sent():
    played, rows, _ = measured(
        2, rounds={"total": 1, "start_members": 2, "interval_s": 50.0}, measure={"every_s": 10.0}
    )
    message = Refuse(3, "busy")
    before = (rows.totals[-1].messages_sent, rows.totals[-1].bytes_sent)
    played.wire.send(0, 1, message)
    again = Measures(played, Rows())
    played.queue.now += 1.0
    again.measure()
    after = again._writer.totals[-1]
    assert (after.messages_sent - before[0], after.bytes_sent - before[1]) == (1, size_of(message))
