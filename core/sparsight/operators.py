"""The ONNX operators that have a linear output, a row each: where weights and channels are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .model import Shape, attribute

__all__ = ["OPERATORS", "Operator"]


@dataclass(frozen=True)
class Operator:
    """How one operator makes a linear output."""

    channels: Callable[[onnx.NodeProto, Shape], int]
    """D, from the node and the shape of its weights."""
    filters: Callable[[onnx.NodeProto, NDArray[Any]], NDArray[Any]]
    """The weights with one filter a row, [D, ...]."""
    weight_ranks: range
    """Ranks that its weights may have."""
    dense: bool
    """Channels on the last axis; otherwise on axis 1 of an output of the weights' rank."""
    rank: int | None = None
    """Rank of a dense operator's output, where it is always the same."""
    weights: int = 1
    """Position of the weights among its inputs."""
    bias: int | None = 2
    """Position of the bias among its inputs; None where it takes none."""


def _rows(_: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return weights


def _columns(_: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(weights, -1, 0)


def _conv_channels(_: onnx.NodeProto, shape: Shape) -> int:
    return shape[0]


def _gemm_channels(node: onnx.NodeProto, shape: Shape) -> int:
    return shape[0] if attribute(node, "transB", 0) else shape[-1]


def _gemm_filters(node: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    return weights if attribute(node, "transB", 0) else weights.T


_CONVOLUTION = range(3, 6)

OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("", "Conv"): Operator(_conv_channels, _rows, _CONVOLUTION, dense=False),
    ("", "Gemm"): Operator(_gemm_channels, _gemm_filters, range(2, 3), dense=True, rank=2),
    ("", "MatMul"): Operator(
        lambda _, shape: shape[-1], _columns, range(2, 3), dense=True, bias=None
    ),
}
"""By domain and operator type."""
