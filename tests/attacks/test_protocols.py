"""Attacks on our own protocols, by a peer that has a connection."""

import pytest
import trio

from peer.core.messages import Hello, Model, Seen, Want
from peer.errors import FetchError, NetError
from peer.net.fetch import MODEL_PROTOCOL
from peer.net.framing import MessageReader, encode_frame
from peer.net.link import LINK_PROTOCOL
from tests.waiting import until

from .conftest import DATA, PACE, SHA256, SWARM

HELLO = encode_frame(Hello(SWARM))
FOUR_GIGABYTES = b"\xff\xff\xff\xff"


async def until_closed(stream) -> None:
    try:
        while await stream.receive_some(65536):
            pass
    except NetError:
        pass


# On the link protocol


@pytest.mark.parametrize(
    ("data", "fault", "stays_connected"),
    [
        (FOUR_GIGABYTES, "frame_too_long", False),
        (HELLO + FOUR_GIGABYTES, "frame_too_long", False),
        (HELLO + b"\x00\x00\x00\x04abcd", "bad_message", False),
        (HELLO + encode_frame(Want(1, bytes(32))), "bad_message", False),
        (HELLO + HELLO, "bad_message", False),
        (encode_frame(Seen(1)), "no_hello", False),
        (encode_frame(Hello(bytes([1]) * 32)), "wrong_swarm", False),
        (encode_frame(Hello(SWARM, version=9)), "wrong_version", False),
        (b"", "stalled", True),
        (HELLO[:7], "stalled", True),
    ],
)
async def test_a_broken_rule_of_the_link(stage, data, fault, stays_connected):
    with stage.one_fault(fault):
        await stage.attacker.dial(stage.victim.address)
        stream = await stage.attacker.open_stream(stage.victim.peer_id, LINK_PROTOCOL)
        await stream.send_all(data)
        await stage.honest_peer_goes_on()
        await until_closed(stream)
        await stage.counted(fault)
    assert not stage.victim.links.is_linked(stage.attacker.peer_id)
    if not stays_connected:
        await stage.attacker_is_out()
    await stage.honest_peer_goes_on()


@pytest.mark.parametrize("data", [HELLO, HELLO + b"\x00\x00\x00\x20half a fr"])
async def test_a_link_that_falls_silent_ends_without_a_fault(stage, data):
    """A frozen peer looks the same as one whose battery died: no rule is broken, but the link is over."""
    await stage.attacker.dial(stage.victim.address)
    stream = await stage.attacker.open_stream(stage.victim.peer_id, LINK_PROTOCOL)
    await stream.send_all(data)
    await until(lambda: stage.victim.links.is_linked(stage.attacker.peer_id))
    await stage.honest_peer_goes_on()
    await until(lambda: not stage.victim.links.is_linked(stage.attacker.peer_id))
    assert stage.victim.faults == {}


# On the model protocol, as the one who asks


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (FOUR_GIGABYTES, "frame_too_long"),
        (b"\x00\x00\x00\x02{}", "bad_message"),
        (encode_frame(Seen(1)), "bad_message"),
        (b"", "stalled"),
        (encode_frame(Want(1, SHA256))[:20], "stalled"),
    ],
)
async def test_a_bad_question_costs_the_stream(stage, data, fault):
    with stage.one_fault(fault):
        await stage.attacker.dial(stage.victim.address)
        stream = await stage.attacker.open_stream(stage.victim.peer_id, MODEL_PROTOCOL)
        await stream.send_all(data)
        await stage.honest_peer_goes_on()
        await until_closed(stream)
        await stage.counted(fault)
    await stage.honest_peer_goes_on()


async def test_a_receiver_that_does_not_read_costs_the_stream(stage):
    with stage.one_fault("stalled"):
        await stage.attacker.dial(stage.victim.address)
        stream = await stage.attacker.open_stream(stage.victim.peer_id, MODEL_PROTOCOL)
        await stream.send_all(encode_frame(Want(1, SHA256)))
        await until(lambda: stage.victim.server.num_uploads == 1)
        await stage.honest_peer_goes_on()
        await stage.counted("stalled")
        await until(lambda: stage.victim.server.num_uploads == 0)


# On the model protocol, as the one who answers


def header(request_id=None, sha256=SHA256, size_bytes=None):
    def make(want):
        return encode_frame(
            Model(
                want.request_id if request_id is None else request_id,
                sha256,
                len(DATA) if size_bytes is None else size_bytes,
            )
        )

    return make


@pytest.mark.parametrize(
    ("head", "body", "kind", "misbehaved"),
    [
        (header(request_id=4711), DATA, "wrong_request_id", True),
        (header(sha256=bytes(32)), DATA, "wrong_hash", True),
        (header(size_bytes=8 << 30), DATA, "wrong_size", True),
        (header(), DATA[:-1] + b"!", "wrong_hash", True),
        (header(), DATA + b"!", "too_long", True),
        (header(), DATA[:-1], "cut_short", True),
        (lambda want: FOUR_GIGABYTES, b"", "frame_too_long", True),
        (lambda want: b"\x00\x00\x00\x01\xc1", b"", "bad_message", True),
    ],
)
async def test_a_bad_answer_is_recognised(stage, head, body, kind, misbehaved):
    async def answer(stream):
        want = await MessageReader(stream, Want).receive()
        await stream.send_all(head(want) + body)
        await stream.aclose()

    await fetch_fails(stage, answer, kind, misbehaved)


@pytest.mark.parametrize("size", [0, 5, 100_000])
async def test_an_answer_that_stalls_ends(stage, size):
    """Before the header, inside of it, and inside the body."""

    async def answer_in_part(stream):
        want = await MessageReader(stream, Want).receive()
        await stream.send_all((header()(want) + DATA)[:size])
        await trio.sleep_forever()

    await fetch_fails(stage, answer_in_part, "stalled", False)


async def fetch_fails(stage, handler, kind, misbehaved):
    stage.attacker.set_handler(MODEL_PROTOCOL, handler)
    await stage.victim.transport.dial(stage.attacker.addresses()[0])
    with pytest.raises(FetchError) as caught:
        await stage.victim.get(stage.attacker.peer_id, pace=PACE)
    assert (caught.value.kind, caught.value.misbehaved) == (kind, misbehaved)
    assert not list(stage.victim.folder.glob(f"got-{stage.victim.peer_id[-6:]}-*")), "nothing is left on disk"
    await stage.honest_peer_goes_on()
