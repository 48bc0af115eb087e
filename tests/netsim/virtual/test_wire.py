"""The network: latencies, losses, partitions, transfers that break, links and how their end is noticed."""

import math
from collections import Counter
from itertools import combinations
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.distributions import registry as distributions
from netsim.virtual.event_queue import EventQueue
from netsim.virtual.wire import LENGTH_BYTES, Wire, size_of
from peer.core.messages import Refuse

LATENCY_S = 0.05
SILENCE_S = 3.0
MESSAGE = Refuse(7, "busy")


class Party:
    """Writes down what it is told."""

    def __init__(self, queue):
        self.is_there = True
        self.heard = []
        self._queue = queue

    def receive(self, sender, message):
        self.heard.append((self._queue.now, sender, message))

    def link_up(self, other):
        self.heard.append((self._queue.now, "up", other))

    def link_down(self, other):
        self.heard.append((self._queue.now, "down", other))


class Net:
    """A wire between `count` parties, and what became of its transfers."""

    def __init__(self, count=3, *, latency=None, jitter=None, loss=0.0, seed=1, rate=None):
        def built(piece):
            return distributions.build(piece["name"], {k: v for k, v in piece.items() if k != "name"})

        self.queue = EventQueue()
        self.wire = Wire(
            self.queue,
            count,
            seed=seed,
            latency=built(latency or {"name": "constant", "value": LATENCY_S}),
            jitter=built(jitter) if jitter else None,
            loss=loss,
            silence_s=SILENCE_S,
        )
        self.wire.parties = self.parties = [Party(self.queue) for _ in range(count)]
        if rate is not None:
            self.wire.limit([rate] * count, [rate] * count)
        self.ends = {}

    def at(self, time, verb, *args, **kwargs):
        self.queue.at(time, lambda: verb(*args, **kwargs))

    def transfer(self, name, sender, receiver, size_bytes):
        told = self.ends[name] = []

        def tell(what):
            return lambda: told.append((round(self.queue.now, 9), what))

        self.wire.transfer(sender, receiver, size_bytes, tell("ended"), tell("arrived"), tell("broke"))

    def die(self, peer, *, says_goodbye=False):
        self.parties[peer].is_there = False
        self.wire.go(peer, says_goodbye=says_goodbye)


# Messages ---------------------------------------------------------------------------------------------------------


def test_a_message_takes_the_latency_and_counts_at_both_ends():
    net = Net()
    net.wire.send(0, 2, MESSAGE)
    net.queue.run()
    assert net.parties[2].heard == [(LATENCY_S, 0, MESSAGE)]
    size = size_of(MESSAGE)
    assert size > LENGTH_BYTES
    assert (net.wire.bytes_out, net.wire.bytes_in, net.wire.num_messages) == ([size, 0, 0], [0, 0, size], 1)


def test_latency_is_drawn_once_for_each_pair_and_the_same_both_ways():
    def table(seed):
        wire = Net(20, seed=seed, latency={"name": "lognormal", "median": 0.05, "sigma": 0.5}).wire
        found = {(a, b): wire.latency_s(a, b) for a, b in combinations(range(20), 2)}
        assert all(wire.latency_s(b, a) == found[a, b] == wire.latency_s(a, b) for a, b in found)
        return found

    one = table(1)
    assert len(set(one.values())) == 190
    assert table(1) == one != table(2)
    assert sorted(one.values())[95] == pytest.approx(0.05, rel=0.2)


def test_jitter_comes_on_top_anew_for_each_message():
    net = Net(jitter={"name": "exponential", "mean": 0.02})
    for _ in range(400):
        net.wire.send(0, 1, MESSAGE)
    net.queue.run()
    extra = [at - LATENCY_S for at, _, _ in net.parties[1].heard]
    assert min(extra) >= 0.0
    assert len(set(extra)) > 390
    assert mean(extra) == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.5, 0.99])
def test_the_share_of_lost_messages_and_transfers(loss):
    net = Net(loss=loss)
    for number in range(2000):
        net.wire.send(0, 1, MESSAGE)
        net.transfer(number, 0, 1, 10)
    net.queue.run()
    slack = 4 * math.sqrt(loss * (1 - loss) / 2000)
    assert abs(len(net.parties[1].heard) / 2000 - (1 - loss)) <= slack
    broken = sum(told[-1][1] == "broke" for told in net.ends.values())
    assert abs(broken / 2000 - loss) <= slack
    assert net.wire.num_lost == 2000 - len(net.parties[1].heard) + broken
    # a lost transfer is given up when it has been silent for long
    assert {told[-1] for told in net.ends.values()} <= {(SILENCE_S, "broke"), (LATENCY_S, "arrived")}


