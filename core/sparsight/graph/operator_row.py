"""What one row of the table of operators says: which nodes it is for, and how they make a linear
output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from .nodes import attribute
from .shape_inference import Shape

__all__ = [
    "Given",
    "Known",
    "Operator",
    "Packing",
    "Row",
    "Unmeasurable",
    "any_node",
]

Known = Callable[[int], Shape | None]
"""The shape of the constant at an input of a node, by its position; None where there is none."""

Given = Callable[[int | None], NDArray[Any] | None]
"""The numbers of the constant at an input of a node, by its position."""

Accepts = Callable[[onnx.NodeProto, Known], bool]


def any_node(_: onnx.NodeProto, __: Known) -> bool:
    """Accepts all nodes of an operator."""
    return True


@dataclass(frozen=True)
class Packing:
    """How weights are stored that take a few bits each."""

    shape: Callable[[onnx.NodeProto, Given], Shape | None]
    """[D, K]; None where it is not known beforehand."""
    unpack: Callable[[onnx.NodeProto, Given], NDArray[Any] | None]
    """The weights, [D, K]; None where their packing is not known."""


@dataclass(frozen=True)
class Operator:
    """How an operator makes a linear output. Positions are those of its inputs."""

    filter_axis: int
    """Of the weights: what counts the filters, D of them."""
    weight_ranks: range
    """Ranks that its weights may have."""
    axis: int
    """Of the output: the channels'; -1 is the last."""
    rank: Literal["of weights", "any"] | int
    """Rank of the output."""
    variant: str = ""
    """What sets the row apart from others of the same operator."""
    accepts: Accepts = any_node
    """Whether the row is for a node."""
    weights: int = 1
    bias: int | None = 2
    """None where it takes none."""
    summand: int | None = None
    """What it adds to its linear output before the activation function."""
    grouped: bool = False
    """Whether the filter axis counts those of one group, and the first axis the inputs of all."""
    summed: tuple[int, ...] = ()
    """Axes of the weights over which it sums them before it multiplies."""
    weight_scale: tuple[int | None, int] | None = None
    """Scale and zero point of quantised weights."""
    output: Literal["float", "quantised", "integer"] = "float"
    """An integer output is measured behind the Cast and Mul that give it its scale."""
    output_scale: tuple[int, int] | None = None
    """Scale and zero point of a quantised output; where the scale is not given it is a float."""
    packing: Packing | None = None
    """None for weights that are stored as they are."""
    activation: str = ""
    """The activation function that it always applies; others name theirs in an attribute."""
    factor: str = ""
    """The attribute that holds a factor which was folded into it."""

    def shape(self, node: onnx.NodeProto, stored: Shape, given: Given) -> Shape | None:
        """Shape of the weights, of which `stored` is the shape of what is stored."""
        return stored if self.packing is None else self.packing.shape(node, given)

    def channels(self, node: onnx.NodeProto, shape: Shape) -> int:
        """D, from the node and the shape of its weights."""
        groups = int(attribute(node, "group", 1)) if self.grouped else 1
        return shape[self.filter_axis] * groups

    def filters(self, node: onnx.NodeProto, given: Given) -> NDArray[Any] | None:
        """The weights with one filter a row, [D, ...]; None where they are not constant or their
        packing is not known. Raises ValueError or IndexError where they are damaged."""
        weights = given(self.weights)
        if weights is None:
            return None
        if self.packing is not None:
            return self.packing.unpack(node, given)
        rows = self._rows(node, weights)
        if self.weight_scale is None:
            return rows
        scale, zero = (given(position) for position in self.weight_scale)
        # Correlations ignore a factor that all weights of a filter share, so an unknown scale is 1.
        integers = rows.astype(np.float32) - _by_row(zero, rows, 0)
        return np.asarray(integers * _by_row(scale, rows, 1))

    def activation_of(self, node: onnx.NodeProto) -> str:
        """The activation function that a node applies to its linear output, or ""."""
        value = attribute(node, "activation", b"")
        name = value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
        return self.activation or ("" if name == "none" else name)

    def _rows(self, node: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
        if not self.grouped:
            summed = weights.sum(self.summed, keepdims=True) if self.summed else weights
            return np.moveaxis(summed, self.filter_axis, 0)
        # [C, D / g, ...]: the filters of a group see the C / g inputs of that group.
        groups = int(attribute(node, "group", 1))
        inputs, outputs = weights.shape[:2]
        parts = weights.reshape(groups, inputs // groups, outputs, -1)
        return parts.swapaxes(1, 2).reshape(groups * outputs, -1)


@dataclass(frozen=True)
class Unmeasurable:
    """An operator with weights that has no linear output to measure, and why."""

    reason: str
    accepts: Accepts = any_node
    """Whether this holds for a node."""


Row = Operator | Unmeasurable


def _by_row(values: NDArray[Any] | None, rows: NDArray[Any], default: float) -> NDArray[Any]:
    """A number for all filters, or one a filter, in a shape that fits the rows."""
    numbers = np.full(1, default) if values is None else np.asarray(values).reshape(-1)
    return numbers.astype(np.float32).reshape(-1, *[1] * (rows.ndim - 1))
