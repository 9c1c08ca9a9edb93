"""The numbers of a model's large weights, apart from its bytes.

A parser copies them, and handed to ONNX Runtime as bytes they are copied three times: the bytes
with the tap chains, the parsed message, the tensors. That is most of the time in which a model of
large weights is opened. So they are cut out of the bytes beforehand, and handed on as arrays.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper

__all__ = ["ELSEWHERE", "apart"]

ELSEWHERE = "beside the model's bytes"
"""Where the bytes say that such a tensor lies."""

_LARGE = 2**16  # bytes: below it a copy costs less than the bookkeeping

_PLAIN = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
)
"""Element types whose raw bytes are numpy's own, on machines that store the lowest byte first."""

_LENGTH = 2  # the wire type of what has a length: messages, text and bytes


def apart(content: bytes) -> tuple[bytes, Mapping[str, NDArray[Any]]]:
    """A serialized model without the numbers of its large initializers, and these, by name.

    The arrays are views of `content` where their numbers lie at whole ones there. Initializers that
    are small, damaged, or not plain stay in the bytes, and so do all of what is no model: that is
    for the parser to say.
    """
    if len(content) < _LARGE or sys.byteorder != "little":
        return content, {}
    try:
        return _model_apart(content)
    except (ValueError, IndexError, DecodeError):
        return content, {}


class _Field(NamedTuple):
    """A field of a serialized message: where it starts, where its value does, and where it ends."""

    number: int
    kind: int
    start: int
    value: int
    end: int


def _model_apart(content: bytes) -> tuple[bytes, Mapping[str, NDArray[Any]]]:
    view = memoryview(content)
    number = onnx.ModelProto.GRAPH_FIELD_NUMBER
    graphs = [field for field in _fields(view) if field.number == number]
    if len(graphs) != 1:
        return content, {}
    (place,) = graphs
    graph, weights = _graph_apart(view[place.value : place.end])
    if not weights:
        return content, {}
    light = b"".join([view[: place.start], _written(number, graph), view[place.end :]])
    return light, weights


def _graph_apart(graph: memoryview) -> tuple[bytes, dict[str, NDArray[Any]]]:
    pieces: list[bytes | memoryview] = []
    weights: dict[str, NDArray[Any]] = {}
    done, number = 0, onnx.GraphProto.INITIALIZER_FIELD_NUMBER
    for field in _fields(graph):
        if field.number != number or field.end - field.value < _LARGE:
            continue
        tensor, array = _tensor_apart(graph[field.value : field.end])
        if array is not None and tensor.name not in weights:
            weights[tensor.name] = array
            pieces += [graph[done : field.start], _written(number, tensor.SerializeToString())]
            done = field.end
    return b"".join([*pieces, graph[done:]]), weights


def _tensor_apart(content: memoryview) -> tuple[onnx.TensorProto, NDArray[Any] | None]:
    """A tensor that lies elsewhere, and its numbers; None where they are not plain."""
    parts = list(_fields(content))
    raw = [part for part in parts if part.number == TensorProto.RAW_DATA_FIELD_NUMBER]
    others = [content[part.start : part.end] for part in parts if part not in raw]
    tensor = TensorProto()
    if len(raw) != 1 or sum(map(len, others)) > _LARGE:
        return tensor, None
    tensor.ParseFromString(b"".join(others))
    array = _numbers(tensor, content[raw[0].value : raw[0].end])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=ELSEWHERE)
    return tensor, array


def _numbers(tensor: onnx.TensorProto, raw: memoryview) -> NDArray[Any] | None:
    plain = tensor.data_type in _PLAIN and tensor.data_location != TensorProto.EXTERNAL
    if not plain or not isinstance(tensor.name, str) or min(tensor.dims, default=0) < 0:
        return None
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if math.prod(tensor.dims) * dtype.itemsize != len(raw):
        return None
    array = np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
    return array if array.flags.aligned else array.copy()


def _fields(message: memoryview) -> Iterator[_Field]:
    """The fields of a serialized message. Raises ValueError or IndexError where it is none."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _LENGTH:
            size, at = _varint(message, at)
            end = at + size
        elif kind == 0:
            end = _varint(message, at)[1]
        else:
            end = at + {1: 8, 5: 4}.get(kind, len(message) + 1)  # groups are of another age
        if end > len(message):
            raise ValueError("a field reaches beyond its message")
        yield _Field(tag >> 3, kind, start, at, end)
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _written(number: int, content: bytes) -> bytes:
    """A field that has a length."""
    head = bytearray()
    for value in (number << 3 | _LENGTH, len(content)):
        while value > 127:
            head.append(value & 127 | 128)
            value >>= 7
        head.append(value)
    return bytes(head) + content
