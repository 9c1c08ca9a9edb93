"""The numbers of a model's large weights, apart from the model.

ONNX Runtime would copy them with the bytes that it is handed, once more when it parses these, and
once more into its tensors: most of the time in which a model of large weights is opened. As arrays
they are read where they lie.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

__all__ = ["ELSEWHERE", "moved_out"]

ELSEWHERE = "beside the model's bytes"
"""Where the model says that such a tensor lies."""

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


def moved_out(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Take the numbers of large initializers out of a graph, in place; these numbers, by name.

    Initializers that are small, damaged, or not plain stay as they are: what becomes of them is for
    ONNX Runtime to say.
    """
    weights: dict[str, NDArray[np.generic]] = {}
    if sys.byteorder != "little":
        return weights
    for tensor in graph.initializer:
        if not _is_plain(tensor) or tensor.name in weights:
            continue
        raw = tensor.raw_data
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if len(raw) < _LARGE or math.prod(tensor.dims) * dtype.itemsize != len(raw):
            continue
        weights[tensor.name] = np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=ELSEWHERE)
    return weights


def _is_plain(tensor: onnx.TensorProto) -> bool:
    return (
        tensor.data_type in _PLAIN
        and tensor.data_location != TensorProto.EXTERNAL
        and isinstance(tensor.name, str)  # damaged text comes as bytes
        and min(tensor.dims, default=0) >= 0
    )
