"""Transfers that share access links, against a slow twin that recomputes everything at every instant."""

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsim.virtual.fair_links import FairLinks

INF = math.inf
NUM_PEERS = 4
FOREVER = 1e9


class Twin:
    """Equal shares at both ends, by the definition: all rates anew, all transfers moved on, at every step."""

    def __init__(self, up, down):
        self.up, self.down, self.now = list(up), list(down), 0.0
        self.left, self.ends, self.size, self.done_at = {}, {}, {}, {}

    def rates(self):
        senders = [s for s, _ in self.ends.values()]
        receivers = [r for _, r in self.ends.values()]
        return {
            key: min(self.up[s] / senders.count(s), self.down[r] / receivers.count(r))
            for key, (s, r) in self.ends.items()
        }

    def advance(self, now):
        while self.ends:
            rates = self.rates()
            dues = {k: 0.0 if self.left[k] <= 0 else self.left[k] / r if r else INF for k, r in rates.items()}
            step = min(dues.values())
            if self.now + step > now:
                break
            ended = [key for key, due in dues.items() if due <= step * (1 + 1e-11)]
            for key in self.ends:
                self.left[key] -= rates[key] * step if step else 0.0
            self.now += step
            for key in ended:
                self.done_at[key] = self.now
                self.remove(key)
        for key, rate in self.rates().items():
            self.left[key] -= rate * (now - self.now) if now > self.now else 0.0
        self.now = now

    def remove(self, key):
        del self.ends[key], self.left[key]


capacities = st.lists(st.sampled_from([1.0, 2.0, 3.0, 10.0, 0.7, INF]), min_size=NUM_PEERS, max_size=NUM_PEERS)
peers = st.integers(0, NUM_PEERS - 1)
begins = st.tuples(
    st.just("begin"), peers, st.integers(1, NUM_PEERS - 1), st.sampled_from([0.0, 1.0, 2.0, 5.0, 7.3, 100.0])
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0), st.just(0.0))
crashes = st.tuples(st.just("cancel_peer"), peers, st.just(0), st.just(0.0))
changes = st.tuples(st.just("set_capacity"), peers, st.integers(0, 3), st.sampled_from([0.5, 4.0, INF]))
pauses = st.sampled_from([0.0, 0.0, 0.0, 0.25, 1.0, 3.1])
plans = st.lists(st.tuples(pauses, begins | begins | begins | cancels | crashes | changes), max_size=25)


def play(links, plan, twin=None, look=None):
    """Carry out a plan; return when each transfer ended, and the bytes of those that broke off."""
    now, ended, broken, sizes = 0.0, {}, {}, {}

    def take_until(time):
        while (due := links.next_done()) is not None and due <= time:
            for key in links.take_done(due):
                ended[key] = due
        links.take_done(time)

    for number, (pause, (verb, a, b, amount)) in enumerate(plan):
        now += pause
        take_until(now)
        if twin:
            twin.advance(now)
        if verb == "begin":
            sizes[number] = amount
            links.begin(number, a, (a + b) % NUM_PEERS, amount, now)
            if twin:
                twin.ends[number], twin.left[number] = (a, (a + b) % NUM_PEERS), amount
                twin.advance(now)
        elif verb == "cancel" and a in sizes and a not in ended and a not in broken:
            broken[a] = links.cancel(a, now)
            if twin and a not in twin.done_at:
                assert broken[a] == pytest.approx(sizes[a] - twin.left[a], rel=1e-9, abs=1e-9)
                twin.remove(a)
        elif verb == "cancel_peer":
            for key in links.cancel_peer(a, now):
                broken[key] = None
            if twin:
                for key in [key for key, ends in twin.ends.items() if a in ends]:
                    twin.remove(key)
        elif verb == "set_capacity":
            links.set_capacity(a, amount, float(b + 1), now)
            if twin:
                twin.up[a], twin.down[a] = amount, float(b + 1)
                twin.advance(now)
        if look:
            look(links, now, sizes)
    take_until(FOREVER)
    return ended, broken, sizes


