"""The pipe between daemon and trainer: everything comes through, nonsense does not."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import TrainerError
from peer.train import protocol
from peer.train.causes import describe_error, describe_exit
from peer.train.executor import Mixed, Opened, Slot, Trained, Verdict
from peer.train.protocol import Frames
from tests.train.samples import digits, manifest_of

OPENED = Opened(b"p" * 32, 4810, 19312, 163, 2, 22, "cpu", True, 0.5)
TRAINED = Trained(Path("/a/snapshot"), b"h" * 32, 19312, 33, 0.25, 0.75)
MANIFEST = manifest_of(OPENED, TRAINED, 2)
ODD = Path("/a/\udcff b")  # a byte that is not UTF-8: file names are bytes

COMMANDS = [
    protocol.Open(1, digits(ODD)),
    protocol.Train(2, 7),
    protocol.Admit(3, ODD, MANIFEST),
    protocol.Mix(4, 7, 9, 4, (Slot(ODD, MANIFEST, 2), Slot(Path("/b"), MANIFEST, 0))),
    protocol.Close(5),
]
RESULTS = [OPENED, TRAINED, Verdict("not_finite"), Mixed(3, 2, 0.5, 0.1, True, "")]
REPORTS = [
    protocol.Progress("training", 3, 11),
    protocol.Notice("snapshot_damaged", "x" * protocol.MAX_TEXT),
    protocol.Failed(4, "no", True, "traceback"),
]


def through(frame: bytes, size: int) -> list[bytes]:
    frames = Frames()
    return [body for i in range(0, len(frame), size) for body in frames.feed(frame[i : i + size])]


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_commands_and_reports_come_through(size: int) -> None:
    sent = b"".join(map(protocol.encode_frame, COMMANDS))
    assert [protocol.decode_command(body) for body in through(sent, size)] == COMMANDS
    sent = b"".join(map(protocol.encode_frame, REPORTS))
    assert [protocol.decode_report(body) for body in through(sent, size)] == REPORTS


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_results_come_through(result: msgspec.Struct) -> None:
    (body,) = through(protocol.encode_frame(protocol.Done(1, protocol.encode_result(result))), 1 << 20)
    report = protocol.decode_report(body)
    assert isinstance(report, protocol.Done)
    assert protocol.decode_result(report.result, type(result)) == result


def test_the_wrong_result_is_refused() -> None:
    with pytest.raises(TrainerError, match="nonsense"):
        protocol.decode_result(protocol.encode_result(Verdict("")), Opened)


def test_too_long_a_frame_is_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match="allowed"):
        protocol.encode_frame(protocol.Notice("x", "y" * protocol.MAX_FRAME_BYTES))
    with pytest.raises(TrainerError, match="a frame of 4294967295 bytes"):
        list(Frames().feed(struct.pack(">I", 0xFFFFFFFF)))


@given(st.binary(max_size=200))
def test_nonsense_is_one_kind_of_error(body: bytes) -> None:
    for decode in (protocol.decode_command, protocol.decode_report):
        with contextlib.suppress(TrainerError):
            decode(body)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with code 0"),
        (-9, r"killed by signal 9 (SIGKILL; out of memory?)"),
        (-15, "killed by signal 15 (SIGTERM)"),
        (-60, "killed by signal 60"),
    ],
)
def test_ends_are_put_into_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_errors_are_put_into_words() -> None:
    out_of_memory = type("OutOfMemoryError", (RuntimeError,), {})
    assert describe_error(out_of_memory("tried to allocate 20 GiB\nmore")) == (
        "the accelerator is out of memory (tried to allocate 20 GiB)"
    )
    assert describe_error(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")) == "out of memory"
    assert describe_error(TrainerError("a plain line")) == "a plain line"
    assert "murmuration[train]" in describe_error(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert describe_error(ValueError()) == "ValueError: no message"
