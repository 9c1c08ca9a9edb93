"""From a node to its linear output: where it is in the graph, or why it cannot be measured."""

from __future__ import annotations

from dataclasses import replace

import onnx

from .biases import biased, biased_integers
from .model import Model, Shape
from .nodes import input_at
from .operator_row import Operator
from .places import Place, by_channel, other_input

__all__ = ["linear_output"]


def linear_output(
    model: Model, node: onnx.NodeProto, operator: Operator, shape: Shape
) -> Place | str:
    """Where the linear output of a node is, or why it cannot be measured."""
    output, axis = node.output[0], operator.axis
    known = model.inferred.get(output)
    if known is not None and len(known) < 2:
        return "its output is one vector: no axis counts the probes"
    rank = operator.rank if isinstance(operator.rank, int) else None
    if operator.rank == "of weights":
        rank = len(shape)
    if axis < -1:
        rank = _rank_of_product(model, node, shape)
        if rank is None:
            return "the rank of its output is unknown, and so where its channels are"
        axis += rank
    channels = operator.channels(node, shape)
    own_bias = bool(input_at(node, operator.bias))
    if operator.output_scale and input_at(node, operator.output_scale[0]):
        scale, zero = (input_at(node, position) for position in operator.output_scale)
        place = Place(output, axis, rank, dequantised=(scale, zero))
        return place if own_bias else biased_integers(model, place, channels)
    place = Place(output, axis, rank)
    if operator.output == "integer":
        scaled = _scaled(model, place, channels)
        if scaled is None:
            return "nothing gives its integers a scale"
        place, own_bias = scaled, bool(scaled.bias)
    return place if own_bias else biased(model, place, channels)


def _rank_of_product(model: Model, node: onnx.NodeProto, weights: Shape) -> int | None:
    """Rank of a matrix product; shape inference does not know ONNX Runtime's own operators."""
    product = model.inferred.get(node.output[0])
    factors = [model.inferred.get(name) for name in node.input if model.shape_of(name) is None]
    if product is not None:
        return len(product)
    return None if None in factors else max(len(weights), *(len(f) for f in factors if f))


def _scaled(model: Model, integers: Place, channels: int) -> Place | None:
    """The float behind integers, to which a bias may have been added: what DequantizeLinear, or
    Cast and Mul, make of them."""
    for consumer in model.consumers.get(integers.tensor, ()):
        made = replace(integers, tensor=consumer.output[0])
        other = other_input(consumer, integers.tensor)
        if consumer.op_type == "DequantizeLinear":
            return made
        if consumer.op_type == "Cast":
            for scaling in model.consumers.get(made.tensor, ()):
                if scaling.op_type == "Mul":
                    return replace(made, tensor=scaling.output[0])
        if consumer.op_type == "Add" and by_channel(model, other, channels, integers.trailing):
            return _scaled(model, replace(made, bias=other), channels) if not made.bias else None
    return None
