"""An Einsum of an activation and constant weights, as a layer."""

from __future__ import annotations

import onnx

from .nodes import attribute
from .operator_row import Known, Operator, Row, Unmeasurable

__all__ = ["einsum_row"]

_DOTS = "."  # one letter for the axes that an equation does not name


def einsum_row(node: onnx.NodeProto, known: Known) -> Row | None:
    """The row of an Einsum; None where it multiplies activations only.

    Its channels are the axis that the weights alone bring into the output: j of "bik,kj->bij". What
    weights and activation share and the output lacks, k, is summed over.
    """
    position = next((i for i in range(len(node.input)) if known(i) is not None), None)
    return None if position is None else _row(node, position)


def _row(node: onnx.NodeProto, position: int) -> Row:
    """The row of an Einsum whose operand `position` holds weights."""
    letters = _letters(attribute(node, "equation", b"").decode("utf-8", "replace"))
    if letters is None:
        return Unmeasurable("its equation cannot be read")
    *operands, output = letters
    if len(operands) != 2 or len(node.input) != 2:
        return Unmeasurable("an Einsum needs two operands to be measured")
    weights, activation = operands[position], operands[1 - position]
    if any(len(set(part)) < len(part) for part in letters) or _DOTS in weights:
        return Unmeasurable("its equation does not tell the axes of its weights apart")
    own = [letter for letter in output if letter in weights and letter not in activation]
    if len(own) != 1:
        return Unmeasurable(
            f"its weights alone bring {len(own)} axes into the output; only one, the channels, can "
            "be measured"
        )
    if not set(weights) & set(activation) - set(output):
        return Unmeasurable("it sums over nothing: each channel scales its input")
    return _operator(weights, activation, output, own[0], position)


def _operator(weights: str, activation: str, output: str, channel: str, position: int) -> Row:
    axis = -1 if output[-1] == channel else output.index(channel)
    if output.index(channel) == 0:
        return Unmeasurable("its channels come before the probes")
    if _DOTS in output and axis != -1:
        return Unmeasurable("its equation does not tell at which axis its channels are")
    summed = [letter for letter in weights if letter not in activation + channel]
    return Operator(
        filter_axis=weights.index(channel),
        weight_ranks=range(len(weights), len(weights) + 1),
        axis=axis,
        rank="any" if _DOTS in output else len(output),
        weights=position,
        bias=None,
        summed=tuple(map(weights.index, summed)),
    )


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
