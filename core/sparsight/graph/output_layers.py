"""Which values of an ONNX graph feed a layer. An output layer is one whose values feed none."""

from __future__ import annotations

import onnx

from .model import Model, subgraphs
from .operators import OPERATORS, UNMEASURABLE, input_at, kind

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

_SUMMED = {("com.microsoft", "FusedConv"): 3, ("com.microsoft", "NhwcFusedConv"): 3}
"""The input that a fused operator adds to its linear output."""


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
    if any(_holds_layer(body) for body in subgraphs(node)):
        return _value_reads(node)
    operator = OPERATORS.get(kind(node))
    if operator is None and kind(node) not in UNMEASURABLE and kind(node) != ("", "Einsum"):
        return []
    positions = [operator.bias if operator else None, _SUMMED.get(kind(node))]
    added = {input_at(node, position) for position in positions}
    factors = [name for name in node.input if name and name not in added]
    return factors if any(_are_weights(model, name) for name in factors) else []


def _are_weights(model: Model, name: str) -> bool:
    """Whether a value may be a matrix that no input changes."""
    if name in model.reached:
        return False
    stored = model.shape_of(name)
    sides = model.inferred.get(name) if stored is None else stored
    return sides is None or len(sides) > 1


def _holds_layer(body: onnx.GraphProto) -> bool:
    return any(
        kind(node) in OPERATORS
        or kind(node) in UNMEASURABLE
        or any(_holds_layer(inner) for inner in subgraphs(node))
        for node in body.node
    )


def _value_reads(node: onnx.NodeProto) -> list[str]:
    """What a node's outputs take their values from; bodies read what they capture."""
    if kind(node) in _WITHOUT_VALUES:
        return []
    return [*filter(None, node.input), *(n for body in subgraphs(node) for n in _captured(body))]


def _captured(body: onnx.GraphProto) -> set[str]:
    """The values of the graph around it that a body reads."""
    made = {value.name for value in body.input} | {t.name for t in body.initializer}
    made |= {name for node in body.node for name in node.output}
    read = {name for node in body.node for name in _value_reads(node)}
    return (read | {value.name for value in body.output}) - made