def test_nobody_hears_anything_while_gone():
    net = Net()
    net.wire.send(0, 1, MESSAGE)
    net.at(0.01, net.die, 1)
    net.queue.run()
    assert net.parties[1].heard == []
    assert net.wire.num_lost == 1
    assert net.wire.bytes_in == [0, 0, 0]


# Partitions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_a_partition_drops_what_is_on_its_way_and_what_is_sent_then(rate):
    net = Net(4, rate=rate)
    for at_s in (0.0, 0.02, 1.0):
        net.at(at_s, net.wire.send, 0, 2, MESSAGE)
        net.at(at_s, net.wire.send, 0, 1, MESSAGE)
        net.at(at_s, net.transfer, ("across", at_s), 0, 3, 10)
        net.at(at_s, net.transfer, ("within", at_s), 0, 1, 10)
    net.at(0.01, net.wire.partition, [0, 0, 1, 1])
    net.at(2.0, net.wire.partition, None)
    net.at(2.0, net.wire.send, 0, 2, MESSAGE)
    net.at(2.0, net.transfer, ("healed", 2.0), 0, 3, 10)
    net.queue.run()
    assert [at for at, _, _ in net.parties[2].heard] == [2.0 + LATENCY_S]
    assert len(net.parties[1].heard) == 3
    ends = {name: told[-1][1] for name, told in net.ends.items()}
    assert [ends["across", at_s] for at_s in (0.0, 0.02, 1.0)] == ["broke"] * 3
    assert [ends["within", at_s] for at_s in (0.0, 0.02, 1.0)] == ["arrived"] * 3
    assert ends["healed", 2.0] == "arrived"


def test_a_partition_breaks_links_when_they_have_been_silent_and_keeps_the_others():
    net = Net(3)
    net.wire.connect(0, 1)
    net.wire.connect(0, 2)
    net.at(1.0, net.wire.partition, [0, 0, 1])
    net.at(1.5, net.wire.connect, 0, 2)  # nobody answers
    net.queue.run()
    assert net.wire.links == [{1}, {0}, set()]
    assert net.parties[0].heard == [(0.1, "up", 1), (0.1, "up", 2), (1.0 + SILENCE_S, "down", 2)]
    assert net.parties[2].heard[-1] == (1.0 + SILENCE_S, "down", 0)


# Links ------------------------------------------------------------------------------------------------------------


def test_a_link_stands_a_round_trip_after_the_dial_and_only_once():
    net = Net()
    net.wire.connect(1, 0)
    net.wire.connect(0, 1)  # both dial
    net.at(0.5, net.wire.connect, 0, 1)  # it stands
    net.wire.connect(2, 0, 0.25)
    net.queue.run()
    assert net.parties[1].heard == [(2 * LATENCY_S, "up", 0)]
    assert net.parties[0].heard == [(2 * LATENCY_S, "up", 1), (0.25 + 2 * LATENCY_S, "up", 2)]


def test_a_dial_of_somebody_who_is_gone_is_not_answered():
    net = Net()
    net.die(1)
    net.wire.connect(0, 1)
    net.queue.run()
    net.parties[1].is_there = True
    net.wire.connect(0, 1)
    net.queue.run()
    assert [what for _, what, _ in net.parties[0].heard] == ["up"]


@pytest.mark.parametrize(("says_goodbye", "noticed_s"), [(True, LATENCY_S), (False, SILENCE_S)])
def test_an_end_is_noticed_at_once_after_a_goodbye_and_else_by_silence(says_goodbye, noticed_s):
    net = Net()
    net.wire.connect(0, 1)
    net.at(1.0, net.die, 1, says_goodbye=says_goodbye)
    net.queue.run()
    assert net.parties[0].heard == [(0.1, "up", 1), (1.0 + noticed_s, "down", 1)]
    assert net.wire.links == [set(), set(), set()]


def test_who_is_back_before_its_silence_was_noticed_was_never_gone_for_its_neighbour():
    net = Net()
    net.wire.connect(0, 1)
    net.at(1.0, net.die, 1)
    net.at(2.0, setattr, net.parties[1], "is_there", True)
    net.at(2.0, net.wire.connect, 1, 0)
    net.queue.run()
    assert [what for _, what, _ in net.parties[0].heard] == ["up", "up"]


def test_a_second_death_is_noticed_by_its_own_silence():
    net = Net()
    net.wire.connect(0, 1)
    net.at(1.0, net.die, 1)
    net.at(2.0, setattr, net.parties[1], "is_there", True)
    net.at(2.0, net.wire.connect, 1, 0)
    net.at(3.0, net.die, 1)
    net.queue.run()
    assert net.parties[0].heard[-1] == (3.0 + SILENCE_S, "down", 1)
    assert [what for _, what, _ in net.parties[0].heard] == ["up", "up", "down"]


