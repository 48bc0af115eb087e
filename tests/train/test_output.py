"""Lines of the trainer: cut, bounded, counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.train.output import BURST_LINES, KEPT_LINES, LINES_PER_S, MAX_LINE_BYTES, Output


def collected() -> tuple[Output, list[str]]:
    lines: list[str] = []
    return Output(lines.append, lambda event, detail: None), lines


def test_lines_arrive_whole_however_they_are_cut() -> None:
    output, lines = collected()
    for piece in (b"on", b"e\ntwo\n\nthr", b"ee", b"\n\xff\n", b"rest"):
        output.feed(piece, 0.0)
    assert lines == ["one", "two", "three", "\ufffd"]
    output.finish()
    output.finish()
    assert lines[-1] == "rest"


def test_a_long_line_is_cut() -> None:
    output, lines = collected()
    for _ in range(100):
        output.feed(b"x" * 1000, 0.0)
    output.feed(b"\nnext\n", 0.0)
    assert lines == ["x" * MAX_LINE_BYTES, "next"]


def test_the_rate_is_bounded_and_the_rest_is_counted() -> None:
    output, lines = collected()
    output.feed(b"line\n" * 1000, 0.0)
    assert len(lines) == BURST_LINES
    assert output.num_dropped == 1000 - BURST_LINES
    output.feed(b"line\n" * 1000, 2.0)
    assert len(lines) == BURST_LINES + 2 * LINES_PER_S
    output.feed(b"line\n" * 1000, 1e9)
    assert len(lines) == 2 * BURST_LINES + 2 * LINES_PER_S
    assert len(output.kept) == KEPT_LINES


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_raise_and_nothing_short_is_lost(pieces: list[bytes]) -> None:
    output, lines = collected()
    for piece in pieces:
        output.feed(piece, 0.0)
    output.finish()
    whole = [line.decode("utf-8", "replace").rstrip() for line in b"".join(pieces).split(b"\n")]
    expected = [line for line in whole if line]
    assert lines == expected[: int(BURST_LINES)]
