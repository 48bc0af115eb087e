"""Snapshots from peer to peer in virtual time; the hostile side is written by hand."""

import hashlib
import itertools

import pytest
import trio

from peer.core.messages import Model, Refuse, Want
from peer.errors import FetchError, NetError
from peer.net.fetch import MODEL_PROTOCOL, fetch, inline
from peer.net.framing import MessageReader, encode_frame, send_message
from peer.net.memory import MemoryNetwork
from peer.net.pace import Pace
from peer.net.serve import serve_models

from .swarm import peer_ids

DATA = bytes(range(256)) * 4000
SIZE = len(DATA)
SHA256 = hashlib.sha256(DATA).digest()
PACE = Pace(stall_s=5, min_bytes_per_s=1024)


@pytest.fixture
async def ends(nursery):
    """A connected asker and answerer."""
    network = MemoryNetwork()
    (_, one), (_, other) = peer_ids(2)
    asker, answerer = network.transport("asker", one), network.transport("answerer", other)
    await nursery.start(asker.run)
    await nursery.start(answerer.run)
    await asker.dial("/memory/answerer")
    return asker, answerer


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "received"


def give(file, data=DATA):
    """A provider that has one file."""

    def provide(peer, want):
        if want.sha256 != hashlib.sha256(data).digest():
            return Refuse(want.request_id, "unknown")
        return Model(want.request_id, want.sha256, len(data), want.offset), file

    return provide


def serve(transport, provider, **options):
    return serve_models(transport, provider, pace=PACE, offload=inline, **options)


async def get(asker, answerer, destination, want=None, size_bytes=SIZE, **options):
    want = want or Want(1, SHA256)
    await fetch(asker, answerer.peer_id, want, size_bytes, destination, pace=PACE, offload=inline, **options)


async def test_a_file_arrives_whole(autojump_clock, ends, file, destination):
    asker, answerer = ends
    server = serve(answerer, give(file))
    await get(asker, answerer, destination)
    assert destination.read_bytes() == DATA
    await trio.sleep(1)
    assert (server.num_served, server.num_uploads) == (1, 0)


async def test_an_empty_file_arrives_too(autojump_clock, ends, tmp_path, destination):
    asker, answerer = ends
    empty = tmp_path / "empty"
    empty.touch()
    serve(answerer, give(empty, b""))
    await get(asker, answerer, destination, Want(1, hashlib.sha256(b"").digest()), 0)
    assert destination.read_bytes() == b""


async def test_threads_do_the_same_work(ends, file, destination):
    asker, answerer = ends
    serve_models(answerer, give(file))
    with trio.fail_after(20):
        await fetch(asker, answerer.peer_id, Want(1, SHA256), len(DATA), destination)
    assert destination.read_bytes() == DATA


@pytest.mark.parametrize("offset", [1, 65_536, len(DATA) - 1, len(DATA)])
async def test_an_interrupted_transfer_goes_on_where_it_stopped(autojump_clock, ends, file, destination, offset):
    asker, answerer = ends
    serve(answerer, give(file))
    destination.write_bytes(DATA[:offset])
    await get(asker, answerer, destination, Want(1, SHA256, offset))
    assert destination.read_bytes() == DATA
    assert asker.traffic.bytes_in < len(DATA) - offset + 200


async def test_a_partial_file_is_kept_on_request_only(autojump_clock, ends, destination):
    asker, answerer = ends
    answerer.set_handler(MODEL_PROTOCOL, answer(header(), DATA[:300_000], hang=True))
    with pytest.raises(FetchError):
        await get(asker, answerer, destination)
    assert not destination.exists()
    with pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination, keep_partial=True)
    assert caught.value.kind == "stalled"
    kept = destination.read_bytes()
    assert kept
    assert DATA.startswith(kept)


async def test_a_destination_that_exists_is_left_alone(autojump_clock, ends, file, destination):
    asker, answerer = ends
    serve(answerer, give(file))
    destination.write_bytes(b"precious")
    with pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination)
    assert caught.value.kind == "disk"
    assert destination.read_bytes() == b"precious"


async def test_what_is_not_there_is_refused(autojump_clock, ends, file, destination):
    asker, answerer = ends
    serve(answerer, give(file))
    for want, path in ((Want(1, bytes(32)), file), (Want(2, SHA256), None)):
        if path is None:
            file.unlink()
        with pytest.raises(FetchError) as caught:
            await get(asker, answerer, destination, want)
        assert (caught.value.kind, caught.value.misbehaved) == ("refused:unknown", False)
    assert not destination.exists()


async def test_a_peer_that_does_not_serve_models_is_broken_not_bad(autojump_clock, ends, destination):
    asker, answerer = ends
    with pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination)
    assert (caught.value.kind, caught.value.misbehaved) == ("broken", False)


async def test_uploads_are_bounded_in_all_and_per_peer(autojump_clock, ends, file, tmp_path):
    asker, answerer = ends
    server = serve(answerer, give(file), max_uploads_per_peer=2)
    streams = []
    for i in range(3):
        stream = await asker.open_stream(answerer.peer_id, MODEL_PROTOCOL)
        await send_message(stream, Want(i, SHA256))
        streams.append(MessageReader(stream))
    answers = [await reader.receive() for reader in streams]
    assert answers[:2] == [Model(0, SHA256, len(DATA)), Model(1, SHA256, len(DATA))]
    assert answers[2] == Refuse(2, "busy")
    await trio.sleep(100)  # the first two are not read and have to go
    assert server.num_uploads == 0
    assert server.faults == {"stalled": 2}
    await get(asker, answerer, tmp_path / "received")


