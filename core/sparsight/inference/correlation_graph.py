"""The histogram of filter correlations as an ONNX graph, for devices that multiply faster.

One run takes two blocks of filters of length 1 and puts out what is counted of their coefficients,
by the definitions of `correlation`, in float64: the numbers are those of numpy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..maths.correlation import BINS, PER_UNIT, BlockSummary
from .runtime import Program, Session

__all__ = ["DeviceSummariser", "device_summariser"]

_DIGITS = 16  # bin = 16 * high + low; 13 * 16 bins hold the 201, and one for pairs not counted
_OUTSIDE = 13 * _DIGITS - 1
_LOWEST = float(np.finfo(np.float64).min)

Floats = NDArray[np.float64]


class DeviceSummariser:
    """`correlation.Summarise` on a device; raises what `runtime.Session` raises."""

    def __init__(self, device: str, *, bound: bool | None = None) -> None:
        program = Program(_model().SerializeToString(), source="the graph of filter correlations")
        self._session = Session(program, device, bound=bound)

    def __call__(self, rows: Floats, columns: Floats, offset: int) -> BlockSummary:
        feeds = {
            "rows": rows,
            "columns": columns,
            "row": np.arange(offset, offset + len(rows), dtype=np.int64)[:, None],
            "column": np.arange(len(columns), dtype=np.int64)[None],
        }
        names = ["counts", "total", "absolute", "largest"]
        counts, total, absolute, largest = self._session.run(names, feeds, "blocks of filters")
        return BlockSummary(
            counts=np.rint(counts).astype(np.int64).reshape(-1)[:BINS],
            total=float(total),
            absolute=float(absolute),
            largest=float(largest) if largest > _LOWEST else -np.inf,
        )


@lru_cache(maxsize=1)
def device_summariser(device: str) -> DeviceSummariser:
    """One for all layers and checkpoints."""
    return DeviceSummariser(device)


def _model() -> onnx.ModelProto:
    """Inputs: rows [m, K] and columns [n, K]; the numbers of the rows, [m, 1], and of the columns,
    [1, n]: pairs are those whose column comes before the row.

    Counting is a matrix product as well: of which pairs have a high digit, [mn, 13], and which a
    low one, [mn, 16]. float32 is exact there, up to 2^24 pairs of one bin, also where a GPU keeps
    ten bits of each factor. ScatterElements would add up one pair after the other.
    """
    constants = {
        "per_unit": np.float64(PER_UNIT),
        "zero": np.float64(0),
        "lowest": np.float64(_LOWEST),
        "middle": np.int64(BINS // 2),
        "outside": np.int64(_OUTSIDE),
        "digits": np.int64(_DIGITS),
        "high_digits": np.arange(13, dtype=np.int64)[None],
        "low_digits": np.arange(_DIGITS, dtype=np.int64)[None],
        "flat": np.array([-1, 1], np.int64),
    }
    nodes = [
        _node("Transpose", "columns", "transposed", perm=[1, 0]),
        _node("MatMul", "rows transposed", "coefficients"),
        _node("Less", "column row", "is_pair"),
        _node("Where", "is_pair coefficients zero", "pairs"),
        _node("ReduceSum", "pairs", "total", keepdims=0),
        _node("Abs", "pairs", "sizes"),
        _node("ReduceSum", "sizes", "absolute", keepdims=0),
        _node("Where", "is_pair coefficients lowest", "candidates"),
        _node("ReduceMax", "candidates", "largest", keepdims=0),
        _node("Mul", "coefficients per_unit", "scaled"),
        _node("Round", "scaled", "rounded"),
        _node("Cast", "rounded", "whole", to=TensorProto.INT64),
        _node("Add", "whole middle", "bins"),
        _node("Where", "is_pair bins outside", "counted"),
        _node("Reshape", "counted flat", "list"),
        _node("Div", "list digits", "high"),
        _node("Mul", "high digits", "times"),
        _node("Sub", "list times", "low"),
        _node("Equal", "high high_digits", "is_high"),
        _node("Equal", "low low_digits", "is_low"),
        _node("Cast", "is_high", "highs", to=TensorProto.FLOAT),
        _node("Cast", "is_low", "lows", to=TensorProto.FLOAT),
        _node("Transpose", "highs", "by_digit", perm=[1, 0]),
        _node("MatMul", "by_digit lows", "counts"),
    ]
    graph = helper.make_graph(
        nodes,
        "correlations",
        [
            helper.make_tensor_value_info("rows", TensorProto.DOUBLE, ["m", "k"]),
            helper.make_tensor_value_info("columns", TensorProto.DOUBLE, ["n", "k"]),
            helper.make_tensor_value_info("row", TensorProto.INT64, ["m", 1]),
            helper.make_tensor_value_info("column", TensorProto.INT64, [1, "n"]),
        ],
        [
            helper.make_tensor_value_info("counts", TensorProto.FLOAT, [13, _DIGITS]),
            helper.make_tensor_value_info("total", TensorProto.DOUBLE, []),
            helper.make_tensor_value_info("absolute", TensorProto.DOUBLE, []),
            helper.make_tensor_value_info("largest", TensorProto.DOUBLE, []),
        ],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=output, **attributes)
