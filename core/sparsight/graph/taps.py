"""Taps: which tensors of an ONNX graph are measured, and what is left out, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ..errors import ModelError, TargetError, nearest
from ..globs import matching
from .fusions import batch_norm_folded, tapped_at
from .layer_names import layer_name, unique
from .linear_outputs import linear_output
from .model import Model, Shape
from .nodes import inner_nodes, input_at, kind
from .operator_row import Given, Known, Operator
from .operators import OPERATORS, row_of
from .output_layers import values_that_feed_layers
from .places import Place
from .relus import relu_input
from .shape_inference import is_scalar

__all__ = [
    "OUTPUT_LAYER",
    "LeftOut",
    "Tap",
    "Taps",
    "filters",
    "find_taps",
    "said_by_default",
    "select_taps",
]

_COMPUTED = "its weights are not constant: the model computes them"
_CONSTANT = "it computes the same for all probes"
_UNKNOWN = "an operator of another domain: what it does with its weights is unknown"
OUTPUT_LAYER = "output layer: its entropy falls by design; measured when it is named"
_NAMED = 5  # output layers in one line

_DOMAINS = ("ai.onnx", "com.microsoft", "com.ms.internal")
"""Whose operators with weights are all in the tables, beside those of the empty domain."""


@dataclass(frozen=True)
class Tap:
    """A point of the graph that is measured: the linear output of one layer."""

    name: str
    tensor: str
    operator: str
    channels: int
    """D, the length of its RFAVs."""
    channel_axis: int
    """Counted from the start, or -1: the last."""
    rank: int | None
    """Rank of the tensor; None where it is unknown, and the channels are last."""
    element_type: int | None
    """ONNX element type of the tensor, or None where it is not known."""
    weight_shape: Shape
    relu: str | None
    """The input of the ReLU reached through BatchNormalization, Add, Identity or Transpose."""
    tapped_at: str
    batch_norm_folded: bool | None
    output_layer: bool
    """Whether no other layer depends on its values."""
    dequantised: tuple[str, str] | None
    """Scale and zero point of a quantised tensor."""
    added: tuple[str, int] | None
    """A constant of which the D numbers from this one on are the bias, which the tensor lacks."""
    node: onnx.NodeProto = field(repr=False, compare=False)
    row: Operator = field(repr=False, compare=False)
    """Of the table of operators."""
    relu_order: tuple[int, ...] | None = field(default=None, kw_only=True)
    """Which axis of the ReLU's input holds each axis of the tensor, where it was transposed."""


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
    remarks: tuple[str, ...] = ()
    """A note on them for the user."""


def find_taps(model: Model) -> Taps:
    """All layers of a model with a linear output, the output layers among them."""
    found = [part for node in model.graph.node for part in _candidates(model, node)]
    names = unique(part.name for part in found)
    named = [replace(part, name=name) for part, name in zip(found, names, strict=True)]
    taps = [part for part in named if isinstance(part, Tap)]
    feeding = values_that_feed_layers(model)
    return Taps(
        tuple(replace(tap, output_layer=feeding.isdisjoint(tap.node.output)) for tap in taps),
        tuple(part for part in named if isinstance(part, LeftOut)),
    )


def select_taps(found: Taps, layers: Sequence[str] | None = None) -> Taps:
    """The taps that names or globs ask for; all but the output layers where nothing is asked.

    A model of nothing but output layers has them all measured.
    Raises TargetError for an entry that fits no layer, or where there is no entry.
    """
    if layers is not None and not layers:
        raise TargetError(
            "the list of layers is empty; name at least one layer, or leave the list out"
        )
    if layers is None:
        hidden = {tap.name for tap in found.taps if not tap.output_layer}
        chosen = hidden or {tap.name for tap in found.taps}
    else:
        chosen = {name for entry in layers for name in _matching(found, entry)}
    left_out = (
        LeftOut(tap.name, tap.operator, OUTPUT_LAYER if layers is None else "not asked for")
        for tap in found.taps
        if tap.name not in chosen
    )
    return replace(
        found,
        taps=tuple(tap for tap in found.taps if tap.name in chosen),
        left_out=(*found.left_out, *left_out),
    )


def said_by_default(chosen: Taps) -> list[str]:
    """A note on the selection for a user who chose no layers: one line, or none."""
    outputs = [part.name for part in chosen.left_out if part.reason == OUTPUT_LAYER]
    others = len(chosen.left_out) - len(outputs)
    parts = []
    if outputs:
        few = ", ".join(outputs[:_NAMED])
        few += f" and {len(outputs) - _NAMED} more" if len(outputs) > _NAMED else ""
        noun = "the output layer" if len(outputs) == 1 else "the output layers"
        parts.append(f"{noun} {few}, whose entropy falls by design (--layers measures them too)")
    elif all(tap.output_layer for tap in chosen.taps):
        which = "all layers that can be measured" if others else "all layers"
        few = f"; {others} cannot be measured (sparsight taps says why)" if others else ""
        return [f"{which} are output layers, whose entropy falls by design; they are measured{few}"]
    if others:
        parts.append(f"{others} that cannot be measured (sparsight taps says why)")
    return [f"left out: {'; '.join(parts)}"] if parts else []


def filters(model: Model, tap: Tap) -> NDArray[Any] | None:
    """The weights of a layer with one filter a row, [D, ...]; None where they are not constant, or
    computing them from constants would take too much memory or time.

    Raises ModelError where they cannot be read.
    """
    try:
        return tap.row.filters(tap.node, _given(model, tap.node))
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{model.source}: the weights of layer {tap.name!r} cannot be read: {error}"
        ) from None


def _matching(found: Taps, entry: str) -> list[str]:
    names = [tap.name for tap in found.taps]
    fits = matching(names, entry)
    if fits:
        return fits
    for left in found.left_out:
        if left.name == entry:
            raise TargetError(f"layer {entry!r} cannot be measured: {left.reason}")
    raise TargetError(f"the model has no layer {entry!r}; {nearest(entry, names)}")


def _candidates(model: Model, node: onnx.NodeProto) -> Iterator[Tap | LeftOut]:
    row = row_of(node, _known(model, node))
    if isinstance(row, Operator):
        yield _candidate(model, node, row)
    elif row is not None:
        yield LeftOut(_plain_name(node), node.op_type, row.reason)
    elif node.domain and not node.domain.startswith(_DOMAINS) and _has_weights(model, node):
        yield LeftOut(_plain_name(node), node.op_type, _UNKNOWN)
    for inner in inner_nodes(node):
        if kind(inner) in OPERATORS:
            yield LeftOut(_plain_name(inner), inner.op_type, _within(model, node))


def _known(model: Model, node: onnx.NodeProto) -> Known:
    def shape(position: int) -> Shape | None:
        return model.shape_of(input_at(node, position))

    return shape


def _given(model: Model, node: onnx.NodeProto) -> Given:
    def numbers(position: int | None) -> NDArray[Any] | None:
        return model.constant(input_at(node, position))

    return numbers


def _within(model: Model, node: onnx.NodeProto) -> str:
    """Why what is inside an If, Loop or Scan is not measured."""
    place = f"it is inside {node.op_type} {node.name!r}"
    switches = _switches(model, node.input[0]) if node.op_type == "If" and node.input else []
    if switches:
        return f"{place}, where {' and '.join(switches)} decides what runs (--input gives a value)"
    return f"{place}, which may run it any number of times"


def _switches(model: Model, condition: str) -> list[str]:
    """The inputs that a condition depends on, if all are scalars: then they are the same for all
    probes."""
    inputs = {value.name: value for value in model.inputs}
    queue, seen = [condition], {condition}
    while queue:
        node = model.producers.get(queue.pop())
        fresh = set() if node is None else {name for name in node.input if name} - seen
        seen |= fresh
        queue += fresh
    found = [inputs[name] for name in inputs if name in seen]
    scalars = [value.name for value in found if is_scalar(value)]
    return scalars if len(scalars) == len(found) else []


def _has_weights(model: Model, node: onnx.NodeProto) -> bool:
    """Whether an operator takes a constant that may be a filter bank."""
    shapes = (model.shape_of(name) for name in node.input if name)
    return any(shape is not None and len(shape) > 1 for shape in shapes)


def _plain_name(node: onnx.NodeProto) -> str:
    weights = next((name for name in node.input[1:] if name), "")
    return layer_name(node, weights, "", next(iter(node.output), node.op_type))


def _candidate(model: Model, node: onnx.NodeProto, operator: Operator) -> Tap | LeftOut:
    shape = _weight_shape(model, node, operator)
    place = shape if isinstance(shape, str) else linear_output(model, node, operator, shape)
    if isinstance(shape, str) or isinstance(place, str):
        return LeftOut(_plain_name(node), node.op_type, str(place))
    weights, channels = input_at(node, operator.weights), operator.channels(node, shape)
    relu, relu_order = relu_input(model, node, operator, place, channels)
    bias = _own(model, place.bias or input_at(node, operator.bias))
    return Tap(
        name=layer_name(node, model.origin(weights), bias, place.tensor),
        tensor=place.tensor,
        operator=node.op_type,
        channels=channels,
        channel_axis=place.axis,
        rank=place.rank,
        element_type=_element_type(model, operator, weights, place),
        weight_shape=shape,
        relu=relu,
        relu_order=relu_order,
        tapped_at=tapped_at(node, operator, place),
        batch_norm_folded=batch_norm_folded(model, node, place.tensor),
        output_layer=False,
        dequantised=place.dequantised,
        added=place.added,
        node=node,
        row=operator,
    )


def _weight_shape(model: Model, node: onnx.NodeProto, operator: Operator) -> Shape | str:
    """Shape of a layer's weights, or why it is no layer that can be measured."""
    if node.output[0] not in model.reached:
        return _CONSTANT
    weights = input_at(node, operator.weights)
    stored = model.shape_of(weights)
    shape = None if stored is None else operator.shape(node, stored, _given(model, node))
    if shape is None:
        obstacle = model.constants.obstacle(weights)
        return f"its weights are unknown: {obstacle}" if obstacle else _COMPUTED
    if len(shape) not in operator.weight_ranks or min(shape) < 1:
        return f"weights of shape {list(shape)} are not a filter bank"
    return shape


def _own(model: Model, bias: str) -> str:
    """The stored bias of one layer; not one that several share, since exporters store equal ones
    (of zeros, before training) once, under the name of the first."""
    origin = model.origin(bias)
    return origin if len(model.consumers.get(origin, ())) == 1 else ""


def _element_type(model: Model, operator: Operator, weights: str, place: Place) -> int | None:
    """ONNX element type of what is measured, or None where it is not known."""
    if place.dequantised is not None:
        return model.element_type(place.dequantised[0])
    found = model.element_type(weights)
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    return found if found in floats and operator.output == "float" else None