@given(capacities, capacities, plans)
@settings(max_examples=150)
def test_transfers_end_and_move_as_those_of_the_slow_twin(up, down, plan):
    twin = Twin(up, down)

    def look(links, now, sizes):
        rates = twin.rates()
        for key in rates:
            assert links.moved(key, now) == pytest.approx(sizes[key] - twin.left[key], rel=1e-9, abs=1e-9)
            assert links.rate(key) in (pytest.approx(rates[key]), 0.0)

    ended, _, _ = play(FairLinks(up, down), plan, twin, look)
    twin.advance(FOREVER)
    assert ended == pytest.approx(twin.done_at)


@given(capacities, capacities, plans)
def test_every_transfer_ends_or_breaks_exactly_once(up, down, plan):
    ended, broken, sizes = play(FairLinks(up, down), plan)
    assert set(ended) | set(broken) == set(sizes)
    assert not set(ended) & set(broken)


@given(capacities, capacities, plans)
def test_no_link_is_over_capacity_and_each_transfer_has_an_equal_share_of_one_end(up, down, plan):
    up, down, ends = list(up), list(down), {}

    def look(links, now, sizes):
        number = len(ends)
        verb, a, b, amount = plan[number][1]
        ends[number] = (a, (a + b) % NUM_PEERS) if verb == "begin" else None
        if verb == "set_capacity":
            up[a], down[a] = amount, float(b + 1)
        under_way = {}
        for key in sizes:
            try:
                if (rate := links.rate(key)) > 0:
                    under_way[key] = rate
            except KeyError:
                continue
        for peer in range(NUM_PEERS):
            assert sum(r for k, r in under_way.items() if ends[k][0] == peer) <= up[peer] * (1 + 1e-12)
            assert sum(r for k, r in under_way.items() if ends[k][1] == peer) <= down[peer] * (1 + 1e-12)
        if INF not in under_way.values():
            for key, rate in under_way.items():
                num_up = sum(ends[k][0] == ends[key][0] for k in under_way)
                num_down = sum(ends[k][1] == ends[key][1] for k in under_way)
                assert rate == pytest.approx(min(up[ends[key][0]] / num_up, down[ends[key][1]] / num_down))

    play(FairLinks(up, down), plan, look=look)


@given(capacities, capacities, plans, st.permutations(range(NUM_PEERS)))
@example([1.0] * 4, [1.0] * 4, [(0.0, ("begin", 0, b, 1.0)) for b in (1, 2, 3)], [3, 2, 1, 0])
def test_times_do_not_depend_on_who_is_called_what(up, down, plan, names):
    class Renamed:
        def __init__(self):
            self.links = FairLinks(*([caps[names.index(i)] for i in range(NUM_PEERS)] for caps in (up, down)))

        def begin(self, number, sender, receiver, size_bytes, now):
            self.links.begin(1000 - number, names[sender], names[receiver], size_bytes, now)

        def cancel(self, number, now):
            return self.links.cancel(1000 - number, now)

        def cancel_peer(self, peer, now):
            return [1000 - number for number in self.links.cancel_peer(names[peer], now)]

        def set_capacity(self, peer, up, down, now):
            self.links.set_capacity(names[peer], up, down, now)

        def take_done(self, now):
            return [1000 - number for number in self.links.take_done(now)]

        def next_done(self):
            return self.links.next_done()

    ended, broken, _ = play(FairLinks(up, down), plan)
    ended_too, broken_too, _ = play(Renamed(), plan)
    assert ended_too == pytest.approx(ended)
    assert set(broken_too) == set(broken)


@given(capacities, capacities, plans, st.lists(st.floats(0, 40), max_size=10))
def test_times_do_not_depend_on_how_often_somebody_looks(up, down, plan, looks):
    """One driver takes what is done at each end; the other lets it lie, and asks for progress at odd moments."""

    class Lazy(FairLinks):
        def next_done(self):
            return None

        def take_done(self, now):
            for time in sorted(looks):
                if self.now <= time <= now:
                    self._advance(time)
            return super().take_done(now) if now == FOREVER else []

        def cancel(self, number, now):
            return super().cancel(number, now)

    plan = [entry for entry in plan if entry[1][0] != "cancel"]
    eager, lazy = FairLinks(up, down), Lazy(up, down)
    ended, broken, sizes = play(eager, plan)
    order = []
    lazy_take = lazy.take_done
    lazy.take_done = lambda now: order.extend(lazy_take(now))
    _, broken_too, _ = play(lazy, plan)
    assert set(broken_too) == set(broken)
    assert order == sorted(ended, key=lambda key: (ended[key], key)) or ended_nearly_together(ended, order)
    assert set(order) == set(ended) == set(sizes) - set(broken)


