"""Values that no input of a model changes: what operators make of constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["DERIVED", "FROM_SHAPE", "attribute", "constant_node", "dense"]

_MAX_BYTES = 2**32  # that a ConstantOfShape or an Expand may ask for


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of an attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def constant_node(node: onnx.NodeProto) -> NDArray[Any] | None:
    """The numbers that a Constant node holds in an attribute of its own, without a tensor."""
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        value = attribute(node, name, None)
        if value is not None:
            return np.asarray(value, np.int64 if "int" in name else np.float32)
    return None


def dense(values: NDArray[Any], indices: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A sparse tensor with its zeros; `indices` count its elements, or are [values, rank].

    Raises ValueError or IndexError where the three do not fit.
    """
    full = np.array(_bounded(np.zeros((), values.dtype), np.asarray(shape, np.int64)))
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    full.reshape(-1)[places] = values
    return full


def _cast(node: onnx.NodeProto, values: NDArray[Any]) -> NDArray[Any]:
    kind = onnx.helper.tensor_dtype_to_np_dtype(attribute(node, "to", onnx.TensorProto.FLOAT))
    cast = values.astype(kind)
    return cast.astype(np.float32) if cast.dtype.kind == "V" else cast


def _dequantize(
    node: onnx.NodeProto,
    values: NDArray[Any],
    scale: NDArray[Any],
    zero: NDArray[Any] | None = None,
) -> NDArray[Any]:
    axis = int(attribute(node, "axis", 1))
    scale, zero = _spread(scale, values, node, axis), _spread(zero, values, node, axis)
    return np.asarray((values.astype(np.float32) - zero.astype(np.float32)) * scale)


def _spread(
    part: NDArray[Any] | None, values: NDArray[Any], node: onnx.NodeProto, axis: int
) -> NDArray[Any]:
    """A scale or zero point, a tensor, a channel or a block, in a shape that fits the values."""
    if part is None or part.size == 1:
        return np.zeros(()) if part is None else part.reshape(())
    if part.ndim == 1:
        return part.reshape([-1 if a == axis % values.ndim else 1 for a in range(values.ndim)])
    block = int(attribute(node, "block_size", 0)) or values.shape[axis] // part.shape[axis]
    return np.repeat(part, block, axis=axis).take(np.arange(values.shape[axis]), axis=axis)


def _reshape(_: onnx.NodeProto, values: NDArray[Any], shape: NDArray[Any]) -> NDArray[Any]:
    sides = [values.shape[i] if side == 0 else int(side) for i, side in enumerate(shape.ravel())]
    return values.reshape(sides)


def _squeeze(node: onnx.NodeProto, values: NDArray[Any], axes: Any = None) -> NDArray[Any]:
    axes = attribute(node, "axes", None) if axes is None else axes
    return np.squeeze(values, None if axes is None else tuple(int(a) for a in axes))


def _unsqueeze(node: onnx.NodeProto, values: NDArray[Any], axes: Any = None) -> NDArray[Any]:
    axes = attribute(node, "axes", ()) if axes is None else axes
    return np.expand_dims(values, tuple(int(a) for a in axes))


def _flatten(node: onnx.NodeProto, values: NDArray[Any]) -> NDArray[Any]:
    axis = int(attribute(node, "axis", 1))
    return values.reshape(int(np.prod(values.shape[:axis])), -1)


def _constant_of_shape(node: onnx.NodeProto, shape: NDArray[Any]) -> NDArray[Any]:
    value = attribute(node, "value", None)
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return _bounded(fill.reshape(-1)[0], shape)


def _expand(_: onnx.NodeProto, values: NDArray[Any], shape: NDArray[Any]) -> NDArray[Any]:
    return _bounded(values, np.asarray(np.broadcast_shapes(values.shape, tuple(shape))))


def _bounded(values: Any, shape: NDArray[Any]) -> NDArray[Any]:
    sides = [int(side) for side in np.ravel(shape)]
    size = float(np.prod(np.array(sides, np.float64))) * np.asarray(values).itemsize
    if size > _MAX_BYTES:
        raise ValueError(f"it would take {size:.3g} bytes")
    return np.broadcast_to(values, sides)


DERIVED: Mapping[str, Callable[..., NDArray[Any]]] = {
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": lambda _, values: values,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": lambda node, values: values.transpose(attribute(node, "perm", None)),
    "Unsqueeze": _unsqueeze,
}

FROM_SHAPE = ("ConstantOfShape", "Expand")  # what they read is a shape, not the constant
