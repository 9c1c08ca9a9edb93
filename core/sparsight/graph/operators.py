"""The ONNX operators that have a linear output, a row each: where weights and channels are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from .model import Shape, attribute
from .packed_weights import blockwise, four_bit_floats

__all__ = [
    "BIASED",
    "OPERATORS",
    "UNMEASURABLE",
    "WEIGHTS_FIRST",
    "AddedBias",
    "Operator",
    "activation",
    "filter_rows",
    "input_at",
    "kind",
    "sum_position",
]


Given = Callable[[int | None], NDArray[Any] | None]
"""The constant at an input of a node, by its position."""


def _as_stored(_: onnx.NodeProto, shape: Shape) -> Shape:
    return shape


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
    shape: Callable[[onnx.NodeProto, Shape], Shape] = _as_stored
    """Of the weights, from the shape that is stored."""
    unpacked: Callable[[onnx.NodeProto, Given], NDArray[Any] | None] | None = None
    """The weights of packed ones, [D, K]; None where their packing is not known."""


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
    if operator.unpacked is not None:
        return operator.unpacked(node, given)
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


def _stated(node: onnx.NodeProto, _: Shape) -> Shape:
    """[D, K] of weights that are stored as bytes."""
    return int(attribute(node, "N", 0)), int(attribute(node, "K", 0))


_CONV = Operator(_first, _rows, range(3, 6), last=False, rank="of weights")
_GEMM = Operator(_by_transposition, _transposition_filters, range(2, 3), last=True, rank=2)
# Weights of a higher rank multiply batch by batch: the filters of one channel make one row.
_MATMUL = Operator(_last, _columns, range(2, 8), last=True, rank="any", bias=None)

WEIGHTS_FIRST = replace(_MATMUL, channels=_last_but_one, filters=_rows_of_all, weights=0)
"""A MatMul of constant weights [..., D, K] with an activation [..., K, L]: channels before the
last."""

_MS = "com.microsoft"
_TRANSPOSED_CONV = replace(_CONV, channels=_transposed_channels, filters=_transposed_filters)
_QLINEAR_CONV = replace(
    _CONV, weights=3, bias=8, weight_scale=(4, 5), output="quantised", output_scale=(6, 7)
)
_FUSED_MATMUL = replace(
    _MATMUL, channels=_by_transposition, filters=_transposition_filters, bias=None
)
_PACKED = replace(_GEMM, channels=_first, filters=_rows, rank="any", bias=None, shape=_stated)

OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("", "Conv"): _CONV,
    ("", "ConvTranspose"): _TRANSPOSED_CONV,
    ("", "CausalConvWithState"): _CONV,
    (_MS, "CausalConvWithState"): _CONV,
    ("", "DeformConv"): replace(_CONV, bias=3),
    ("", "Gemm"): _GEMM,
    ("", "MatMul"): _MATMUL,
    ("", "QLinearConv"): _QLINEAR_CONV,
    ("", "QLinearMatMul"): replace(
        _MATMUL, weights=3, weight_scale=(4, 5), output="quantised", output_scale=(6, 7)
    ),
    ("", "ConvInteger"): replace(_CONV, bias=None, weight_scale=(None, 3), output="integer"),
    ("", "MatMulInteger"): replace(_MATMUL, weight_scale=(None, 3), output="integer"),
    (_MS, "FusedConv"): _CONV,
    (_MS, "NhwcConv"): replace(_CONV, last=True),
    (_MS, "NhwcFusedConv"): replace(_CONV, last=True),
    (_MS, "ConvTransposeWithDynamicPads"): replace(_TRANSPOSED_CONV, bias=3),
    (_MS, "QLinearConv"): _QLINEAR_CONV,
    (_MS, "FusedGemm"): _GEMM,
    (_MS, "GemmFastGelu"): replace(_MATMUL, bias=2),
    (_MS, "FusedMatMul"): _FUSED_MATMUL,
    (_MS, "FusedMatMulActivation"): _FUSED_MATMUL,
    (_MS, "TransposeMatMul"): _FUSED_MATMUL,
    (_MS, "QGemm"): replace(
        _GEMM, weights=3, bias=6, weight_scale=(4, 5), output="quantised", output_scale=(7, 8)
    ),
    (_MS, "MatMulIntegerToFloat"): replace(_MATMUL, bias=6, weight_scale=(3, 5)),
    (_MS, "DynamicQuantizeMatMul"): replace(_MATMUL, bias=4, weight_scale=(2, 3)),
    (_MS, "MatMulNBits"): replace(_PACKED, bias=5, unpacked=blockwise),
    (_MS, "MatMulBnb4"): replace(_PACKED, unpacked=four_bit_floats),
}
"""By domain and operator type."""

_INSIDE = "its linear outputs stay inside the operator"
_PACKED_ELSEHOW = "its weights are packed in a form that is not read"
_LAID_OUT = (
    "ONNX Runtime laid its weights out for one kind of device; give the model as it was exported"
)
_IN_ATTRIBUTES = "its weights are in its attributes"

UNMEASURABLE: Mapping[tuple[str, str], str] = {
    **{("", name): _INSIDE for name in ("LSTM", "GRU", "RNN")},
    **{
        (_MS, name): _INSIDE
        for name in (
            *("Attention", "QAttention", "PackedAttention", "DecoderAttention"),
            *("DecoderMaskedSelfAttention", "LongformerAttention", "QOrderedAttention"),
            *("QOrderedLongformerAttention", "AttnLSTM", "DynamicQuantizeLSTM"),
            *("MoE", "QMoE", "MoEPacked", "MoEGroupRouter", "RouterGateUpProj"),
            *("MatMulNBitsMlp", "MatMulNBitsQkv", "MatMulNBitsQLoRA", "GatedAdd"),
            *("GatedRelativePositionBias", "HyperConnectionLowRankMix", "WordConvEmbedding"),
            *("VarlenCausalConvWithState", "Mamba2Verify"),
        )
    },
    **{
        (_MS, name): _PACKED_ELSEHOW
        for name in (
            *("MatMulFpQ4", "MatMulPacked", "GemmFloat8", "QOrderedMatMul", "MatMulInteger16"),
            *("MatMulBlockQuantizedFp4Weight", "MatMulBlockQuantizedFp8Weight"),
        )
    },
    (_MS, "SparseToDenseMatMul"): "its weights come first, and its channels before the probes",
    (_MS, "CDist"): "it measures distances: it has no linear output",
    ("com.microsoft.nchwc", "Conv"): _LAID_OUT,
    **{
        ("com.ms.internal.nhwc", name): _LAID_OUT
        for name in ("Conv", "ConvTranspose", "QLinearConv", "QLinearConvTranspose")
    },
    **{
        ("ai.onnx.ml", name): _IN_ATTRIBUTES
        for name in ("LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor")
    },
}
"""Operators with weights that have no measurable linear output, and why."""


@dataclass(frozen=True)
class AddedBias:
    """Where an operator takes a layer's output, to which it adds a bias before anything else."""

    terms: tuple[int, ...]
    """Positions of what the bias is added to, or to a sum of which."""
    bias: int
    """Position of the bias."""
    joined: bool = False
    """Whether it is the biases of query, key and value one after the other, one a term."""


