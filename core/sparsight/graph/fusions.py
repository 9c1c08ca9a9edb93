"""What exporters and ONNX Runtime folded into a layer, and so what is measured of it, in words."""

from __future__ import annotations

import re

import onnx

from .model import Model
from .nodes import attribute, input_at
from .operator_row import Operator
from .places import Place

__all__ = ["batch_norm_folded", "tapped_at"]

_FOLDED = "FuseBatchNorm"  # in the names of the rewriting rules that PyTorch's exporter records
_FUSION = re.compile(r"(?:Conv|MatMul)(Bn|Mul|Add)\w*?Fusion_")
"""In the names of weights and biases into which ONNX Runtime folded what followed."""


def tapped_at(node: onnx.NodeProto, operator: Operator, place: Place) -> str:
    """What is measured, in words for people."""
    summed = bool(input_at(node, operator.summand))
    if operator.activation_of(node):
        return "after a sum and its activation" if summed else "after the activation"
    if summed:
        return "after a sum"
    words = "linear output" if place.dequantised is None else "quantised output"
    scale = float(attribute(node, operator.factor, 1.0))
    if scale != 1:
        words += f", scaled by {scale:g}"
    if "Mul" in _folded(node):
        words += ", with a Mul folded in"
    if "Add" in _folded(node):
        words += ", with an Add folded in"
    return f"{words}, perhaps without its bias" if place.doubtful else words


def _folded(node: onnx.NodeProto) -> set[str]:
    """Of "Bn", "Mul" and "Add", what ONNX Runtime folded into the weights or the bias."""
    return {str(found) for name in node.input for found in _FUSION.findall(name)}


def batch_norm_folded(model: Model, node: onnx.NodeProto, tensor: str) -> bool | None:
    """Whether the exporter or ONNX Runtime folded batch normalisation into the weights; None where
    neither tells."""
    if any(n.op_type == "BatchNormalization" for n in model.consumers.get(tensor, ())):
        return False
    exported = any(_FOLDED in str(entry.value) for entry in node.metadata_props)
    return True if exported or "Bn" in _folded(node) else None
