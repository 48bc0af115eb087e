"""Frames over a stream that delivers bytes in whatever pieces it likes."""

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from peer.core.messages import AnyMessage, Goodbye, Hello, LinkMessage, Model, Refuse, Seen, Want
from peer.errors import FramingError
from peer.net.framing import MAX_FRAME_BYTES, MessageReader, encode_frame, send_message


class Pieces:
    """A stream that has already received these pieces, and remembers what was sent."""

    def __init__(self, *pieces: bytes):
        self.peer = "p"
        self.pieces = list(pieces)
        self.sent = b""
        self.asked: list[int] = []

    async def receive_some(self, max_bytes: int) -> bytes:
        self.asked.append(max_bytes)
        if not self.pieces:
            return b""
        piece, rest = self.pieces[0][:max_bytes], self.pieces[0][max_bytes:]
        self.pieces[0:1] = [rest] if rest else []
        return piece

    async def send_all(self, data) -> None:
        self.sent += bytes(data)


MESSAGES = [
    Hello(bytes(32), agent="x"),
    Seen(7),
    Want(1, bytes(32)),
    Model(1, bytes(32), 10),
    Refuse(1, "busy"),
    Goodbye(),
]


@given(st.lists(st.integers(1, 40), max_size=40), st.binary(max_size=50))
def test_messages_and_raw_bytes_come_out_as_they_went_in_however_they_are_cut(cuts, body):
    data = b"".join(encode_frame(message) for message in MESSAGES) + body
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(data[start : start + cut])
        start += cut
    pieces = [piece for piece in [*pieces, data[start:]] if piece]

    async def read():
        reader = MessageReader(Pieces(*pieces))
        for message in MESSAGES:
            assert await reader.receive() == message
        raw = b""
        while more := await reader.receive_raw(7):
            assert len(more) <= 7
            raw += more
        assert raw == body

    trio.run(read)


async def test_the_end_after_a_whole_frame_is_none():
    assert await MessageReader(Pieces()).receive() is None
    reader = MessageReader(Pieces(encode_frame(Seen(1))))
    assert await reader.receive() == Seen(1)
    assert await reader.receive() is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x00", "cut_short"),
        (encode_frame(Seen(1))[:-1], "cut_short"),
        (b"\x00\x01\x00\x01" + bytes(70_000), "frame_too_long"),
        (b"\xff\xff\xff\xff", "frame_too_long"),
        (b"\x00\x00\x00\x00", "bad_message"),
        (b"\x00\x00\x00\x03abc", "bad_message"),
        (b"\x00\x00\x00\x05" + b"\x91\xc4\x02ab", "bad_message"),
        (b"\x00\x00\x10\x00" + b"\x91" * 4096, "bad_message"),
        (encode_frame(Want(1, bytes(32))), "bad_message"),
    ],
)
async def test_broken_frames_are_framing_errors(data, kind):
    with pytest.raises(FramingError) as caught:
        await MessageReader(Pieces(data), LinkMessage).receive()
    assert caught.value.kind == kind


async def test_a_length_of_gigabytes_allocates_nothing():
    stream = Pieces(b"\xff\xff\xff\xff")
    with pytest.raises(FramingError):
        await MessageReader(stream).receive()
    assert max(stream.asked) <= MAX_FRAME_BYTES


async def test_newer_fields_are_skipped():
    body = msgspec.msgpack.encode(["Seen", 5, "added later"])
    stream = Pieces(len(body).to_bytes(4, "big") + body)
    assert await MessageReader(stream, AnyMessage).receive() == Seen(5)


async def test_our_own_message_must_fit():
    with pytest.raises(ValueError, match="does not fit"):
        await send_message(Pieces(), Goodbye("x" * 64), max_bytes=60)
