"""TensorBoard event files, written and read without a TensorBoard server.

An event file is a sequence of TFRecords: length (uint64), masked CRC-32C of the length, the bytes
of an `Event` message, masked CRC-32C of those bytes. We frame the records ourselves, because
TensorBoard's own CRC is pure Python and runs at 3 to 6 MB/s.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto import (
    event_pb2,
    summary_pb2,
    tensor_pb2,
    tensor_shape_pb2,
    types_pb2,
)

from ..errors import RunError

__all__ = ["event", "is_event_file", "read_events", "scalar_value", "tensor_value", "write_event"]

_DTYPES = {
    "float32": types_pb2.DT_FLOAT,
    "float64": types_pb2.DT_DOUBLE,
    "int64": types_pb2.DT_INT64,
}
_NUMPY = {number: np.dtype(name) for name, number in _DTYPES.items()}
_MAX_RECORD = 2**30  # a length beyond this is damage, not data
_WALL_TIME = 0x09  # what its field starts with in a serialized Event: number 1, 64 bits


def is_event_file(path: Path) -> bool:
    """Whether TensorBoard would read this file, by its name."""
    return "tfevents" in path.name


def tensor_value(tag: str, content: NDArray[Any] | bytes, plugin: str, metadata: bytes) -> Any:
    """A `Summary.Value` that holds an array (float32, float64 or int64) or a string of bytes."""
    if isinstance(content, bytes):
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            tensor_shape=tensor_shape_pb2.TensorShapeProto(),
            string_val=[content],
        )
    else:
        dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in content.shape]
        tensor = tensor_pb2.TensorProto(
            dtype=_DTYPES[content.dtype.name],
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims),
            tensor_content=content.astype(content.dtype.newbyteorder("<")).tobytes(),
        )
    return _value(tag, tensor, plugin, metadata, summary_pb2.DATA_CLASS_TENSOR)


def scalar_value(tag: str, value: float) -> Any:
    """A `Summary.Value` for TensorBoard's own Scalars tab."""
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT,
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),
        float_val=[value],
    )
    return _value(tag, tensor, "scalars", b"", summary_pb2.DATA_CLASS_SCALAR)


def event(step: int, wall_time: float, values: Sequence[Any]) -> Any:
    """One `Event` with all values of a step."""
    return event_pb2.Event(
        step=step, wall_time=wall_time, summary=summary_pb2.Summary(value=values)
    )


def file_version(wall_time: float) -> Any:
    """The `Event` that every event file starts with."""
    return event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2")


def framed(message: Any) -> bytes:
    """An event as it stands in an event file."""
    record = message.SerializeToString()
    length = struct.pack("<Q", len(record))
    return b"".join([length, _masked_crc(length), record, _masked_crc(record)])


def write_event(file: BinaryIO, message: Any) -> None:
    """Append one event to an event file."""
    file.write(framed(message))


def read_events(path: Path) -> Iterator[Any]:
    """The events of one file, in order.

    A file that ends within a record, as one that is being written does, ends there. Raises RunError
    for a file that cannot be opened, and for a record whose checksum is wrong: what follows cannot
    be trusted.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from None
    with file:
        position = 0
        while len(header := file.read(12)) == 12:
            (length,) = struct.unpack_from("<Q", header)
            if _masked_crc(header[:8]) != header[8:] or length > _MAX_RECORD:
                raise RunError(
                    f"{path} is damaged at byte {position}: expected the length of a record"
                )
            body = file.read(length + 4)
            if len(body) < length + 4:
                return
            if _masked_crc(body[:-4]) != body[-4:]:
                raise RunError(f"{path} is damaged at byte {position}: wrong checksum")
            try:
                message = event_pb2.Event.FromString(body[:-4])
            except DecodeError:
                raise RunError(
                    f"{path} is damaged at byte {position}: the record is not an event"
                ) from None
            position = file.tell()
            yield message


def latest_wall_time(path: Path) -> float:
    """The latest wall time in a file, up to where it is damaged; 0 where there is none.

    Reads only the start of each event, which is where its wall time stands.
    """
    latest = 0.0
    with contextlib.suppress(OSError), path.open("rb") as file:
        while len(header := file.read(12)) == 12 and _masked_crc(header[:8]) == header[8:]:
            (length,) = struct.unpack_from("<Q", header)
            start = file.read(min(9, length))
            if len(start) == 9 and start[0] == _WALL_TIME:
                (wall_time,) = struct.unpack_from("<d", start, 1)
                latest = max(latest, wall_time) if math.isfinite(wall_time) else latest
            file.seek(length + 4 - len(start), os.SEEK_CUR)
    return latest


def tensor_content(tensor: Any) -> NDArray[Any] | bytes:
    """What `tensor_value` was given. Raises RunError for any other kind of tensor."""
    if tensor.dtype == types_pb2.DT_STRING and len(tensor.string_val) == 1:
        return bytes(tensor.string_val[0])
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    try:
        if tensor.dtype == types_pb2.DT_FLOAT and len(tensor.float_val):
            return np.array(tensor.float_val, np.float32).reshape(shape)
        return np.frombuffer(tensor.tensor_content, _NUMPY[tensor.dtype]).reshape(shape)
    except (KeyError, ValueError) as error:
        raise RunError(
            f"cannot read a tensor of type {tensor.dtype} and shape {shape}: {error!r}"
        ) from None


def _value(tag: str, tensor: Any, plugin: str, metadata: bytes, data_class: int) -> Any:
    return summary_pb2.Summary.Value(
        tag=tag,
        tensor=tensor,
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(
                plugin_name=plugin, content=metadata
            ),
            data_class=data_class,  # without it the Rust loader does not see the tag
        ),
    )


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
