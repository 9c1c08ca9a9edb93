"""The shapes of a graph's values, by ONNX's shape inference: without its weights, and bounded.

Shape inference follows the numbers of short lists, which shapes are made of, and keeps a symbol for
each: a graph that speaks of 10^12 of them would take all memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["SMALL", "Shape", "Sides", "elements", "infer_shapes", "is_scalar", "sides"]

SMALL = 256
"""Elements of what may be a shape that other shapes depend on."""

_LONG = 2**24  # numbers

Shape = tuple[int, ...]

Sides = tuple[int | str, ...]
"""A shape of which a side that is not known is text."""


def infer_shapes(
    proto: onnx.ModelProto,
    inputs: Mapping[str, Sequence[int]],
    small_constant: Callable[[str], NDArray[Any] | None],
) -> dict[str, Sides]:
    """Shapes of values as far as they are found, by name; of none where inference fails.

    `inputs` are given other shapes than the model declares; where any is given, what the model says
    of other values is ignored. `small_constant` gives the numbers of a constant of at most `SMALL`
    elements, by its name, and None for anything else.
    """
    light = _without_weights(proto)
    if inputs:
        _reshape(light.graph, inputs)
    try:
        follow = not _makes_lists(proto.graph, small_constant)
        made = onnx.shape_inference.infer_shapes(light, data_prop=follow)
    except Exception:  # of many types, from C++: then nothing is known
        return {}
    values = [*made.graph.input, *made.graph.value_info, *made.graph.output]
    return {v.name: sides(v) for v in values if v.type.tensor_type.HasField("shape")}


def sides(value: onnx.ValueInfoProto) -> Sides:
    """The declared shape of a value."""
    return tuple(
        int(dim.dim_value)
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0
        else str(dim.dim_param) or "?"
        for dim in value.type.tensor_type.shape.dim
    )


def is_scalar(value: onnx.ValueInfoProto) -> bool:
    """Whether a value is declared to be one number, of no axes."""
    return value.type.tensor_type.HasField("shape") and not value.type.tensor_type.shape.dim


def elements(tensor: onnx.TensorProto) -> float:
    """How many numbers a tensor is said to have; a float, since damaged ones say anything."""
    return float(np.prod(np.array(tensor.dims, np.float64)))


def _reshape(graph: onnx.GraphProto, inputs: Mapping[str, Sequence[int]]) -> None:
    for value in graph.input:
        if value.name in inputs:
            kind, shape = value.type.tensor_type.elem_type, inputs[value.name]
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, shape))
    # Sides that are fixed to another number of samples would contradict.
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _makes_lists(
    graph: onnx.GraphProto, small_constant: Callable[[str], NDArray[Any] | None]
) -> bool:
    """Whether an operator asks for a tensor too long to follow its numbers."""
    makers = [node for node in graph.node if node.op_type in ("ConstantOfShape", "Expand", "Range")]
    for name in {name for node in makers for name in node.input}:
        numbers = small_constant(name)
        if numbers is None or numbers.dtype.kind not in "iuf" or not numbers.size:
            continue
        # in float64: half precision does not reach so far, and has no room for the limit itself
        if np.abs(numbers.astype(np.float64)).max() > _LONG:
            return True
    return False


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which large initializers are inputs."""
    light = onnx.ModelProto(ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import)
    light.functions.extend(proto.functions)
    graph = light.graph
    graph.name = "shapes"
    graph.node.extend(proto.graph.node)
    graph.value_info.extend(proto.graph.value_info)
    graph.output.extend(proto.graph.output)
    graph.initializer.extend(t for t in proto.graph.initializer if elements(t) <= SMALL)
    stored = {tensor.name for tensor in proto.graph.initializer}
    graph.input.extend(value for value in proto.graph.input if value.name not in stored)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in proto.graph.initializer
        if elements(t) > SMALL
    )
    for value in [*graph.value_info, *graph.output, *graph.input]:
        _forget_length(value)
    return light


def _forget_length(value: onnx.ValueInfoProto) -> None:
    """A list too long for a shape is none."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) == 1 and dims[0].dim_value > SMALL:
        dims[0].Clear()
