"""Where the linear output of a layer is in the graph, and what follows it."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace

import onnx

from .model import Model, Shape, attribute
from .operators import (
    BIASED,
    OPERATORS,
    WEIGHTS_FIRST,
    AddedBias,
    Operator,
    activation,
    input_at,
    kind,
    sum_position,
)

__all__ = ["LinearOutput", "batch_norm_folded", "linear_output", "relu_input", "tapped_at"]

_FOLDED = "FuseBatchNorm"  # in the names of the rewriting rules that PyTorch's exporter records
_FUSION = re.compile(r"(?:Conv|MatMul)(Bn|Mul|Add)\w*?Fusion_")
"""In the names of weights and biases into which ONNX Runtime folded what followed."""
_MOVES = 4  # operators that only move numbers between a layer and the Add of its bias


@dataclass(frozen=True)
class LinearOutput:
    """Where the linear output of a node is."""

    tensor: str
    axis: int
    """Of the channels: counted from the start, or -1."""
    rank: int | None
    bias: str = ""
    """What a following Add adds."""
    dequantised: tuple[str, str] | None = None
    added: tuple[str, int] | None = None
    """A bias that is not in the tensor yet, since a following operator adds it inside: the constant
    that has it, and where in that it begins."""
    doubtful: str = ""
    """A following operator that adds a bias inside, of this layer or of another."""

    @property
    def trailing(self) -> int:
        """How many axes follow that of the channels."""
        return 0 if self.axis == -1 or self.rank is None else self.rank - 1 - self.axis


def linear_output(
    model: Model, node: onnx.NodeProto, operator: Operator, shape: Shape
) -> LinearOutput | str:
    """Where the linear output of a node is, or why it cannot be measured."""
    output = node.output[0]
    known = model.inferred.get(output)
    if known is not None and len(known) < 2:
        return "its output is one vector: no axis counts the probes"
    rank = operator.rank if isinstance(operator.rank, int) else None
    if operator.rank == "of weights":
        rank = len(shape)
    last = operator.last or attribute(node, "channels_last", 0)
    axis = -1 if last else operator.axis
    if operator is WEIGHTS_FIRST:
        if known is None:
            return "its weights come first, and the rank of its output is not known"
        rank = len(known)
        axis = rank - 2
    channels = operator.channels(node, shape)
    biased = bool(input_at(node, operator.bias))
    if operator.output_scale and input_at(node, operator.output_scale[0]):
        scale, zero = (input_at(node, position) for position in operator.output_scale)
        place = LinearOutput(output, axis, rank, dequantised=(scale, zero))
        return place if biased else _biased_integers(model, place, channels)
    place = LinearOutput(output, axis, rank)
    if operator.output == "integer":
        scaled = _scaled(model, place, channels)
        if scaled is None:
            return "nothing gives its integers a scale"
        place, biased = scaled, bool(scaled.bias)
    return place if biased else _biased(model, place, channels)


def _scaled(model: Model, integers: LinearOutput, channels: int) -> LinearOutput | None:
    """The float behind integers, to which a bias may have been added: what DequantizeLinear, or
    Cast and Mul, make of them."""
    for consumer in model.consumers.get(integers.tensor, ()):
        made = replace(integers, tensor=consumer.output[0])
        other = _other_input(consumer, integers.tensor)
        if consumer.op_type == "DequantizeLinear":
            return made
        if consumer.op_type == "Cast":
            for scaling in model.consumers.get(made.tensor, ()):
                if scaling.op_type == "Mul":
                    return replace(made, tensor=scaling.output[0])
        if consumer.op_type == "Add" and _by_channel(model, other, channels, integers.trailing):
            return _scaled(model, replace(made, bias=other), channels) if not made.bias else None
    return None


def _biased_integers(model: Model, place: LinearOutput, channels: int) -> LinearOutput:
    """Where a following QLinearAdd, or an Add behind DequantizeLinear, has added the bias."""
    for consumer in model.consumers.get(place.tensor, ()):
        made = replace(place, tensor=consumer.output[0])
        if consumer.op_type == "DequantizeLinear":
            whole = _biased(model, replace(made, dequantised=None), channels)
            if whole.bias or whole.added or whole.doubtful:
                return whole
        if consumer.op_type == "QLinearAdd" and len(consumer.input) > 7:
            other = consumer.input[3 if consumer.input[0] == place.tensor else 0]
            if _by_channel(model, other, channels, place.trailing):
                scales = (consumer.input[6], consumer.input[7])
                return replace(made, bias=other, dequantised=scales)
    return place


def _biased(model: Model, linear: LinearOutput, channels: int) -> LinearOutput:
    """Where the bias is added: by a following Add, or inside another operator, at once or after the
    numbers were only moved."""
    place = linear
    for _ in range(_MOVES):
        consumers = model.consumers.get(place.tensor, ())
        for consumer in consumers:
            other = _other_input(consumer, place.tensor)
            if consumer.op_type == "Add" and _by_channel(model, other, channels, place.trailing):
                return replace(place, tensor=consumer.output[0], bias=other)
            fused = _fused(model, consumer, place, channels)
            if fused is not None:
                return fused
        moved = _moved(model, consumers[0], place, channels) if len(consumers) == 1 else None
        if moved is None:
            break
        place = moved
    return replace(linear, doubtful=_behind_reshape(model, place))


def _fused(
    model: Model, node: onnx.NodeProto, place: LinearOutput, channels: int
) -> LinearOutput | None:
    """The place with the bias that an operator adds inside, or None where it adds none to it."""
    adds = BIASED.get(kind(node))
    bias = input_at(node, adds.bias) if adds is not None else ""
    if adds is None or not bias or place.trailing:
        return None
    terms = [position for position in adds.terms if input_at(node, position) == place.tensor]
    shape = model.shape_of(bias)
    if not terms or shape is None:
        return None
    if adds.joined:
        first = _part(shape, adds.terms.index(terms[0]), channels)
        if first is None or len(terms) > 1:
            return replace(place, doubtful=node.op_type)
        return replace(place, added=(bias, first))
    if not _by_channel(model, bias, channels, 0):
        return None
    if any(_lacks_bias(model, name) for name in _other_terms(node, adds, place.tensor)):
        return replace(place, doubtful=node.op_type)
    return replace(place, bias=bias, added=(bias, 0))


def _part(shape: Shape, position: int, channels: int) -> int | None:
    """Where the biases of query, key or value begin: query's and key's are as many, value's last.
    None where they do not fit."""
    first = position * channels if position < 2 else shape[-1] - channels
    return first if len(shape) == 1 and 0 <= first <= shape[0] - channels else None


def _other_terms(node: onnx.NodeProto, adds: AddedBias, tensor: str) -> list[str]:
    names = [input_at(node, position) for position in adds.terms]
    return [name for name in names if name and name != tensor]


def _lacks_bias(model: Model, name: str) -> bool:
    """Whether a value is the output of a layer without a bias, at most moved."""
    for _ in range(_MOVES):
        node = model.producers.get(name)
        if node is None:
            return False
        operator = OPERATORS.get(kind(node))
        if operator is not None:
            constant = any(model.shape_of(part) is not None for part in node.input[:2])
            return constant and not input_at(node, operator.bias)
        if node.op_type not in ("Identity", "Reshape", "Transpose", "DequantizeLinear"):
            return False
        name = node.input[0]
    return False


def _behind_reshape(model: Model, place: LinearOutput) -> str:
    """An operator that adds its bias to what a Reshape makes of the layer's output: query, key and
    value of all heads packed into one."""
    for node in model.consumers.get(place.tensor, ()):
        for packed in model.consumers.get(node.output[0], ()) if node.op_type == "Reshape" else ():
            adds = BIASED.get(kind(packed))
            if adds is not None and adds.joined and input_at(packed, adds.bias):
                first = input_at(packed, adds.terms[0]) == node.output[0]
                if first and not input_at(packed, adds.terms[1]):
                    return packed.op_type
    return ""


def _other_input(node: onnx.NodeProto, tensor: str) -> str:
    """What an operator of two inputs takes beside a tensor, or ""."""
    if len(node.input) != 2:
        return ""
    return str(node.input[1] if node.input[0] == tensor else node.input[0])


def _by_channel(model: Model, name: str, channels: int, trailing: int) -> bool:
    """Whether a constant has one number a channel: [D], or [D, 1, 1] after a Conv."""
    shape = model.shape_of(name) if name else None
    if shape is None:
        return False
    wanted = (channels,) + (1,) * trailing
    return shape[-len(wanted) :] == wanted and all(side == 1 for side in shape[: -len(wanted)])


def _moved(
    model: Model, node: onnx.NodeProto, place: LinearOutput, channels: int
) -> LinearOutput | None:
    """The same numbers behind an operator that only moves or rounds them, or None."""
    output = node.output[0]
    if node.op_type == "Identity":
        return replace(place, tensor=output)
    if node.op_type == "Transpose":
        order = list(attribute(node, "perm", range(place.rank or 0)[::-1]))
        if not order or sorted(order) != list(range(len(order))) or place.axis >= len(order):
            return None
        return LinearOutput(output, order.index(place.axis % len(order)), len(order))
    if node.op_type == "Reshape" and place.trailing == 0:
        known = model.inferred.get(output)
        kept = known is not None and known[-1:] == (channels,)
        return LinearOutput(output, -1, len(known)) if known and kept else None
    if node.op_type == "QuantizeLinear":
        back = model.consumers.get(output, ())
        if len(back) == 1 and back[0].op_type == "DequantizeLinear":
            return replace(place, tensor=back[0].output[0])
    return None


def tapped_at(node: onnx.NodeProto, place: LinearOutput) -> str:
    """What is measured, in words for people."""
    summed = sum_position(node) is not None
    if activation(node):
        return "after a sum and its activation" if summed else "after the activation"
    if summed:
        return "after a sum"
    words = "linear output" if place.dequantised is None else "quantised output"
    scale = float(attribute(node, "alpha", 1.0)) if node.op_type in _SCALED else 1.0
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


_SCALED = ("FusedMatMul", "TransposeMatMul")  # takes the factor of a Mul before or behind it in


Order = tuple[int, ...] | None
"""Which axis of a tensor holds each axis of the layer's; None where nothing was transposed."""