BIASED: Mapping[tuple[str, str], AddedBias] = {
    (_MS, "BiasAdd"): AddedBias((0,), 1),
    (_MS, "BiasDropout"): AddedBias((0,), 1),
    (_MS, "BitmaskBiasDropout"): AddedBias((0,), 1),
    (_MS, "BiasGelu"): AddedBias((0,), 1),
    (_MS, "BiasSoftmax"): AddedBias((0,), 1),
    (_MS, "BiasSplitGelu"): AddedBias((0,), 1),
    (_MS, "FastGelu"): AddedBias((0,), 1),
    (_MS, "GatedDeltaNet"): AddedBias((4,), 8),
    (_MS, "GatedRelativePositionBias"): AddedBias((0,), 1),
    (_MS, "LinearAttentionGate"): AddedBias((0,), 1),
    (_MS, "SkipGroupNorm"): AddedBias((0, 3), 4),
    (_MS, "SkipLayerNormalization"): AddedBias((0, 1), 4),
    (_MS, "SkipSimplifiedLayerNormalization"): AddedBias((0, 1), 3),
    (_MS, "MultiHeadAttention"): AddedBias((0, 1, 2), 3, joined=True),
    (_MS, "PackedMultiHeadAttention"): AddedBias((0, 1, 2), 3, joined=True),
    (_MS, "DecoderMaskedMultiHeadAttention"): AddedBias((0, 1, 2), 10, joined=True),
}
"""Operators into which ONNX Runtime takes the bias of the layer before them."""


def kind(node: onnx.NodeProto) -> tuple[str, str]:
    """Domain and operator type of a node; the standard domain is ""."""
    return "" if node.domain == "ai.onnx" else node.domain, node.op_type


def activation(node: onnx.NodeProto) -> str:
    """The activation function that a fused operator applies, or ""."""
    if node.op_type == "GemmFastGelu":
        return "FastGelu"
    value = attribute(node, "activation", b"")
    name = value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
    return "" if name == "none" else name


def sum_position(node: onnx.NodeProto) -> int | None:
    """Where a fused operator takes what it adds to its linear output before the activation."""
    return 3 if node.op_type in ("FusedConv", "NhwcFusedConv") and input_at(node, 3) else None
