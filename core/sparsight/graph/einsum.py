"""An Einsum of an activation and constant weights, as a layer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from .model import Shape, attribute
from .operators import Operator

__all__ = ["einsum_layer"]

_DOTS = "."  # one letter for the axes that an equation does not name


def einsum_layer(node: onnx.NodeProto, position: int) -> Operator | str:
    """The operator that an Einsum is whose operand `position` holds weights, or why it is no layer.

    Its channels are the axis that the weights alone bring into the output: j of "bik,kj->bij". What
    weights and activation share and the output lacks, k, is summed over.
    """
    letters = _letters(attribute(node, "equation", b"").decode("utf-8", "replace"))
    if letters is None:
        return "its equation cannot be followed"
    *operands, output = letters
    if len(operands) != 2 or len(node.input) != 2:
        return "an Einsum of two operands was looked for"
    weights, activation = operands[position], operands[1 - position]
    if any(len(set(part)) < len(part) for part in letters) or _DOTS in weights:
        return "its weights have axes that its equation does not tell apart"
    own = [letter for letter in output if letter in weights and letter not in activation]
    if len(own) != 1:
        return f"an Einsum with {len(own)} axes of its weights alone; one, the channels, was wanted"
    if not set(weights) & set(activation) - set(output):
        return "it sums over nothing: each channel scales its input"
    return _operator(weights, activation, output, own[0], position)


def _operator(
    weights: str, activation: str, output: str, channel: str, position: int
) -> Operator | str:
    axis, last = output.index(channel), output[-1] == channel
    if axis == 0:
        return "its channels come before the probes"
    if _DOTS in output and not last:
        return "its equation does not tell at which axis its channels are"
    size, shared = weights.index(channel), "".join(x for x in weights if x in activation)

    def channels(_: onnx.NodeProto, shape: Shape) -> int:
        return shape[size]

    def filters(_: onnx.NodeProto, values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.einsum(f"{weights}->{channel}{shared}", values))

    ranks = range(len(weights), len(weights) + 1)
    rank: Literal["any"] | int = "any" if _DOTS in output else len(output)
    return Operator(channels, filters, ranks, last, rank, weights=position, bias=None, axis=axis)


def _letters(equation: str) -> list[str] | None:
    """The letters of each operand, and of the output, which an equation may leave out."""
    plain = equation.replace(" ", "").replace("...", _DOTS)
    left, arrow, output = plain.partition("->")
    operands = left.split(",")
    if not arrow:  # what stands once, in order of the alphabet, behind what has no name
        used = left.replace(",", "")
        output = "".join(sorted(x for x in set(used) if used.count(x) == 1 and x != _DOTS))
        output = _DOTS * (_DOTS in used) + output
    parts = [*operands, output]
    sound = all(letter == _DOTS or letter.isalpha() for part in parts for letter in part)
    return parts if sound and all(operands) else None
