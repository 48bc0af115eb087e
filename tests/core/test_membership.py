"""Membership: signed heartbeats flooded over links; merging commutes; silence is noticed; the table is bounded."""

from __future__ import annotations

import itertools
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.membership import BadRecord, IncarnationBehind, MembershipConfig, MembershipCore, ViewChanged
from peer.core.messages import MAX_RECORDS, PeerId, PeerRecord, Records

SWARM = b"s" * 32
GOOD = b"signed"


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def peer_id(public_key: bytes) -> PeerId:
    return PeerId(public_key.rstrip(b".").decode())


def record(name: str, heartbeat: int = 0, **changes: object) -> PeerRecord:
    plain = PeerRecord(key(name), SWARM, 1, heartbeat, (f"/memory/{name}",), signature=GOOD)
    return msgspec.structs.replace(plain, **changes)


def member(name: str, *, incarnation: int = 1, **knobs: object) -> MembershipCore:
    return MembershipCore(
        MembershipConfig(SWARM, **{"heartbeat_s": 1.0, "timeout_s": 5.0, "forget_s": 60.0, **knobs}),  # type: ignore[arg-type]
        record(name, incarnation=incarnation, signature=b""),
        own_id=PeerId(name),
        sign=lambda r: msgspec.structs.replace(r, signature=GOOD),
        author_of=lambda r: peer_id(r.author) if r.signature == GOOD else None,
        peer_id_of=peer_id,
        now=0.0,
    )


class Links:
    """Cores connected by links that deliver at once, unless cut."""

    def __init__(self, cores: dict[str, MembershipCore], edges: list[tuple[str, str]]) -> None:
        self.cores = cores
        self.edges: set[frozenset[str]] = set()
        self.sent = 0
        for a, b in edges:
            self.join(a, b, 0.0)

    def join(self, a: str, b: str, now: float) -> None:
        self.edges.add(frozenset((a, b)))
        self.cores[a].link_up(PeerId(b), now)
        self.cores[b].link_up(PeerId(a), now)
        self.settle(now)

    def cut(self, a: str, b: str) -> None:
        self.edges.discard(frozenset((a, b)))
        self.cores[a].link_down(PeerId(b))
        self.cores[b].link_down(PeerId(a))

    def settle(self, now: float) -> None:
        busy = True
        while busy:
            busy = False
            for name, core in self.cores.items():
                for to, message in core.messages_to_send(now):
                    if frozenset((name, to)) in self.edges:
                        busy = True
                        self.sent += 1
                        self.cores[to].receive_message(message, PeerId(name), now)

    def tick(self, now: float, *, without: str = "") -> None:
        for name, core in self.cores.items():
            if name not in without:
                core.handle_timer(now)
        self.settle(now)


def line(names: str, **knobs: object) -> Links:
    return Links({n: member(n, **knobs) for n in names}, list(itertools.pairwise(names)))


def test_everybody_learns_of_everybody_along_a_line_at_once() -> None:
    links = line("abcdef")
    for core in links.cores.values():
        assert "".join(core.members()) == "abcdef"
        assert core.members()[PeerId("f")].addresses == ("/memory/f",)


def test_silent_member_is_dropped_by_all_and_kept_as_lost_until_forgotten() -> None:
    links = line("abcd")
    links.cut("c", "d")
    for second in range(1, 8):
        links.tick(float(second), without="d")
    for name in "abc":
        assert "".join(links.cores[name].members()) == "abc"
        assert list(links.cores[name].lost()) == ["d"]
    for second in range(8, 70):
        links.tick(float(second), without="d")
    assert not links.cores["a"].lost()


def test_living_members_are_never_dropped_while_connected() -> None:
    links = line("abcdef", timeout_s=10.0)
    for second in range(1, 100):
        links.tick(float(second))
        assert all(len(core.members()) == 6 for core in links.cores.values())


def test_partition_heals() -> None:
    links = line("abcd")
    links.cut("b", "c")
    for second in range(1, 20):
        links.tick(float(second))
    assert "".join(links.cores["a"].members()) == "ab"
    links.join("b", "c", 20.0)
    links.tick(21.0)
    assert all("".join(core.members()) == "abcd" for core in links.cores.values())


def test_departure_is_announced_and_is_not_a_loss() -> None:
    links = line("abc")
    links.cores["c"].leave()
    links.settle(0.0)
    for name in "ab":
        assert "".join(links.cores[name].members()) == "ab"
        assert not links.cores[name].lost()
    assert "c" not in links.cores["c"].members()


def test_departed_member_is_forgotten_and_not_kept_alive_by_gossip() -> None:
    links = line("abc")
    links.cores["c"].leave()
    links.settle(0.0)
    links.cut("b", "c")
    for second in range(1, 200):
        links.tick(float(second), without="c")
    assert all(PeerId("c") not in links.cores[name]._members for name in "ab")


def test_return_with_a_larger_incarnation_is_news() -> None:
    links = line("ab")
    links.cut("a", "b")
    for second in range(1, 10):
        links.tick(float(second), without="b")
    assert "".join(links.cores["a"].members()) == "a"
    links.cores["b"] = member("b", incarnation=2)
    links.join("a", "b", 10.0)
    assert "".join(links.cores["a"].members()) == "ab"


