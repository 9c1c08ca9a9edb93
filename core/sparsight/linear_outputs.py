"""Where the linear output of a layer is in the graph, and what follows it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import onnx

from .model import Model, Shape, attribute
from .operators import WEIGHTS_FIRST, Operator, activation, input_at

__all__ = ["LinearOutput", "batch_norm_folded", "linear_output", "relu_input", "tapped_at"]

_FOLDED = "FuseBatchNorm"  # in the names of the rewriting rules that PyTorch's exporter records


@dataclass(frozen=True)
class LinearOutput:
    """Where the linear output of a node is."""

    tensor: str
    axis: int
    rank: int | None
    bias: str = ""
    """What a following Add adds."""
    dequantised: tuple[str, str] | None = None


def linear_output(
    model: Model, node: onnx.NodeProto, operator: Operator, shape: Shape
) -> LinearOutput | str:
    """Where the linear output of a node is, or why it cannot be measured."""
    output = node.output[0]
    rank = operator.rank if isinstance(operator.rank, int) else None
    if operator.rank == "of weights":
        rank = len(shape)
    axis, trailing = (-1, 0) if operator.last else (1, len(shape) - 2)
    if operator is WEIGHTS_FIRST:
        if output not in model.inferred:
            return "its weights come first, and the rank of its output is not known"
        rank, trailing = len(model.inferred[output]), 1
        axis = rank - 2
    if operator.output_scale and input_at(node, operator.output_scale[0]):
        scale, zero = (input_at(node, position) for position in operator.output_scale)
        return LinearOutput(output, axis, rank, dequantised=(scale, zero))
    tensor = _scaled(model, output) if operator.output == "integer" else output
    if tensor is None:
        return "nothing gives its integers a scale"
    if operator.output == "integer" or not input_at(node, operator.bias):
        tensor, bias = _biased(model, tensor, operator.channels(node, shape), trailing)
        return LinearOutput(tensor, axis, rank, bias)
    return LinearOutput(tensor, axis, rank)


def _scaled(model: Model, integers: str) -> str | None:
    """The float behind integers: what DequantizeLinear, or Cast and Mul, make of them."""
    for consumer in model.consumers.get(integers, ()):
        if consumer.op_type == "DequantizeLinear":
            return str(consumer.output[0])
        if consumer.op_type == "Cast":
            for scaling in model.consumers.get(consumer.output[0], ()):
                if scaling.op_type == "Mul":
                    return str(scaling.output[0])
    return None


def _biased(model: Model, tensor: str, channels: int, trailing: int) -> tuple[str, str]:
    """The tensor with its bias added by a following Add, if there is one, and the bias's name."""
    for consumer in model.consumers.get(tensor, ()):
        if consumer.op_type == "Add" and len(consumer.input) == 2:
            other = consumer.input[1] if consumer.input[0] == tensor else consumer.input[0]
            if _is_bias(model.shape_of(other), channels, trailing):
                return consumer.output[0], other
    return tensor, ""


def _is_bias(shape: Shape | None, channels: int, trailing: int) -> bool:
    """Whether an array of this shape adds one number a channel: [D], or [D, 1, 1] after a Conv."""
    if shape is None:
        return False
    wanted = (channels,) + (1,) * trailing
    return shape[-len(wanted) :] == wanted and all(side == 1 for side in shape[: -len(wanted)])


def tapped_at(node: onnx.NodeProto, place: LinearOutput) -> str:
    if activation(node):
        return "after the activation"
    return "linear output" if place.dequantised is None else "quantised output"


def relu_input(model: Model, node: onnx.NodeProto, tensor: str) -> str | None:
    """The tensor at which dead channels can be told."""
    fused = activation(node)
    if fused:  # what a ReLU puts out is <= 0 where what it takes in is
        return tensor if fused == "Relu" else None
    return _reached_relu(model, tensor)


def _reached_relu(model: Model, tensor: str) -> str | None:
    """The input of the nearest ReLU that the tensor reaches through operators that keep channels.

    Clip from zero upwards is a ReLU as well: ReLU6.
    """
    queue, seen = deque([tensor]), {tensor}
    while queue:
        name = queue.popleft()
        for node in model.consumers.get(name, ()):
            if node.op_type == "Relu" or _clips_at_zero(model, node):
                return name
            if _keeps_channels(model, node):
                output = node.output[0]
                if output not in seen:
                    seen.add(output)
                    queue.append(output)
    return None


def _keeps_channels(model: Model, node: onnx.NodeProto) -> bool:
    if node.op_type == "Add":
        # x + 3 before a Clip is a part of hard-swish, and no ReLU is to be looked for there
        return not any(model.shape_of(name) in ((), (1,)) for name in node.input)
    return node.op_type in ("BatchNormalization", "Identity")


def _clips_at_zero(model: Model, node: onnx.NodeProto) -> bool:
    if node.op_type != "Clip":
        return False
    if len(node.input) > 1 and node.input[1]:
        if model.shape_of(node.input[1]) not in ((), (1,)):
            return False
        lowest = model.constant(node.input[1])
        return lowest is not None and float(lowest.reshape(-1)[0]) == 0
    return bool(attribute(node, "min", -1.0) == 0)


def batch_norm_folded(model: Model, node: onnx.NodeProto, tensor: str) -> bool | None:
    if any(n.op_type == "BatchNormalization" for n in model.consumers.get(tensor, ())):
        return False
    return True if any(_FOLDED in entry.value for entry in node.metadata_props) else None
