"""Taps: which tensors of an ONNX graph are measured, and what is left out, with the reason."""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from numpy.typing import NDArray

from .errors import TargetError, nearest
from .model import Model, Shape, attribute, subgraphs
from .names import layer_name, unique
from .operators import OPERATORS, Operator

__all__ = ["LeftOut", "Tap", "Taps", "filters", "find_taps", "select_taps"]

_FOLDED = "FuseBatchNorm"  # in the names of the rewriting rules that PyTorch's exporter records
_OUTPUT = "output layer: its entropy falls by design; measured when it is named"


@dataclass(frozen=True)
class Tap:
    """A point of the graph that is measured: the linear output of one layer."""

    name: str
    tensor: str
    operator: str
    channels: int
    """D, the length of its RFAVs."""
    channel_axis: int
    """1, or -1 for dense layers."""
    rank: int | None
    """Rank of the tensor; None for a MatMul, whose channels are last whatever the rank."""
    element_type: int | None
    """ONNX element type of the tensor, or None where it is not known."""
    weight_shape: Shape
    relu: str | None
    """The input of the ReLU reached through BatchNormalization, Add or Identity."""
    tapped_at: str
    batch_norm_folded: bool | None
    output_layer: bool
    node: onnx.NodeProto = field(repr=False, compare=False)


@dataclass(frozen=True)
class LeftOut:
    """A layer that is not measured."""

    name: str
    operator: str
    reason: str


@dataclass(frozen=True)
class Taps:
    """What is measured of a model, in graph order, and what is not."""

    taps: tuple[Tap, ...]
    left_out: tuple[LeftOut, ...]


def find_taps(model: Model) -> Taps:
    """All layers of a model with a linear output, the output layers among them."""
    found = [part for node in model.graph.node for part in _candidates(model, node)]
    names = unique(part.name for part in found)
    named = [replace(part, name=name) for part, name in zip(found, names, strict=True)]
    taps = [part for part in named if isinstance(part, Tap)]
    outputs = _output_layers(model, {tap.node.output[0] for tap in taps})
    return Taps(
        tuple(replace(tap, output_layer=tap.node.output[0] in outputs) for tap in taps),
        tuple(part for part in named if isinstance(part, LeftOut)),
    )


def select_taps(found: Taps, layers: Sequence[str] | None = None) -> Taps:
    """The taps that names or globs ask for; all but the output layers where nothing is asked.

    Raises TargetError for an entry that fits no layer.
    """
    if layers is None:
        chosen = {tap.name for tap in found.taps if not tap.output_layer}
    else:
        chosen = {name for entry in layers for name in _matching(found, entry)}
    left_out = (
        LeftOut(tap.name, tap.operator, _OUTPUT if layers is None else "not asked for")
        for tap in found.taps
        if tap.name not in chosen
    )
    return Taps(
        tuple(tap for tap in found.taps if tap.name in chosen), (*found.left_out, *left_out)
    )


def filters(model: Model, tap: Tap) -> NDArray[Any] | None:
    """The weights of a layer with one filter a row, [D, ...]; None where they are not constant.

    Raises ModelError where they cannot be read.
    """
    operator = OPERATORS[tap.node.domain, tap.node.op_type]
    weights = model.constant(tap.node.input[operator.weights])
    return None if weights is None else operator.filters(tap.node, weights)


def _matching(found: Taps, entry: str) -> list[str]:
    names = [tap.name for tap in found.taps]
    fitting = [name for name in names if name == entry or fnmatch.fnmatchcase(name, entry)]
    if fitting:
        return fitting
    for left in found.left_out:
        if left.name == entry:
            raise TargetError(f"layer {entry!r} cannot be measured: {left.reason}")
    raise TargetError(f"the model has no layer {entry!r}; {nearest(entry, names)}")


def _candidates(model: Model, node: onnx.NodeProto) -> Iterator[Tap | LeftOut]:
    operator = OPERATORS.get((_domain(node), node.op_type))
    if operator is not None:
        yield _candidate(model, node, operator)


def _candidate(model: Model, node: onnx.NodeProto, operator: Operator) -> Tap | LeftOut:
    weights = node.input[operator.weights] if len(node.input) > operator.weights else ""
    shape = model.shape_of(weights)
    if shape is None:
        name = layer_name(node, "", "", node.output[0])
        return LeftOut(name, node.op_type, "its weights are not constant: the model computes them")
    if len(shape) not in operator.weight_ranks or 0 in shape:
        name = layer_name(node, weights, "", node.output[0])
        return LeftOut(name, node.op_type, f"weights of shape {list(shape)} are no filter bank")
    channels = operator.channels(node, shape)
    spatial = 0 if operator.dense else len(shape) - 2
    tensor, bias = _linear_output(model, node, operator, channels, spatial)
    return Tap(
        name=layer_name(node, model.origin(weights), model.origin(bias), tensor),
        tensor=tensor,
        operator=node.op_type,
        channels=channels,
        channel_axis=-1 if operator.dense else 1,
        rank=operator.rank if operator.dense else len(shape),
        element_type=model.element_type(weights),
        weight_shape=shape,
        relu=_relu_input(model, tensor),
        tapped_at="linear output",
        batch_norm_folded=_batch_norm_folded(model, node, tensor),
        output_layer=False,
        node=node,
    )


def _linear_output(
    model: Model, node: onnx.NodeProto, operator: Operator, channels: int, spatial: int
) -> tuple[str, str]:
    """The tensor with the bias in it, and the name of the bias, or ""."""
    output = node.output[0]
    if operator.bias is not None and len(node.input) > operator.bias and node.input[operator.bias]:
        return output, node.input[operator.bias]
    for consumer in model.consumers.get(output, ()):
        if consumer.op_type != "Add" or len(consumer.input) != 2:
            continue
        other = consumer.input[1] if consumer.input[0] == output else consumer.input[0]
        if _is_bias(model.shape_of(other), channels, spatial):
            return consumer.output[0], other
    return output, ""


def _is_bias(shape: Shape | None, channels: int, spatial: int) -> bool:
    """Whether an array of this shape adds one number a channel: [D], or [D, 1, 1] after a Conv."""
    if shape is None:
        return False
    wanted = (channels,) + (1,) * spatial
    return shape[-len(wanted) :] == wanted and all(side == 1 for side in shape[: -len(wanted)])


def _relu_input(model: Model, tensor: str) -> str | None:
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


def _batch_norm_folded(model: Model, node: onnx.NodeProto, tensor: str) -> bool | None:
    if any(n.op_type == "BatchNormalization" for n in model.consumers.get(tensor, ())):
        return False
    return True if any(_FOLDED in entry.value for entry in node.metadata_props) else None


def _output_layers(model: Model, layers: set[str]) -> set[str]:
    """The layers, by their node's output, that reach a graph output through no other layer."""
    found: set[str] = set()
    seen: set[str] = set()
    queue = [value.name for value in model.graph.output]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        node = model.producers.get(name)
        if node is None:
            continue
        if node.output[0] in layers:
            found.add(node.output[0])
        else:
            queue += [part for part in node.input if part]
            queue += [value.name for graph in subgraphs(node) for value in graph.output]
    return found


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain
