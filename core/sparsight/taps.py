"""Taps: which tensors of an ONNX graph are measured, and what is left out, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from .errors import ModelError, TargetError, nearest
from .globs import fitting
from .linear_outputs import (
    LinearOutput,
    batch_norm_folded,
    linear_output,
    relu_input,
    tapped_at,
)
from .model import Model, Shape, subgraphs
from .names import layer_name, unique
from .operators import (
    OPERATORS,
    UNMEASURABLE,
    WEIGHTS_FIRST,
    Operator,
    filter_rows,
    input_at,
    kind_of,
)

__all__ = ["LeftOut", "Tap", "Taps", "filters", "find_taps", "select_taps"]

_COMPUTED = "its weights are not constant: the model computes them"
_FIRST = "its weights come first, and its channels before the probes"
_CONSTANT = "it computes the same for all probes"
_UNKNOWN = "an operator of another domain: nobody here knows what it makes of its weights"
_OUTPUT = "output layer: its entropy falls by design; measured when it is named"

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
    """Rank of the tensor; None where it is not known, and the channels are last."""
    element_type: int | None
    """ONNX element type of the tensor, or None where it is not known."""
    weight_shape: Shape
    relu: str | None
    """The input of the ReLU reached through BatchNormalization, Add or Identity."""
    tapped_at: str
    batch_norm_folded: bool | None
    output_layer: bool
    dequantised: tuple[str, str] | None
    """Scale and zero point of a quantised tensor."""
    added: tuple[str, int] | None
    """A constant of which the D numbers from this one on are the bias, which the tensor lacks."""
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

    Raises TargetError for an entry that fits no layer, or where there is no entry.
    """
    if layers is not None and not layers:
        raise TargetError("an empty list of layers was given; name one, or leave the list out")
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
    """The weights of a layer with one filter a row, [D, ...]; None where they are not constant, or
    computing them from constants would take too much memory or time.

    Raises ModelError where they cannot be read.
    """
    operator = _variant(model, tap.node, OPERATORS[kind_of(tap.node)])
    try:
        return filter_rows(operator, tap.node, model.constant)
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{model.source}: the weights of layer {tap.name!r} cannot be read: {error}"
        ) from None


def _matching(found: Taps, entry: str) -> list[str]:
    names = [tap.name for tap in found.taps]
    fits = fitting(names, entry)
    if fits:
        return fits
    for left in found.left_out:
        if left.name == entry:
            raise TargetError(f"layer {entry!r} cannot be measured: {left.reason}")
    raise TargetError(f"the model has no layer {entry!r}; {nearest(entry, names)}")


def _candidates(model: Model, node: onnx.NodeProto) -> Iterator[Tap | LeftOut]:
    operator = OPERATORS.get(kind_of(node))
    if operator is not None:
        yield _candidate(model, node, operator)
    elif kind_of(node) in UNMEASURABLE:
        yield LeftOut(_plain_name(node), node.op_type, UNMEASURABLE[kind_of(node)])
    elif node.op_type == "Einsum" and any(model.shape_of(name) for name in node.input):
        yield LeftOut(_plain_name(node), "Einsum", "an Einsum has no channel axis of its own")
    elif node.domain and not node.domain.startswith(_DOMAINS) and _has_weights(model, node):
        yield LeftOut(_plain_name(node), node.op_type, _UNKNOWN)
    for inner in _inner_nodes(node):
        if kind_of(inner) in OPERATORS or kind_of(inner) in UNMEASURABLE:
            reason = f"it is inside {node.op_type} {node.name!r}, which may run it never or often"
            yield LeftOut(_plain_name(inner), inner.op_type, reason)


def _has_weights(model: Model, node: onnx.NodeProto) -> bool:
    """Whether an operator takes a constant that may be a filter bank."""
    shapes = (model.shape_of(name) for name in node.input if name)
    return any(shape is not None and len(shape) > 1 for shape in shapes)


def _inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for graph in subgraphs(node):
        for inner in graph.node:
            yield inner
            yield from _inner_nodes(inner)


def _plain_name(node: onnx.NodeProto) -> str:
    weights = next((name for name in node.input[1:] if name), "")
    return layer_name(node, weights, "", next(iter(node.output), node.op_type))


def _candidate(model: Model, node: onnx.NodeProto, operator: Operator) -> Tap | LeftOut:
    operator = _variant(model, node, operator)
    weights = input_at(node, operator.weights)
    stored = model.shape_of(weights) if weights else None
    shape = None if stored is None else operator.shape(node, stored)
    obstacle = model.constants.obstacle(weights)
    found: LinearOutput | str = f"its weights are not known: {obstacle}" if obstacle else _COMPUTED
    if node.output[0] not in model.reached:
        found = _CONSTANT
    elif shape is not None and (len(shape) not in operator.weight_ranks or min(shape) < 1):
        found = f"weights of shape {list(shape)} are no filter bank"
    elif shape is not None:
        found = linear_output(model, node, operator, shape)
    elif model.shape_of(input_at(node, 0)) is not None:
        found = _FIRST
    if isinstance(found, str) or shape is None:
        return LeftOut(_plain_name(node), node.op_type, str(found))
    bias = _own(model, found.bias or input_at(node, operator.bias))
    return Tap(
        name=layer_name(node, model.origin(weights), bias, found.tensor),
        tensor=found.tensor,
        operator=node.op_type,
        channels=operator.channels(node, shape),
        channel_axis=found.axis,
        rank=found.rank,
        element_type=_element_type(model, operator, weights, found),
        weight_shape=shape,
        relu=relu_input(model, node, found, operator.channels(node, shape)),
        tapped_at=tapped_at(node, found),
        batch_norm_folded=batch_norm_folded(model, node, found.tensor),
        output_layer=False,
        dequantised=found.dequantised,
        added=found.added,
        node=node,
    )


def _own(model: Model, bias: str) -> str:
    """The stored bias of one layer; not one that several share, since exporters store equal ones
    (of zeros, before training) once, under the name of the first."""
    origin = model.origin(bias)
    return origin if len(model.consumers.get(origin, ())) == 1 else ""


def _variant(model: Model, node: onnx.NodeProto, operator: Operator) -> Operator:
    """The operator, or its form for weights that come first."""
    swapped = (
        kind_of(node) == ("", "MatMul")
        and len(node.input) == 2
        and model.shape_of(node.input[1]) is None
        and model.shape_of(node.input[0]) is not None
    )
    return WEIGHTS_FIRST if swapped else operator


def _element_type(
    model: Model, operator: Operator, weights: str, place: LinearOutput
) -> int | None:
    """ONNX element type of what is measured, or None where it is not known."""
    if place.dequantised is not None:
        return model.element_type(place.dequantised[0])
    found = model.element_type(weights)
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    return found if found in floats and operator.output == "float" else None


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
        if node is None or _is_scale(node, name):
            continue
        if node.output[0] in layers:
            found.add(node.output[0])
        else:
            queue += [part for part in node.input if part]
            queue += [value.name for graph in subgraphs(node) for value in graph.output]
    return found


def _is_scale(node: onnx.NodeProto, name: str) -> bool:
    """Whether a value is the scale or zero point that a tensor is quantised by, not the tensor."""
    return node.op_type == "DynamicQuantizeLinear" and name != node.output[0]
