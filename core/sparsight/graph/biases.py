"""Where the bias of a layer is added that the layer itself does not add: by an Add behind it, or
inside the operator behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from .model import Model, Shape
from .nodes import Kind, attribute, input_at, kind
from .operators import operator_rows
from .places import Place, by_channel, other_input

__all__ = ["BIASED", "AddedBias", "biased", "biased_integers"]

_MS = "com.microsoft"
_MOVES = 4  # operators that only move numbers between a layer and the Add of its bias


@dataclass(frozen=True)
class AddedBias:
    """Where an operator takes a layer's output, to which it adds a bias before anything else."""

    terms: tuple[int, ...]
    """Positions of what the bias is added to, or to a sum of which."""
    bias: int
    """Position of the bias."""
    joined: bool = False
    """Whether it is the biases of query, key and value one after the other, one a term."""


BIASED: Mapping[Kind, AddedBias] = {
    (_MS, "BiasAdd"): AddedBias((0,), 1),
    (_MS, "BiasDropout"): AddedBias((0,), 1),
    (_MS, "BitmaskBiasDropout"): AddedBias((0,), 1),
    (_MS, "BiasGelu"): AddedBias((0,), 1),
    (_MS, "BiasSoftmax"): AddedBias((0,), 1),
    (_MS, "BiasSplitGelu"): AddedBias((0,), 1),
    (_MS, "FastGelu"): AddedBias((0,), 1),
    (_MS, "GatedDeltaNet"): AddedBias((4,), 8),
    (_MS, "GatedRelativePositionBias"): AddedBias((0,), 1),
    (_MS, "LinearAttentionGate"): AddedBias((0,), 1),
    (_MS, "SkipGroupNorm"): AddedBias((0, 3), 4),
    (_MS, "SkipLayerNormalization"): AddedBias((0, 1), 4),
    (_MS, "SkipSimplifiedLayerNormalization"): AddedBias((0, 1), 3),
    (_MS, "MultiHeadAttention"): AddedBias((0, 1, 2), 3, joined=True),
    (_MS, "PackedMultiHeadAttention"): AddedBias((0, 1, 2), 3, joined=True),
    (_MS, "DecoderMaskedMultiHeadAttention"): AddedBias((0, 1, 2), 10, joined=True),
}
"""Operators into which ONNX Runtime takes the bias of the layer before them."""


def biased_integers(model: Model, place: Place, channels: int) -> Place:
    """Where a following QLinearAdd, or an Add behind DequantizeLinear, has added the bias."""
    for consumer in model.consumers.get(place.tensor, ()):
        made = replace(place, tensor=consumer.output[0])
        if consumer.op_type == "DequantizeLinear":
            whole = biased(model, replace(made, dequantised=None), channels)
            if whole.bias or whole.added or whole.doubtful:
                return whole
        if consumer.op_type == "QLinearAdd" and len(consumer.input) > 7:
            other = consumer.input[3 if consumer.input[0] == place.tensor else 0]
            if by_channel(model, other, channels, place.trailing):
                scales = (consumer.input[6], consumer.input[7])
                return replace(made, bias=other, dequantised=scales)
    return place


def biased(model: Model, linear: Place, channels: int) -> Place:
    """Where the bias is added: by a following Add, or inside another operator, at once or after the
    numbers were only moved."""
    place = linear
    for _ in range(_MOVES):
        consumers = model.consumers.get(place.tensor, ())
        for consumer in consumers:
            other = other_input(consumer, place.tensor)
            if consumer.op_type == "Add" and by_channel(model, other, channels, place.trailing):
                return replace(place, tensor=consumer.output[0], bias=other)
            fused = _fused(model, consumer, place, channels)
            if fused is not None:
                return fused
        moved = _moved(model, consumers[0], place, channels) if len(consumers) == 1 else None
        if moved is None:
            break
        place = moved
    return replace(linear, doubtful=_behind_reshape(model, place))


def _fused(model: Model, node: onnx.NodeProto, place: Place, channels: int) -> Place | None:
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
    if not by_channel(model, bias, channels, 0):
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
        rows = operator_rows(node)
        if rows:
            constant = any(model.shape_of(part) is not None for part in node.input[:2])
            return constant and not any(input_at(node, row.bias) for row in rows)
        if node.op_type not in ("Identity", "Reshape", "Transpose", "DequantizeLinear"):
            return False
        name = node.input[0]
    return False


def _behind_reshape(model: Model, place: Place) -> str:
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


def _moved(model: Model, node: onnx.NodeProto, place: Place, channels: int) -> Place | None:
    """The same numbers behind an operator that only moves or rounds them, or None."""
    output = node.output[0]
    if node.op_type == "Identity":
        return replace(place, tensor=output)
    if node.op_type == "Transpose":
        order = list(attribute(node, "perm", range(place.rank or 0)[::-1]))
        if not order or sorted(order) != list(range(len(order))) or place.axis >= len(order):
            return None
        return Place(output, order.index(place.axis % len(order)), len(order))
    if node.op_type == "Reshape" and place.trailing == 0:
        known = model.inferred.get(output)
        kept = known is not None and known[-1:] == (channels,)
        return Place(output, -1, len(known)) if known and kept else None
    if node.op_type == "QuantizeLinear":
        back = model.consumers.get(output, ())
        if len(back) == 1 and back[0].op_type == "DequantizeLinear":
            return replace(place, tensor=back[0].output[0])
    return None