# A hostile answerer


def header(request_id=1, sha256=SHA256, size_bytes=SIZE, offset=0) -> bytes:
    return encode_frame(Model(request_id, sha256, size_bytes, offset))


def answer(*data: bytes, hang: bool = False):
    async def handle(stream):
        await MessageReader(stream).receive()
        for piece in data:
            await stream.send_all(piece)
        if hang:
            await trio.sleep_forever()
        await stream.aclose()

    return handle


@pytest.mark.parametrize(
    ("handler", "kind", "misbehaved"),
    [
        (answer(), "cut_short", True),
        (answer(hang=True), "stalled", False),
        (answer(b"\x00\x00", hang=True), "stalled", False),
        (answer(b"\xff" * 8), "frame_too_long", True),
        (answer(b"\x00\x00\x00\x02{}"), "bad_message", True),
        (answer(header(request_id=2), DATA), "wrong_request_id", True),
        (answer(header(sha256=bytes(32)), DATA), "wrong_hash", True),
        (answer(header(size_bytes=SIZE + 1), DATA), "wrong_size", True),
        (answer(header(offset=1), DATA), "wrong_size", True),
        (answer(header(), DATA[:-1]), "cut_short", True),
        (answer(header(), DATA[:-1], hang=True), "stalled", False),
        (answer(header(), DATA[:-1] + b"!"), "wrong_hash", True),
        (answer(header(), DATA, b"!"), "too_long", True),
        (answer(encode_frame(Refuse(1, "busy"))), "refused:busy", False),
        (answer(encode_frame(Refuse(1, "x" * 64))), "refused:other", False),
        (answer(encode_frame(Refuse(2, "busy"))), "wrong_request_id", True),
    ],
)
async def test_bad_answers(autojump_clock, ends, destination, handler, kind, misbehaved):
    asker, answerer = ends
    answerer.set_handler(MODEL_PROTOCOL, handler)
    with trio.fail_after(100), pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination)
    assert (caught.value.kind, caught.value.misbehaved) == (kind, misbehaved)
    assert not destination.exists()


async def test_a_body_that_trickles_is_a_stall(autojump_clock, ends, destination):
    """A byte every four seconds never stalls for five, and would take two months."""
    asker, answerer = ends

    async def trickle(stream):
        await MessageReader(stream).receive()
        await stream.send_all(header())
        for i in itertools.count():
            await stream.send_all(DATA[i : i + 1])
            await trio.sleep(4)

    answerer.set_handler(MODEL_PROTOCOL, trickle)
    with trio.fail_after(10 * PACE.block_s), pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination)
    assert caught.value.kind == "stalled"


async def test_a_remote_that_has_sent_all_but_does_not_finish_has_done_no_harm(autojump_clock, ends, destination):
    asker, answerer = ends
    answerer.set_handler(MODEL_PROTOCOL, answer(header(), DATA, hang=True))
    await get(asker, answerer, destination)
    assert destination.read_bytes() == DATA


async def test_a_lost_connection_is_broken(autojump_clock, ends, destination):
    asker, answerer = ends

    async def vanish(stream):
        await MessageReader(stream).receive()
        await stream.send_all(header() + DATA[:1000])
        await answerer.disconnect(stream.peer)

    answerer.set_handler(MODEL_PROTOCOL, vanish)
    with pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination)
    assert (caught.value.kind, caught.value.misbehaved) == ("broken", False)


async def test_a_cancelled_fetch_leaves_no_file_and_no_stream(autojump_clock, ends, destination):
    asker, answerer = ends
    answerer.set_handler(MODEL_PROTOCOL, answer(header(), DATA[:1000], hang=True))
    with trio.move_on_after(1):
        await get(asker, answerer, destination)
    assert not destination.exists()
    await trio.sleep(1)
    assert asker.connections[answerer.peer_id].streams == []


# A hostile asker


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xff\xff\xff\xff", "frame_too_long"),
        (b"\x00\x00\x00\x03abc", "bad_message"),
        (encode_frame(Refuse(1, "x")), "bad_message"),
        (b"\x00", "stalled"),
    ],
)
async def test_bad_questions_cost_the_stream_and_are_counted_once(autojump_clock, ends, file, data, fault):
    asker, answerer = ends
    server = serve(answerer, give(file))
    stream = await asker.open_stream(answerer.peer_id, MODEL_PROTOCOL)
    await stream.send_all(data)
    with pytest.raises(NetError):
        await stream.receive_some(1)
    await trio.sleep(1)
    assert server.faults == {fault: 1}
    assert server.num_uploads == 0


async def test_a_file_that_has_shrunk_resets_the_stream(autojump_clock, ends, file, destination):
    asker, answerer = ends
    server = serve(answerer, give(file))
    file.write_bytes(DATA[:1000])
    with pytest.raises(FetchError) as caught:
        await get(asker, answerer, destination)
    assert caught.value.kind == "broken"
    assert server.num_uploads == 0