def ended_nearly_together(ended, order):
    return all(ended[a] <= ended[b] * (1 + 1e-11) for a, b in pairwise(order))


@given(st.integers(1, 50), st.floats(0.1, 1e9), st.floats(0.1, 1e9), st.floats(0, 1e6))
def test_equal_transfers_that_begin_together_end_together_and_fill_the_link(num, size, capacity, start):
    links = FairLinks([capacity] + [INF] * num, [INF] * (num + 1))
    for peer in range(num):
        links.begin(num - peer, 0, peer + 1, size, start)
    due = links.next_done()
    assert due == pytest.approx(start + num * size / capacity)
    assert links.take_done(due) == list(range(1, num + 1))
    assert links.next_done() is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20), st.floats(0.1, 100))
def test_a_link_that_is_the_slower_end_of_all_its_transfers_is_never_idle(sizes, capacity):
    links = FairLinks([capacity] + [INF] * len(sizes), [INF] * (len(sizes) + 1))
    for number, size in enumerate(sizes):
        links.begin(number, 0, number + 1, size, 0.0)
    last = 0.0
    while (due := links.next_done()) is not None:
        links.take_done(due)
        last = due
    assert last == pytest.approx(sum(sizes) / capacity)


def test_a_chain_of_begins_ends_and_changes_by_hand():
    links = FairLinks([10.0, 10.0, 10.0], [INF, 6.0, INF])
    links.begin(1, 0, 1, 60.0, 0.0)
    assert links.rate(1) == 6.0
    links.begin(2, 0, 2, 20.0, 2.0)  # 12 of 60 moved; the upload is shared: 5 each
    assert (links.rate(1), links.rate(2)) == (5.0, 5.0)
    assert links.next_done() == 6.0
    assert links.take_done(6.0) == [2]
    assert (links.moved(1, 6.0), links.rate(1)) == (32.0, 6.0)
    links.set_capacity(0, 2.0, INF, 7.0)
    assert links.moved(1, 8.0) == 40.0
    links.set_capacity(0, 0.0, INF, 8.0)  # stuck
    assert links.next_done() is None
    links.set_capacity(0, 20.0, INF, 18.0)
    assert links.next_done() == pytest.approx(18 + 20 / 6)
    assert links.cancel(1, 19.0) == 46.0
    assert (links.next_done(), len(links)) == (None, 0)


def test_unlimited_links_take_no_time_and_nothing_takes_no_time_on_any():
    links = FairLinks([INF, 0.0], [INF, INF])
    links.begin(5, 0, 1, 1e12, 3.0)
    links.begin(4, 1, 0, 0.0, 3.0)
    assert links.next_done() == 3.0
    assert links.take_done(3.0) == [4, 5]


def test_what_has_ended_is_not_broken_by_what_happens_at_the_same_time():
    links = FairLinks([1.0, 1.0, 1.0], [INF] * 3)
    links.begin(1, 0, 1, 2.0, 0.0)
    links.begin(2, 1, 2, 9.0, 0.0)
    links.begin(3, 2, 1, 9.0, 0.0)
    assert links.cancel_peer(1, 2.0) == [2, 3]
    assert links.next_done() == 2.0
    assert (links.moved(1, 5.0), links.rate(1)) == (2.0, 0.0)
    assert links.take_done(5.0) == [1]
    links.begin(1, 0, 1, 1.0, 5.0)  # the number is free again
    links.moved(1, 7.0)
    assert links.cancel(1, 7.0) == 1.0  # ended at 6, not taken
    assert links.take_done(7.0) == []


def test_a_death_gives_its_share_to_the_others():
    links = FairLinks([12.0, 1.0, 1.0, 1.0], [INF] * 4)
    for peer in (1, 2, 3):
        links.begin(peer, 0, peer, 40.0, 0.0)
    assert links.rate(1) == 4.0
    assert links.cancel_peer(2, 1.0) == [2]
    assert (links.rate(1), links.rate(3)) == (6.0, 6.0)
    assert links.next_done() == 1.0 + 36.0 / 6.0


