"""The numbers of a model's large weights, apart from its bytes.

A model is handed to ONNX Runtime as bytes, and of weights in them it makes three copies: the bytes
with the tap chains, the parsed message, the tensors. Handed over as arrays, beside bytes that only
name them, they are copied by nobody.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .model import Model

__all__ = ["apart"]

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


def apart(model: Model) -> tuple[bytes, Mapping[str, NDArray[Any]]]:
    """A model's bytes without the numbers of its large initializers, and these, by name.

    In the bytes such an initializer has its type and shape, and lies "elsewhere". Initializers that
    are small, that are damaged, or that lie in another file already stay as they are; where all do,
    the bytes are the model's own.
    """
    weights: dict[str, NDArray[Any]] = {}
    kept: list[onnx.TensorProto] = []
    for tensor in model.graph.initializer:
        array = _numbers(tensor)
        if array is None:
            kept.append(tensor)
        else:
            weights[tensor.name] = array
            kept.append(_without_numbers(tensor))
    if not weights:
        return model.content, weights
    light = onnx.ModelProto()
    _copy(model.proto, light, but="graph")
    _copy(model.graph, light.graph, but="initializer")
    light.graph.initializer.extend(kept)
    return light.SerializeToString(), weights


def _numbers(tensor: onnx.TensorProto) -> NDArray[Any] | None:
    """A view of the numbers of a large tensor, or None."""
    if tensor.data_type not in _PLAIN or sys.byteorder != "little":
        return None
    if tensor.data_location == TensorProto.EXTERNAL or not tensor.HasField("raw_data"):
        return None
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    size = math.prod(tensor.dims) * dtype.itemsize
    if size < _LARGE or min(tensor.dims) < 0:
        return None
    raw = tensor.raw_data
    return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims)) if len(raw) == size else None


def _without_numbers(tensor: onnx.TensorProto) -> onnx.TensorProto:
    light = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    light.data_location = TensorProto.EXTERNAL
    light.external_data.add(key="location", value="elsewhere")
    return light


def _copy(source: Any, target: Any, but: str) -> None:
    """All fields of a message but one."""
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if isinstance(value, str | int | bytes):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).MergeFrom(value)
