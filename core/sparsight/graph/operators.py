"""The operators that multiply by weights: the one place where an operator is added.

A row says where weights, bias and channels are. An operator may have several: the first row that
accepts a node is taken. Where all depends on the node, as in an Einsum, a function makes the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import onnx

from .einsum import einsum_row
from .nodes import Kind, attribute, kind
from .operator_row import Known, Operator, Packing, Row, Unmeasurable
from .packed_weights import (
    blockwise,
    four_bit_blocks,
    four_bit_floats,
    shape_at,
    shape_in_attributes,
)

__all__ = ["OPERATORS", "operator_rows", "row_of"]


def _transposed(node: onnx.NodeProto, _: Known) -> bool:
    return bool(attribute(node, "transB", 0))


def _weights_first(_: onnx.NodeProto, known: Known) -> bool:
    return known(0) is not None and known(1) is None


def _weights_first_transposed(node: onnx.NodeProto, known: Known) -> bool:
    return _weights_first(node, known) and bool(attribute(node, "transA", 0))


def _channels_last(node: onnx.NodeProto, _: Known) -> bool:
    return bool(attribute(node, "channels_last", 0))


def _either_way(row: Operator) -> tuple[Operator, ...]:
    """The row, and the one for weights that an attribute transposes."""
    turned = replace(row, filter_axis=-2, variant="transB", accepts=_transposed)
    return turned, row


def _either_layout(row: Operator) -> tuple[Operator, ...]:
    """The row, and the one for activations with the channels last, as an attribute says."""
    last = replace(row, axis=-1, variant="channels last", accepts=_channels_last)
    return last, row


_CONV = Operator(filter_axis=0, weight_ranks=range(3, 6), axis=1, rank="of weights")
_CONV_TRANSPOSE = replace(_CONV, filter_axis=1, grouped=True)
_QLINEAR_CONV = replace(
    _CONV, weights=3, bias=8, weight_scale=(4, 5), output="quantised", output_scale=(6, 7)
)
_STATEFUL_CONV = _either_layout(_CONV)
_GEMM = Operator(filter_axis=-1, weight_ranks=range(2, 3), axis=-1, rank=2)
# Weights of a higher rank multiply batch by batch: the filters of one channel make one row.
_MATMUL = replace(_GEMM, weight_ranks=range(2, 8), rank="any", bias=None)
# Weights [..., D, K] times an activation [..., K, L]: the channels come before the last axis.
_MATMUL_FIRST = replace(
    _MATMUL, weights=0, filter_axis=-2, axis=-2, variant="weights first", accepts=_weights_first
)
_FUSED_MATMUL = replace(_MATMUL, factor="alpha")
_FUSED_FIRST = replace(_MATMUL_FIRST, factor="alpha")
_FUSED_FIRST_TRANSPOSED = replace(
    _FUSED_FIRST,
    filter_axis=-1,
    variant="weights first, transA",
    accepts=_weights_first_transposed,
)
_FUSED_MATMULS = (_FUSED_FIRST_TRANSPOSED, _FUSED_FIRST, *_either_way(_FUSED_MATMUL))
_PACKED = replace(_GEMM, filter_axis=0, rank="any", bias=None)

_PROBES_LAST = Unmeasurable(
    "its weights come first, and its channels before the probes", _weights_first
)
_INSIDE = (Unmeasurable("its linear outputs stay inside the operator"),)
_PACKED_ELSEHOW = (Unmeasurable("its weights are packed in an unknown form"),)
_LAID_OUT = (
    Unmeasurable(
        "ONNX Runtime laid its weights out for one kind of device; give the model as it was "
        "exported"
    ),
)
_WITHOUT_INPUT = (Unmeasurable("its weights are in its attributes"),)

_MS = "com.microsoft"
Rows = tuple[Row | Callable[[onnx.NodeProto, Known], Row | None], ...]

OPERATORS: Mapping[Kind, Rows] = {
    ("", "Conv"): (_CONV,),
    ("", "ConvTranspose"): (_CONV_TRANSPOSE,),
    ("", "CausalConvWithState"): _STATEFUL_CONV,
    (_MS, "CausalConvWithState"): _STATEFUL_CONV,
    ("", "DeformConv"): (replace(_CONV, bias=3),),
    ("", "Gemm"): (_PROBES_LAST, *_either_way(_GEMM)),
    ("", "MatMul"): (_MATMUL_FIRST, _MATMUL),
    ("", "Einsum"): (einsum_row,),
    ("", "QLinearConv"): (_QLINEAR_CONV,),
    ("", "QLinearMatMul"): (
        replace(_MATMUL, weights=3, weight_scale=(4, 5), output="quantised", output_scale=(6, 7)),
    ),
    ("", "ConvInteger"): (replace(_CONV, bias=None, weight_scale=(None, 3), output="integer"),),
    ("", "MatMulInteger"): (
        _PROBES_LAST,
        replace(_MATMUL, weight_scale=(None, 3), output="integer"),
    ),
    (_MS, "FusedConv"): (replace(_CONV, summand=3),),
    (_MS, "NhwcConv"): (replace(_CONV, axis=-1),),
    (_MS, "NhwcFusedConv"): (replace(_CONV, axis=-1, summand=3),),
    (_MS, "ConvTransposeWithDynamicPads"): (replace(_CONV_TRANSPOSE, bias=3),),
    (_MS, "QLinearConv"): _either_layout(_QLINEAR_CONV),
    (_MS, "FusedGemm"): (_PROBES_LAST, *_either_way(_GEMM)),
    (_MS, "GemmFastGelu"): (replace(_MATMUL, bias=2, activation="FastGelu"),),
    (_MS, "FusedMatMul"): _FUSED_MATMULS,
    (_MS, "FusedMatMulActivation"): _FUSED_MATMULS,
    (_MS, "TransposeMatMul"): _FUSED_MATMULS,
    (_MS, "QGemm"): _either_way(
        replace(
            _GEMM,
            weights=3,
            bias=6,
            weight_scale=(4, 5),
            output="quantised",
            output_scale=(7, 8),
        )
    ),
    (_MS, "MatMulIntegerToFloat"): (replace(_MATMUL, bias=6, weight_scale=(3, 5)),),
    (_MS, "DynamicQuantizeMatMul"): (replace(_MATMUL, bias=4, weight_scale=(2, 3)),),
    (_MS, "MatMulNBits"): (
        replace(_PACKED, bias=5, packing=Packing(shape_in_attributes, blockwise)),
    ),
    (_MS, "MatMulBnb4"): (replace(_PACKED, packing=Packing(shape_in_attributes, four_bit_floats)),),
    (_MS, "MatMulFpQ4"): (replace(_PACKED, packing=Packing(shape_at(2), four_bit_blocks)),),
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
            *("MatMulPacked", "GemmFloat8", "QOrderedMatMul", "MatMulInteger16"),
            *("MatMulBlockQuantizedFp4Weight", "MatMulBlockQuantizedFp8Weight"),
        )
    },
    (_MS, "SparseToDenseMatMul"): (
        Unmeasurable("its weights come first, and its channels before the probes"),
    ),
    (_MS, "CDist"): (Unmeasurable("it measures distances: it has no linear output"),),
    ("com.microsoft.nchwc", "Conv"): _LAID_OUT,
    **{
        ("com.ms.internal.nhwc", name): _LAID_OUT
        for name in ("Conv", "ConvTranspose", "QLinearConv", "QLinearConvTranspose")
    },
    **{
        ("ai.onnx.ml", name): _WITHOUT_INPUT
        for name in ("LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor")
    },
}
"""By domain and operator type: all operators with weights, measurable or not."""


def row_of(node: onnx.NodeProto, known: Known) -> Row | None:
    """The row of a node of whose inputs the constants' shapes are `known`; None where the table
    does not have it, or it multiplies by no weights."""
    for row in OPERATORS.get(kind(node), ()):
        if not isinstance(row, Row):
            return row(node, known)
        if row.accepts(node, known):
            return row
    return None


def operator_rows(node: onnx.NodeProto) -> list[Operator]:
    """The rows of a node's operator that make a linear output, whether they accept it or not."""
    return [row for row in OPERATORS.get(kind(node), ()) if isinstance(row, Operator)]
