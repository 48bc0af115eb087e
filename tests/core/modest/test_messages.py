"""The wire format: what is said comes back the same, and nothing out of bounds is read."""

import msgspec
import pytest

from peer.core.messages import PeerId
from peer.core.modest_messages import (
    MAX_DOUBTS,
    MAX_ENTRIES,
    MAX_ROUND,
    Advertise,
    AggAck,
    Doubts,
    ModelHeader,
    ModelRef,
    ModestMessage,
    Ping,
    Pong,
    Status,
    ViewDelta,
    ViewEntry,
    ViewRequest,
)

ENTRY = ViewEntry(PeerId("x"), 5, 3, Status.LEAVE)
DECODER = msgspec.msgpack.Decoder(ModestMessage | ModelHeader)
MESSAGES = [
    Ping(3, 1, 2**40),
    Pong(3, 1, 2**40),
    Advertise(3, 1, Status.LEAVE),
    AggAck(3, success=False),
    Doubts((PeerId("x"),)),
    ViewRequest(b"d" * 16),
    ViewDelta((ENTRY,)),
    ModelHeader(ModelRef(3, "trained", PeerId("x"), b"h" * 32), (ENTRY,)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_said_is_understood(message):
    assert DECODER.decode(msgspec.msgpack.encode(message)) == message


def test_the_samples_cover_every_message():
    assert {type(message) for message in MESSAGES} == {*ModestMessage.__args__, ModelHeader}


@pytest.mark.parametrize(
    "message",
    [
        Ping(MAX_ROUND + 1, 1, 1),
        Ping(-1, 1, 1),
        Pong(1, 2**53 + 1, 1),
        Advertise(1, 1, 7),
        Doubts(tuple(PeerId("x") for _ in range(MAX_DOUBTS + 1))),
        Doubts((PeerId("x" * 129),)),
        Doubts((PeerId(""),)),
        ViewRequest(b"d" * 65),
        ViewDelta((ENTRY,) * (MAX_ENTRIES + 1)),
        ViewDelta((ViewEntry(PeerId("x"), -2),)),
        ModelHeader(ModelRef(1, "stolen", PeerId("x"))),
        ModelHeader(ModelRef(1, "trained", PeerId("x"), b"h" * 65)),
    ],
    ids=repr,
)
def test_out_of_bounds_is_not_read(message):
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(msgspec.msgpack.encode(message))


def test_a_full_delta_is_small():
    entries = tuple(ViewEntry(PeerId(f"12D3KooW{n:044d}"), 10**6, 10, Status.JOIN) for n in range(MAX_ENTRIES))
    assert len(msgspec.msgpack.encode(ViewDelta(entries))) < 20_000


def test_a_later_version_may_append_fields():
    longer = msgspec.msgpack.encode(["Ping", 3, 1, 9, "new"])
    assert DECODER.decode(longer) == Ping(3, 1, 9)
