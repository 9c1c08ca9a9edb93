"""The ReLU that a layer reaches, where its dead channels can be told."""

from __future__ import annotations

from collections import deque

import onnx

from .model import Model
from .nodes import attribute
from .operator_row import Operator
from .places import Place, by_channel, other_input

__all__ = ["Order", "relu_input"]

Order = tuple[int, ...] | None
"""Which axis of a tensor holds each axis of the layer's; None where nothing was transposed."""


def relu_input(
    model: Model, node: onnx.NodeProto, operator: Operator, place: Place, channels: int
) -> tuple[str | None, Order]:
    """The tensor at which dead channels can be told, or None, and the order of its axes."""
    fused = operator.activation_of(node)
    if fused:  # what a ReLU puts out is <= 0 where what it takes in is
        from_zero = fused == "Clip" and list(attribute(node, "activation_params", ()))[:1] == [0]
        return place.tensor if fused == "Relu" or from_zero else None, None
    return _reached_relu(model, place, channels)


def _reached_relu(model: Model, place: Place, channels: int) -> tuple[str | None, Order]:
    """The input of the nearest ReLU that the tensor reaches through operators that keep channels.

    Clip from zero upwards is a ReLU as well: ReLU6.
    """
    queue: deque[tuple[str, Order]] = deque([(place.tensor, None)])
    seen = {place.tensor}
    while queue:
        name, order = queue.popleft()
        for node in model.consumers.get(name, ()):
            if node.op_type == "Relu" or _clips_at_zero(model, node):
                return name, order
            output = node.output[0]
            if output not in seen and _passes(model, node, name, order, place, channels):
                seen.add(output)
                moved = node.op_type == "Transpose"
                queue.append((output, _transposed(node, place, order) if moved else order))
    return None, None


def _passes(
    model: Model, node: onnx.NodeProto, name: str, order: Order, place: Place, channels: int
) -> bool:
    """Whether a value's channels, in any `order` of the axes, are still told apart behind a
    node."""
    if node.op_type == "Transpose":
        return _transposed(node, place, order) is not None
    if node.op_type == "Reshape":
        return order is None and _keeps_rows(model, node, place, channels)
    trailing = place.trailing if order is None else len(order) - 1 - order[place.axis]
    return _keeps_channels(model, node, name, (channels, trailing))


def _transposed(node: onnx.NodeProto, place: Place, order: Order) -> Order:
    """The order of the axes behind a Transpose; None where it cannot be told."""
    axes = [int(axis) for axis in attribute(node, "perm", range(place.rank or 0)[::-1])]
    before = tuple(range(len(axes))) if order is None else order
    if not axes or sorted(axes) != sorted(before) or place.rank not in (None, len(axes)):
        return None
    return tuple(axes.index(axis) for axis in before)


def _keeps_rows(model: Model, node: onnx.NodeProto, place: Place, channels: int) -> bool:
    """Whether a Reshape leaves channels that are on the last axis there: it only counts the
    positions on other axes."""
    return place.axis == -1 and model.inferred.get(node.output[0], ())[-1:] == (channels,)


def _keeps_channels(
    model: Model, node: onnx.NodeProto, name: str, channels: tuple[int, int]
) -> bool:
    if node.op_type == "Add":
        # x + 3 before a Clip is a part of hard-swish, and no ReLU is to be looked for there
        numbers = any(model.shape_of(part) in ((), (1,)) for part in node.input)
        return not numbers and not _spreads(model, name, node.output[0])
    if node.op_type in ("Mul", "Div", "Sub"):  # as batch normalisation is written out
        return by_channel(model, other_input(node, name), *channels)
    return node.op_type in ("BatchNormalization", "Identity")


def _spreads(model: Model, tensor: str, result: str) -> bool:
    """Whether a sum is known to have more positions than one of its terms."""
    sides, wider = model.inferred.get(tensor), model.inferred.get(result)
    if sides is None or wider is None:
        return False
    numbers = [(a, b) for a, b in zip(sides, wider, strict=False) if {type(a), type(b)} == {int}]
    return len(sides) != len(wider) or any(a != b for a, b in numbers)


def _clips_at_zero(model: Model, node: onnx.NodeProto) -> bool:
    if node.op_type != "Clip":
        return False
    if len(node.input) > 1 and node.input[1]:
        if model.shape_of(node.input[1]) not in ((), (1,)):
            return False
        lowest = model.constant(node.input[1])
        return lowest is not None and float(lowest.reshape(-1)[0]) == 0
    return bool(attribute(node, "min", -1.0) == 0)
