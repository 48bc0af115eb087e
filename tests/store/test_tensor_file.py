"""What a received file may look like, and that no bytes raise."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.errors import StoreError
from peer.store.atomic import atomic_write
from peer.store.tensor_file import (
    MAX_RECEIVED_HEADER_BYTES,
    TensorData,
    TensorFile,
    check_snapshot,
    snapshot_size,
)

WIDTH = 10
VALUES = np.arange(WIDTH, dtype=np.float32)


def file_of(header: bytes, body: bytes = VALUES.tobytes(), *, pad: bool = True) -> bytes:
    header += b" " * (-len(header) % 8) if pad else b""
    return struct.pack("<Q", len(header)) + header + body


def entry(**changes: object) -> bytes:
    fields = {"dtype": "F32", "shape": [WIDTH], "data_offsets": [0, 4 * WIDTH]} | changes
    return json.dumps({"x": fields}, separators=(",", ":")).encode()


def verdict(folder: Path, content: bytes, width: int = WIDTH) -> str:
    path = folder / "received"
    path.write_bytes(content)
    return check_snapshot(path, width)


@pytest.mark.parametrize("width", [1, 9, 2410, 100_000])
def test_what_we_write_is_what_the_library_writes(tmp_path: Path, width: int) -> None:
    values = np.linspace(-1, 1, width, dtype=np.float32)
    path = tmp_path / "x.safetensors"
    content = TensorFile({"x": TensorData("F32", (width,), values.data)})
    written = atomic_write(path, content.write)
    assert path.read_bytes() == safetensors.numpy.save({"x": values})
    assert written.size_bytes == content.size_bytes == snapshot_size(width)
    assert check_snapshot(path, width) == ""


def test_several_tensors_come_back_from_the_library(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
        "b": np.arange(3, dtype=np.uint8),
        "x": np.ones((1, 5), dtype=np.float32),
        "steps": np.array(7, dtype=np.int64),
        "none": np.zeros((0, 4), dtype=np.float32),
    }
    words = {"uint8": "U8", "float32": "F32", "int64": "I64"}
    data = {name: TensorData(words[str(a.dtype)], a.shape, a.data) for name, a in tensors.items()}
    atomic_write(tmp_path / "t", TensorFile(data).write)
    loaded = safetensors.numpy.load_file(tmp_path / "t")
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


HOSTILE = {
    "empty": b"",
    "cut in the length": b"\x48\0\0",
    "header of 8 GB": struct.pack("<Q", 8 << 30) + entry(),
    "header of 2^64-1": b"\xff" * 8 + entry(),
    "header longer than allowed": file_of(entry() + b" " * MAX_RECEIVED_HEADER_BYTES),
    "header longer than the file": struct.pack("<Q", 128) + entry(),
    "no header": struct.pack("<Q", 0) + VALUES.tobytes(),
    "not padded to 8": file_of(entry() + b" ", pad=False),
    "not UTF-8": file_of(b'{"\xff":{}}'),
    "not JSON": file_of(b"{{{{"),
    "deep": file_of(b"[" * 200),
    "a list": file_of(b"[1,2]"),
    "no tensor": file_of(b"{}"),
    "metadata only": file_of(b'{"__metadata__":{"a":"b"}}'),
    "with metadata": file_of(b'{"__metadata__":{"a":"b"},' + entry()[1:]),
    "two tensors": file_of(entry()[:-1] + b"," + entry()[1:].replace(b"x", b"y")),
    "the same tensor twice": file_of(entry(shape=[5, 2])[:-1] + b"," + entry()[1:]),
    "another name": file_of(entry().replace(b"x", b"y")),
    "unknown field": file_of(entry(more=1)),
    "spelled in another way": file_of(entry().replace(b",", b", ")),
    "fields in another order": file_of(b'{"x":{"shape":[10],"dtype":"F32","data_offsets":[0,40]}}'),
    "text behind the header": file_of(entry() + b"x"),
    "offsets backwards": file_of(entry(data_offsets=[40, 0])),
    "offsets with a hole": file_of(entry(data_offsets=[4, 44]), VALUES.tobytes() + b"\0" * 4),
    "offsets past the end": file_of(entry(data_offsets=[0, 1 << 40])),
    "offset of more than 64 bits": file_of(entry(data_offsets=[0, 1 << 70])),
    "negative offsets": file_of(entry(data_offsets=[-40, 0])),
    "three offsets": file_of(entry(data_offsets=[0, 40, 40])),
    "fractional shape": file_of(entry(shape=[10.0])),
    "values cut short": file_of(entry(), VALUES.tobytes()[:-1]),
    "values and more": file_of(entry(), VALUES.tobytes() + b"\0"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_is_not_one_tensor_x_is_bad(tmp_path: Path, content: bytes) -> None:
    assert verdict(tmp_path, content) == "bad_file"


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "F64"},
        {"dtype": "BF16"},
        {"dtype": "NONSENSE"},
        {"shape": []},
        {"shape": [9]},
        {"shape": [-10]},
        {"shape": [1 << 62]},
        {"shape": [5, 2]},
        {"shape": [1, 10]},
    ],
    ids=str,
)
def test_another_shape_or_type_is_named(tmp_path: Path, changes: dict[str, object]) -> None:
    assert verdict(tmp_path, file_of(entry(**changes))) == "wrong_shape"


def test_a_missing_file_is_our_own_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read"):
        check_snapshot(tmp_path / "absent", WIDTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(deadline=None)
@given(content=st.binary(max_size=400))
def test_no_bytes_raise(folder: Path, content: bytes) -> None:
    assert verdict(folder, content) == "bad_file"


@settings(deadline=None)
@given(place=st.integers(0, 79), value=st.integers(0, 255))
def test_no_changed_byte_of_the_header_passes(folder: Path, place: int, value: int) -> None:
    sound = file_of(entry())
    place %= len(sound) - 4 * WIDTH
    content = sound[:place] + bytes([value]) + sound[place + 1 :]
    assert (verdict(folder, content) == "") == (content == sound)