def relu_input(
    model: Model, node: onnx.NodeProto, place: LinearOutput, channels: int
) -> tuple[str | None, Order]:
    """The tensor at which dead channels can be told, or None, and the order of its axes."""
    fused = activation(node)
    if fused:  # what a ReLU puts out is <= 0 where what it takes in is
        from_zero = fused == "Clip" and list(attribute(node, "activation_params", ()))[:1] == [0]
        return place.tensor if fused == "Relu" or from_zero else None, None
    return _reached_relu(model, place, channels)


def _reached_relu(model: Model, place: LinearOutput, channels: int) -> tuple[str | None, Order]:
    """The input of the nearest ReLU that the tensor reaches through operators that keep channels.

    Clip from zero upwards is a ReLU as well: ReLU6.
    """
    queue: deque[tuple[str, Order]] = deque([(place.tensor, None)])
    seen = {place.tensor}
    while queue:
        name, order = queue.popleft()
        trailing = place.trailing if order is None else len(order) - 1 - order[place.axis]
        for node in model.consumers.get(name, ()):
            if node.op_type == "Relu" or _clips_at_zero(model, node):
                return name, order
            following = order
            if node.op_type == "Transpose":
                following = _transposed(node, place, order)
            elif not _keeps_channels(model, node, name, (channels, trailing)):
                continue
            output = node.output[0]
            if output not in seen and (following is not None or node.op_type != "Transpose"):
                seen.add(output)
                queue.append((output, following))
    return None, None


