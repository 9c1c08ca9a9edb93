"""Which values of an ONNX graph feed a layer. An output layer is one whose values feed none."""

from __future__ import annotations

import onnx

from .model import Model
from .nodes import captured, inner_nodes, input_at, kind
from .operators import OPERATORS, operator_rows

__all__ = ["values_that_feed_layers"]

_WITHOUT_VALUES = {
    ("", "ConstantOfShape"),
    ("", "EyeLike"),
    ("", "RandomNormalLike"),
    ("", "RandomUniformLike"),
    ("", "Shape"),
    ("", "Size"),
}
"""Operators that take no more than a shape from what they read."""


def values_that_feed_layers(model: Model) -> frozenset[str]:
    """The values that a layer's output depends on, through any path of the graph.

    A layer is here whatever multiplies by weights, measurable or not: an LSTM, and an If, Loop or
    Scan that holds a layer; not the product of two activations. What an operator adds to its
    product, as a Gemm its C, passes it by. Shapes are no values.
    """
    queue = [name for node in model.graph.node for name in _multiplied(model, node)]
    found: set[str] = set()
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        if name in model.producers:
            queue += _value_reads(model.producers[name])
    return frozenset(found)


def _multiplied(model: Model, node: onnx.NodeProto) -> list[str]:
    """What a node multiplies by weights; nothing where it is no layer."""
    if any(kind(inner) in OPERATORS for inner in inner_nodes(node)):
        return _value_reads(node)
    if kind(node) not in OPERATORS:
        return []
    rows = operator_rows(node)
    added = {input_at(node, p) for row in rows for p in (row.bias, row.summand)}
    factors = [name for name in node.input if name and name not in added]
    packed = any(row.packing is not None for row in rows)  # and so of any rank
    return factors if packed or any(_are_weights(model, name) for name in factors) else []


def _are_weights(model: Model, name: str) -> bool:
    """Whether a value may be a matrix that no input changes."""
    if name in model.reached:
        return False
    stored = model.shape_of(name)
    sides = model.inferred.get(name) if stored is None else stored
    return sides is None or len(sides) > 1


def _value_reads(node: onnx.NodeProto) -> list[str]:
    """What a node's outputs take their values from; bodies read what they capture."""
    if kind(node) in _WITHOUT_VALUES:
        return []
    return [*filter(None, node.input), *captured(node, _WITHOUT_VALUES)]
