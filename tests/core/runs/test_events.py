"""Event files: what we write, TensorBoard reads; what is damaged is noticed."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from sparsight.errors import RunError
from sparsight.runs import events


def write(path: Path, *messages: Any) -> bytes:
    with path.open("wb") as file:
        for message in messages:
            events.write_event(file, message)
    return path.read_bytes()


def some(step: int) -> Any:
    table = np.full((2, 3), step, np.float32)
    values = [
        events.tensor_value("table", table, "sparsity", b"meta\xff"),
        events.tensor_value("bytes", b"\x00\xffrecord", "sparsity_maps", b""),
        events.scalar_value("loss", step / 2),
    ]
    return events.event(step, 1e9 + step, values)


CONTENTS: list[np.ndarray | bytes] = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([np.nan, np.inf, -0.0], np.float64),
    np.array(2**40, np.int64),
    np.zeros((0, 4), np.float32),
    np.arange(6, dtype=np.float32).reshape(2, 3).T,
    np.arange(3, dtype=">f4").astype(">f4"),
    b"",
    b"\x00\xff bytes",
]


@pytest.mark.parametrize("content", CONTENTS, ids=repr)
def test_tensorboard_reads_what_we_write(content: np.ndarray | bytes, tmp_path: Path) -> None:
    value = events.tensor_value("tag", content, "sparsity", b"meta")
    write(tmp_path / "f", events.file_version(1.0), events.event(-1, 2.5, [value]))
    version, event = EventFileLoader(str(tmp_path / "f")).Load()
    assert version.file_version == "brain.Event:2"
    assert (event.step, event.wall_time) == (-1, 2.5)
    (read,) = event.summary.value
    assert read.tag == "tag"
    assert read.metadata.plugin_data.plugin_name == "sparsity"
    assert read.metadata.plugin_data.content == b"meta"
    assert read.metadata.data_class == summary_pb2.DATA_CLASS_TENSOR
    found = tensor_util.make_ndarray(read.tensor)
    back = events.tensor_content(read.tensor)
    if isinstance(content, bytes):
        assert found.item() == back == content
    else:
        np.testing.assert_array_equal(found, content)
        np.testing.assert_array_equal(np.asarray(back), content)


def test_scalars_are_tensorboards_own() -> None:
    value = events.scalar_value("loss", 0.25)
    assert value.metadata.plugin_data.plugin_name == "scalars"
    assert value.metadata.data_class == summary_pb2.DATA_CLASS_SCALAR
    assert tensor_util.make_ndarray(value.tensor) == 0.25
    assert events.tensor_content(value.tensor) == 0.25


def test_we_read_what_tensorboard_writes(tmp_path: Path) -> None:
    writer = EventFileWriter(str(tmp_path))
    for step in range(3):
        writer.add_event(some(step))
    writer.close()
    (path,) = tmp_path.iterdir()
    assert events.is_event_file(path)
    assert [event.step for event in events.read_events(path)] == [0, 0, 1, 2]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_events_come_back(steps: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        messages = [some(step % 100) for step in steps]
        for message, step in zip(messages, steps, strict=True):
            message.step = step
        write(Path(folder) / "f", *messages)
        assert list(events.read_events(Path(folder) / "f")) == messages


def test_a_file_that_is_being_written_ends_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "f"
    first = len(write(path, some(0)))
    content = write(path, some(0), some(1))
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        read = [event.step for event in events.read_events(path)]
        assert read == [0, 1][: (length >= first) + (length >= len(content))]
        theirs = [event.step for event in EventFileLoader(str(path)).Load()]
        assert read == theirs


def test_every_byte_counts(tmp_path: Path) -> None:
    path = tmp_path / "f"
    first = len(write(path, some(0)))
    content = write(path, some(0), some(1), some(2))
    for position in range(first, 2 * first):
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        read = events.read_events(path)
        assert next(read).step == 0
        with pytest.raises(RunError, match=f"damaged at byte {first}"):
            list(read)


def framed(record: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<Q", len(record) if length is None else length)

    def crc(content: bytes) -> bytes:
        value = google_crc32c.value(content)
        return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    return head + crc(head) + record + crc(record)


def test_a_record_that_declares_a_terabyte(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(framed(b"", 2**40))
    with pytest.raises(RunError, match="damaged at byte 0"):
        list(events.read_events(tmp_path / "f"))


def test_a_record_that_holds_no_event(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(framed(b"\xff\xff\xff"))
    with pytest.raises(RunError, match="is damaged at byte 0: the record is not an event"):
        list(events.read_events(tmp_path / "f"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(RunError, match="cannot read"):
            list(events.read_events(path))


@pytest.mark.parametrize(
    "tensor",
    [
        tensor_pb2.TensorProto(),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"a", b"b"]),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_HALF, tensor_content=b"ab"),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_content=b"abc"),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1, 2]),
        tensor_pb2.TensorProto(dtype=999, tensor_content=b"abcd"),
    ],
)
def test_tensors_of_other_kinds(tensor: Any) -> None:
    with pytest.raises(RunError):
        events.tensor_content(tensor)


def test_names_of_event_files() -> None:
    assert events.is_event_file(Path("run/events.out.tfevents.1.host"))
    assert not events.is_event_file(Path("tfevents/checkpoint.pt"))
    assert event_pb2.Event.FromString(some(3).SerializeToString()).step == 3