def test_the_heap_does_not_outgrow_the_transfers():
    links = FairLinks([1.0, 1.0, 4.0], [INF] * 3)
    links.begin(2, 1, 2, 1.0, 0.0)  # on top of the heap
    links.begin(1, 2, 1, 8.0, 0.0)
    links.set_capacity(2, 2.0, INF, 0.0)  # its end is later now than the heap says
    links.begin(0, 0, 1, 1e9, 0.0)
    for number in range(2000):
        links.set_capacity(0, 1.0 + number, INF, 0.0)
    assert len(links._heap) <= 80
    assert links.take_done(1.0) == [2]
    assert links.next_done() == 4.0
    assert links.take_done(4.0) == [1]
    assert links.next_done() == 1e9 / 2000


def test_a_link_that_changes_hits_those_who_receive_by_it():
    links = FairLinks([8.0, INF, INF], [INF, 6.0, 6.0])
    links.begin(1, 0, 1, 60.0, 0.0)
    links.begin(2, 0, 2, 60.0, 0.0)
    links.set_capacity(1, INF, 3.0, 1.0)
    assert (links.rate(1), links.rate(2)) == (3.0, 4.0)
    links.set_capacity(1, INF, INF, 2.0)
    assert (links.rate(1), links.moved(1, 2.0)) == (4.0, 7.0)


@pytest.mark.parametrize(
    ("call", "moved"),
    [
        (lambda links: links.set_capacity(0, 4.0, INF, 5.0), 8.0),
        (lambda links: links.begin(3, 0, 1, 100.0, 5.0), 8.0),
        (lambda links: links.cancel_peer(3, 5.0), 8.0),
        (lambda links: links.moved(2, 5.0), 8.0),
    ],
)
def test_what_ends_unseen_gives_its_share_to_the_others_from_then_on(call, moved):
    links = FairLinks([2.0, 2.0, 2.0, 2.0], [INF] * 4)
    links.begin(1, 0, 1, 2.0, 0.0)  # ends at 2 s
    links.begin(2, 0, 2, 50.0, 0.0)  # 2 bytes by then, 6 more until 5 s
    call(links)
    assert links.moved(2, 5.0) == moved
    assert links.next_done() == 2.0
    assert links.take_done(5.0) == [1]


def test_ends_that_are_near_each_other_are_two():
    links = FairLinks([1.0, 1.0], [INF] * 2)
    links.begin(1, 0, 1, 1.0 + 1e-9, 0.0)
    links.begin(2, 1, 0, 1.0, 0.0)
    assert links.take_done(links.next_done()) == [2]
    assert links.next_done() == 1.0 + 1e-9


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda links: links.begin(1, 0, 1, 1.0, 5.0), "transfer 1 is under way already"),
        (lambda links: links.begin(2, 0, 0, 1.0, 5.0), r"two of the peers 0 \.\. 1, got 0 and 0"),
        (lambda links: links.begin(2, 0, -1, 1.0, 5.0), "two of the peers"),
        (lambda links: links.begin(2, 0, 2, 1.0, 5.0), "two of the peers"),
        (lambda links: links.begin(2, 0, 1, -1.0, 5.0), "finite size"),
        (lambda links: links.begin(2, 0, 1, math.nan, 5.0), "finite size"),
        (lambda links: links.begin(2, 0, 1, 1.0, 4.0), r"time goes forward and is finite: it was 5.0 already, got 4.0"),
        (lambda links: links.take_done(math.nan), "time goes forward"),
        (lambda links: links.take_done(math.inf), "time goes forward"),
        (lambda links: links.set_capacity(0, -1.0, 1.0, 5.0), "bytes per second"),
        (lambda links: FairLinks([1.0], [math.nan]), "bytes per second"),
        (lambda links: FairLinks([1.0], []), "1 capacities up, but 0 down"),
    ],
)
def test_misuse_is_refused(call, complaint):
    links = FairLinks([1.0, 1.0], [1.0, 1.0])
    links.begin(1, 0, 1, 100.0, 5.0)
    with pytest.raises(ValueError, match=complaint):
        call(links)
    assert links.next_done() == 105.0


@pytest.mark.parametrize("verb", ["cancel", "moved"])
def test_a_transfer_that_is_unknown_is_refused(verb):
    links = FairLinks([1.0], [1.0])
    with pytest.raises(KeyError, match="transfer 3 is not under way"):
        getattr(links, verb)(3, 0.0)
    with pytest.raises(KeyError, match="transfer 3 is not under way"):
        links.rate(3)
