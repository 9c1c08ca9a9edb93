"""The ONNX operators that have a linear output, a row each: where weights and channels are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from .model import Shape, attribute

__all__ = [
    "OPERATORS",
    "UNMEASURABLE",
    "WEIGHTS_FIRST",
    "Operator",
    "activation",
    "filter_rows",
    "input_at",
    "kind",
]


@dataclass(frozen=True)
class Operator:
    """How one operator makes a linear output. Positions are those of its inputs."""

    channels: Callable[[onnx.NodeProto, Shape], int]
    """D, from the node and the shape of its weights."""
    filters: Callable[[onnx.NodeProto, NDArray[Any]], NDArray[Any]]
    """The weights with one filter a row, [D, ...]."""
    weight_ranks: range
    """Ranks that its weights may have."""
    last: bool
    """Whether the channels are on the last axis."""
    rank: Literal["of weights", "any"] | int
    """Rank of its output."""
    axis: int = 1
    """Of the channels, where they are not last."""
    weights: int = 1
    bias: int | None = 2
    """None where it takes none."""
    weight_scale: tuple[int | None, int] | None = None
    """Scale and zero point of quantised weights."""
    output: Literal["float", "quantised", "integer"] = "float"
    """An integer output is measured behind the Cast and Mul that give it its scale."""
    output_scale: tuple[int, int] | None = None
    """Scale and zero point of a quantised output; where the scale is not given it is a float."""


def filter_rows(
    operator: Operator, node: onnx.NodeProto, constants: Callable[[str], NDArray[Any] | None]
) -> NDArray[Any] | None:
    """The weights of a node with one filter a row, [D, ...]; None where they are not constant."""

    def given(position: int | None) -> NDArray[Any] | None:
        name = input_at(node, position)
        return constants(name) if name else None

    weights = given(operator.weights)
    if weights is None:
        return None
    rows = operator.filters(node, weights)
    if operator.weight_scale is None:
        return rows
    scale, zero = (given(position) for position in operator.weight_scale)
    # Correlations do not see what all weights of a filter share: an unknown scale is as good as 1.
    integers = rows.astype(np.float32) - _by_row(zero, rows, 0)
    return np.asarray(integers * _by_row(scale, rows, 1))


def input_at(node: onnx.NodeProto, position: int | None) -> str:
    """Name of an input of a node, or ""."""
    return node.input[position] if position is not None and len(node.input) > position else ""


def _by_row(values: NDArray[Any] | None, rows: NDArray[Any], default: float) -> NDArray[Any]:
    """A number for all filters, or one a filter, in a shape that fits the rows."""
    numbers = np.full(1, default) if values is None else np.asarray(values).reshape(-1)
    return numbers.astype(np.float32).reshape(-1, *[1] * (rows.ndim - 1))


def _rows(_: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return weights


def _columns(_: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(weights, -1, 0)


def _first(_: onnx.NodeProto, shape: Shape) -> int:
    return shape[0]


def _last(_: onnx.NodeProto, shape: Shape) -> int:
    return shape[-1]


def _last_but_one(_: onnx.NodeProto, shape: Shape) -> int:
    return shape[-2]


def _rows_of_all(_: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(weights, -2, 0)


def _transposed_channels(node: onnx.NodeProto, shape: Shape) -> int:
    return shape[1] * int(attribute(node, "group", 1))


def _transposed_filters(node: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    """[C, D / g, ...]: the filters of a group see the C / g inputs of that group."""
    groups = int(attribute(node, "group", 1))
    inputs, outputs = weights.shape[:2]
    grouped = weights.reshape(groups, inputs // groups, outputs, -1)
    return grouped.swapaxes(1, 2).reshape(groups * outputs, -1)


def _by_transposition(node: onnx.NodeProto, shape: Shape) -> int:
    return shape[-2] if attribute(node, "transB", 0) else shape[-1]


def _transposition_filters(node: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(weights, -2 if attribute(node, "transB", 0) else -1, 0)


_CONV = Operator(_first, _rows, range(3, 6), last=False, rank="of weights")
_GEMM = Operator(_by_transposition, _transposition_filters, range(2, 3), last=True, rank=2)
# Weights of a higher rank multiply batch by batch: the filters of one channel make one row.
_MATMUL = Operator(_last, _columns, range(2, 8), last=True, rank="any", bias=None)

WEIGHTS_FIRST = replace(_MATMUL, channels=_last_but_one, filters=_rows_of_all, weights=0)
"""A MatMul of constant weights [..., D, K] with an activation [..., K, L]: channels before the
last."""

OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("", "Conv"): _CONV,
    ("", "ConvTranspose"): replace(
        _CONV, channels=_transposed_channels, filters=_transposed_filters
    ),
    ("", "DeformConv"): replace(_CONV, bias=3),
    ("", "Gemm"): _GEMM,
    ("", "MatMul"): _MATMUL,
    ("", "QLinearConv"): replace(
        _CONV, weights=3, bias=8, weight_scale=(4, 5), output="quantised", output_scale=(6, 7)
    ),
    ("", "QLinearMatMul"): replace(
        _MATMUL, weights=3, weight_scale=(4, 5), output="quantised", output_scale=(6, 7)
    ),
    ("", "ConvInteger"): replace(_CONV, bias=None, weight_scale=(None, 3), output="integer"),
    ("", "MatMulInteger"): replace(_MATMUL, weight_scale=(None, 3), output="integer"),
    ("com.microsoft", "FusedConv"): _CONV,
    ("com.microsoft", "NhwcConv"): replace(_CONV, last=True),
    ("com.microsoft", "NhwcFusedConv"): replace(_CONV, last=True),
    ("com.microsoft", "FusedGemm"): _GEMM,
    ("com.microsoft", "GemmFastGelu"): replace(_MATMUL, bias=2),
    ("com.microsoft", "FusedMatMul"): replace(
        _MATMUL, channels=_by_transposition, filters=_transposition_filters
    ),
    ("com.microsoft", "TransposeMatMul"): replace(
        _MATMUL, channels=_by_transposition, filters=_transposition_filters
    ),
    ("com.microsoft", "QGemm"): replace(
        _GEMM, weights=3, bias=6, weight_scale=(4, 5), output="quantised", output_scale=(7, 8)
    ),
    ("com.microsoft", "MatMulIntegerToFloat"): replace(_MATMUL, bias=6, weight_scale=(3, 5)),
    ("com.microsoft", "DynamicQuantizeMatMul"): replace(_MATMUL, bias=4, weight_scale=(2, 3)),
}
"""By domain and operator type."""

_INSIDE = "its linear outputs stay inside the operator"

UNMEASURABLE: Mapping[tuple[str, str], str] = {
    ("", "LSTM"): _INSIDE,
    ("", "GRU"): _INSIDE,
    ("", "RNN"): _INSIDE,
    ("com.microsoft", "Attention"): _INSIDE,
    ("com.microsoft", "QAttention"): _INSIDE,
    ("com.microsoft", "DecoderAttention"): _INSIDE,
    ("com.microsoft", "LongformerAttention"): _INSIDE,
    ("com.microsoft", "MatMulNBits"): "its weights are packed in fewer than 8 bits",
    ("com.microsoft", "MatMulBnb4"): "its weights are packed in fewer than 8 bits",
    ("com.microsoft.nchwc", "Conv"): (
        "ONNX Runtime laid its weights out for one kind of CPU; give the model as it was exported"
    ),
}
"""Operators with weights that have no measurable linear output, and why."""


def kind(node: onnx.NodeProto) -> tuple[str, str]:
    """Domain and operator type of a node; the standard domain is ""."""
    return "" if node.domain == "ai.onnx" else node.domain, node.op_type


def activation(node: onnx.NodeProto) -> str:
    """The activation function that a fused operator applies, or ""."""
    if node.op_type == "GemmFastGelu":
        return "FastGelu"
    value = attribute(node, "activation", b"")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
