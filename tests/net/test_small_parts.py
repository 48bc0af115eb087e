"""Tables and texts: bans, faults, addresses, the outbox."""

import socket

import pytest
from structlog.testing import capture_logs

from peer.net import addresses
from peer.net.bans import MAX_ENTRIES, Bans
from peer.net.faults import MAX_REMEMBERED, FaultLog
from peer.net.outbox import MAX_BYTES, MAX_MESSAGES, Outbox


def test_bans_end_and_do_not_get_shorter():
    bans = Bans()
    bans.add("p", 10.0)
    bans.add("p", 5.0)
    assert bans.until("p", 9.0) == 10.0
    assert bans.until("p", 10.0) is None
    assert bans.until("q", 0.0) is None


def test_bans_are_bounded():
    bans = Bans()
    for i in range(MAX_ENTRIES + 1):
        bans.add(f"p{i}", 10.0)
    assert bans.until("p0", 0.0) is None
    assert bans.until("p1", 0.0) == 10.0


def test_faults_are_counted_each_time_and_logged_once_per_culprit():
    faults = FaultLog("net_fault")
    with capture_logs() as logs:
        for _ in range(3):
            faults.note("garbage", "p", detail="x")
        faults.note("garbage", "q")
        faults.note("stalled", "p")
    assert faults.counts == {"garbage": 4, "stalled": 1}
    assert [(entry["kind"], entry["peer"]) for entry in logs] == [("garbage", "p"), ("garbage", "q"), ("stalled", "p")]


def test_the_memory_of_faults_is_bounded():
    faults = FaultLog("net_fault")
    with capture_logs() as logs:
        for i in range(2 * MAX_REMEMBERED):
            faults.note("garbage", f"p{i}")
        faults.note("garbage", "p0")
    assert len(logs) == 2 * MAX_REMEMBERED + 1
    assert len(faults._seen) == MAX_REMEMBERED


def test_the_outbox_is_bounded_in_messages_and_bytes():
    outbox = Outbox()
    assert all(outbox.put(b"x") for _ in range(MAX_MESSAGES))
    assert not outbox.put(b"x")
    assert outbox.take() == b"x" * MAX_MESSAGES
    assert not outbox.put(bytes(MAX_BYTES + 1))
    assert outbox.put(bytes(MAX_BYTES))
    assert not outbox.put(b"x")
    assert len(outbox.take()) == MAX_BYTES
    assert outbox.take() == b""


@pytest.fixture
def interfaces(monkeypatch):
    found = {
        socket.AF_INET: ["127.0.0.1", "192.0.2.7", "10.0.0.7"],
        socket.AF_INET6: ["::1", "2001:db8::7"],
    }
    monkeypatch.setattr(addresses, "interface_addresses", found.__getitem__)


def test_unspecified_addresses_are_replaced_and_loopback_comes_last(interfaces):
    assert addresses.expand(["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4002", "/ip4/198.51.100.1/tcp/5"]) == [
        "/ip4/192.0.2.7/tcp/4001",
        "/ip4/10.0.0.7/tcp/4001",
        "/ip6/2001:db8::7/tcp/4002",
        "/ip4/198.51.100.1/tcp/5",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip6/::1/tcp/4002",
    ]


def test_no_more_addresses_than_a_record_carries(interfaces):
    assert len(addresses.expand(f"/ip4/192.0.2.{i}/tcp/1" for i in range(20))) == 8


def test_addresses_of_this_device():
    assert "127.0.0.1" in addresses.interface_addresses(socket.AF_INET)
    assert not any(ip.startswith("fe80") for ip in addresses.interface_addresses(socket.AF_INET6))


def test_split_peer():
    assert addresses.split_peer("/ip4/1.2.3.4/tcp/1/p2p/12D3K") == ("/ip4/1.2.3.4/tcp/1", "12D3K")
    assert addresses.split_peer("/ip4/1.2.3.4/tcp/1") == ("/ip4/1.2.3.4/tcp/1", None)