def test_a_ban_breaks_the_link_and_lasts():
    net = Net()
    net.wire.connect(0, 1)
    net.at(1.0, net.wire.ban, 0, 1, 10.0)
    net.at(2.0, net.wire.connect, 1, 0)  # the culprit dials in vain
    net.at(10.8, net.wire.connect, 1, 0)
    net.at(11.0, net.wire.connect, 1, 0)
    net.queue.run()
    ups = [at for at, what, _ in net.parties[0].heard if what == "up"]
    assert ups == pytest.approx([0.1, 11.1])
    assert net.parties[0].heard[1] == (1.0, "down", 1)
    assert net.parties[1].heard[1] == (1.0, "down", 0)


# Transfers --------------------------------------------------------------------------------------------------------


def test_a_transfer_takes_its_bytes_over_the_rate_and_then_the_latency():
    net = Net(rate=1000.0)
    net.transfer("one", 0, 1, 2000)
    net.queue.run()
    assert net.ends["one"] == [(2.0 + LATENCY_S, "ended"), (2.0 + LATENCY_S, "arrived")]
    assert (net.wire.bytes_out, net.wire.bytes_in) == ([2000, 0, 0], [0, 2000, 0])
    free = Net()
    free.transfer("one", 0, 1, 2000)
    free.queue.run()
    assert free.ends["one"][-1] == (LATENCY_S, "arrived")


def test_transfers_share_a_link_and_another_capacity_holds_from_then_on():
    net = Net(rate=1000.0)
    net.transfer("one", 0, 1, 1000)
    net.transfer("two", 0, 2, 2000)
    net.at(2.5, net.wire.set_capacity, 0, 500.0, 1000.0)
    net.queue.run()
    assert net.ends["one"][-1] == (2.0 + LATENCY_S, "arrived")
    # 1000 bytes by 2.0, 500 more by 2.5, the last 500 at 500 a second
    assert net.ends["two"][-1] == (3.5 + LATENCY_S, "arrived")


@pytest.mark.parametrize("dead", [0, 1])
def test_a_transfer_breaks_when_an_end_of_it_dies_in_the_middle(dead):
    net = Net(rate=1000.0)
    net.transfer("broken", 0, 1, 2000)
    net.transfer("other", 0 if dead else 2, 2 if dead else 1, 2000)
    net.at(1.0, net.die, dead)
    net.queue.run()
    assert net.ends["broken"] == [(1.0, "ended"), (1.0, "broke")]
    # half the rate for a second, then all of it
    assert net.ends["other"][-1] == (1.0 + 1.5 + LATENCY_S, "arrived")
    assert net.wire.num_broken == 1


Step = st.tuples(
    st.sampled_from(["transfer", "transfer", "transfer", "die", "come", "cut", "heal", "throttle"]),
    st.floats(0.0, 2.0),
    st.integers(0, 4),
    st.integers(1, 4),
    st.integers(0, 3000),
)


@given(
    steps=st.lists(Step, max_size=40),
    rate=st.sampled_from([None, 500.0, 5000.0]),
    loss=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_whatever_stops_each_transfer_ends_once_and_bytes_count_once(steps, rate, loss, seed):
    net = Net(5, rate=rate, loss=loss, seed=seed, latency={"name": "uniform", "low": 0.01, "high": 0.5})
    sizes = {}

    def come(peer):
        net.parties[peer].is_there = True

    def begin(number, sender, receiver, size_bytes):
        if net.parties[sender].is_there:
            sizes[number] = (sender, receiver, size_bytes)
            net.transfer(number, sender, receiver, size_bytes)

    at_s = 0.0
    for number, (what, pause_s, one, offset, size_bytes) in enumerate(steps):
        at_s += pause_s
        other = (one + offset) % 5
        verb = {
            "transfer": (begin, number, one, other, size_bytes),
            "die": (net.die, one),
            "come": (come, one),
            "cut": (net.wire.partition, [peer % 2 for peer in range(5)]),
            "heal": (net.wire.partition, None),
            "throttle": (net.wire.set_capacity, one, 100.0 + size_bytes, 300.0),
        }[what]
        net.at(at_s, *verb)
    net.queue.run()
    out, into = Counter(), Counter()
    for number, (sender, receiver, size_bytes) in sizes.items():
        told = [what for _, what in net.ends[number]]
        assert told in (["ended", "arrived"], ["ended", "broke"])
        if told[-1] == "arrived":
            out[sender] += size_bytes
            into[receiver] += size_bytes
    assert net.wire.bytes_out == [out[peer] for peer in range(5)]
    assert net.wire.bytes_in == [into[peer] for peer in range(5)]
    assert net.wire.num_broken == sum(told[-1][1] == "broke" for told in net.ends.values())
    if rate is not None:
        assert len(net.wire._fair) == 0
        assert net.wire._transfers == {}