def test_peer_that_lost_its_state_hears_of_its_former_life() -> None:
    links = line("ab")
    links.cut("a", "b")
    links.cores["b"] = member("b", incarnation=0)
    links.join("a", "b", 1.0)
    found = []
    while (event := links.cores["b"].next_event()) is not None:
        found.append(event)
    assert IncarnationBehind(1) in found


def test_view_changes_with_members_and_addresses_but_not_with_heartbeats() -> None:
    core = member("a")
    core.link_up(PeerId("b"), 0.0)

    def changes(*records: PeerRecord) -> int:
        while core.next_event() is not None:
            pass
        core.receive_message(Records(records), PeerId("b"), 0.0)
        count = 0
        while (event := core.next_event()) is not None:
            count += isinstance(event, ViewChanged)
        return count

    assert changes(record("b", 1)) == 1
    assert changes(record("b", 2)) == 0
    assert changes(record("b", 3, addresses=("/memory/elsewhere",))) == 1
    assert changes(record("b", 2)) == 0


def test_relay_is_a_member_but_no_learner() -> None:
    core = member("a")
    core.receive_message(Records((record("b", trains=False), record("c"))), PeerId("b"), 0.0)
    assert "".join(core.members()) == "abc"
    assert core.learners() == ["a", "c"]


def test_own_heartbeat_grows_and_travels_with_the_tick_only() -> None:
    links = line("ab")
    links.sent = 0
    links.tick(0.5)
    assert links.sent == 0
    links.tick(1.0)
    assert links.sent == 2
    assert links.cores["b"].members()[PeerId("a")].heartbeat == 1


def test_long_list_travels_in_several_messages() -> None:
    core = member("a")
    names = [f"m{i}" for i in range(MAX_RECORDS * 2)]
    for name in names:
        core.receive_message(Records((record(name),)), PeerId("x"), 0.0)
    core.link_up(PeerId("b"), 0.0)
    sizes = [len(m.records) for _, m in core.messages_to_send(0.0) if isinstance(m, Records)]
    assert sum(sizes) == len(names) + 1
    assert max(sizes) <= MAX_RECORDS


# Hostile records -------------------------------------------------------------------------------------------------


def bad(core: MembershipCore) -> list[str]:
    found = []
    while (event := core.next_event()) is not None:
        if isinstance(event, BadRecord):
            found.append(f"{event.peer}:{event.kind}")
    return found


def test_forged_record_and_record_of_another_swarm_blame_the_sender_and_change_nothing() -> None:
    core = member("a")
    core.receive_message(Records((record("b", 1),)), PeerId("b"), 0.0)
    core.receive_message(Records((record("b", 9, signature=b"?"),)), PeerId("x"), 0.0)
    core.receive_message(Records((record("c", swarm=b"o" * 32),)), PeerId("y"), 0.0)
    assert bad(core) == ["x:bad_record", "y:wrong_swarm"]
    assert core.members()[PeerId("b")].heartbeat == 1
    assert "".join(core.members()) == "ab"


def test_forged_record_of_oneself_is_ignored() -> None:
    core = member("a")
    core.receive_message(Records((record("a", 99, incarnation=7, signature=b"?"),)), PeerId("x"), 0.0)
    events = []
    while (event := core.next_event()) is not None:
        events.append(event)
    assert not [event for event in events if isinstance(event, IncarnationBehind)]


def test_table_is_bounded() -> None:
    core = member("a", max_members=10)
    for place in range(100):
        core.receive_message(Records((record(f"m{place}"),)), PeerId("x"), 0.0)
    assert len(core.members()) == 10
    assert core.counters["members_refused"] == 91


def test_what_is_remembered_of_a_link_is_bounded_when_the_table_is_full() -> None:
    core = member("a", max_members=10)
    core.link_up(PeerId("x"), 0.0)
    for place in range(1000):
        core.receive_message(Records((record(f"m{place}"),)), PeerId("x"), 0.0)
    core.messages_to_send(0.0)
    assert len(core._links[PeerId("x")]) <= 10


def test_what_is_remembered_of_a_link_goes_with_the_member() -> None:
    links = line("abc")
    links.cut("b", "c")
    for second in range(1, 100):
        links.tick(float(second), without="c")
    assert PeerId("c") not in links.cores["a"]._links[PeerId("b")]


def test_lost_members_come_in_the_order_in_which_they_were_heard_last() -> None:
    core = member("a")
    for second, name in enumerate("bdc"):
        core.receive_message(Records((record(name),)), PeerId(name), float(second))
    core.handle_timer(20.0)
    assert "".join(core.lost()) == "cdb"


histories = st.lists(
    st.builds(
        record,
        st.sampled_from("bcd"),
        st.integers(0, 5),
        incarnation=st.integers(1, 3),
        trains=st.booleans(),
    ),
    max_size=20,
)


@given(histories, st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True)
def test_merging_commutes_and_is_idempotent(history: list[PeerRecord], rng: random.Random) -> None:
    # One author never signs two records with one (incarnation, heartbeat): keep the first of each.
    unique = list({(r.author, r.incarnation, r.heartbeat): r for r in history}.values())
    shuffled = [*unique, *unique]
    rng.shuffle(shuffled)
    one, other = member("a"), member("a")
    for r in unique:
        one.receive_message(Records((r,)), PeerId("x"), 0.0)
    for r in shuffled:
        other.receive_message(Records((r,)), PeerId("x"), 0.0)
    assert one.members() == other.members()