def _transposed(node: onnx.NodeProto, place: LinearOutput, order: Order) -> Order:
    """The order of the axes behind a Transpose; None where it cannot be told."""
    axes = [int(axis) for axis in attribute(node, "perm", range(place.rank or 0)[::-1])]
    before = tuple(range(len(axes))) if order is None else order
    if not axes or sorted(axes) != sorted(before) or place.rank not in (None, len(axes)):
        return None
    return tuple(axes.index(axis) for axis in before)


def _keeps_channels(
    model: Model, node: onnx.NodeProto, name: str, channels: tuple[int, int]
) -> bool:
    if node.op_type == "Add":
        # x + 3 before a Clip is a part of hard-swish, and no ReLU is to be looked for there
        numbers = any(model.shape_of(part) in ((), (1,)) for part in node.input)
        return not numbers and not _spreads(model, name, node.output[0])
    if node.op_type in ("Mul", "Div", "Sub"):  # as batch normalisation is written out
        return _by_channel(model, _other_input(node, name), *channels)
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


def batch_norm_folded(model: Model, node: onnx.NodeProto, tensor: str) -> bool | None:
    """Whether the exporter or ONNX Runtime folded batch normalisation into the weights; None where
    nobody tells."""
    if any(n.op_type == "BatchNormalization" for n in model.consumers.get(tensor, ())):
        return False
    exported = any(_FOLDED in str(entry.value) for entry in node.metadata_props)
    return True if exported or "Bn" in _folded(node) else None
