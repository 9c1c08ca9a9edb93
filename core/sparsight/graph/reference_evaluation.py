"""What a standard operator makes of constants, by ONNX's own reference evaluation.

Shapes and element types come from shape inference, without the numbers where these are not needed.
All of it is bounded: a file may ask for anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .nodes import attribute, attribute_tensors, is_standard, kind, subgraphs

__all__ = [
    "MAX_BYTES",
    "Description",
    "NotComputedError",
    "TooMuchError",
    "check_work",
    "checked",
    "computable",
    "evaluated",
    "inferred",
]

MAX_BYTES = 2**32
"""Of one value."""
_MAX_WORK = 4  # times as many bytes in all values that one is computed from
_MAX_PRODUCT = 2**36  # multiplications of one matrix product
_MAX_LOOP = 2**16  # numbers that go through operators which are evaluated in Python's own loops

_RANDOM = frozenset(
    {
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike"),
    }
)
"""Operators that make something else each time."""

_WHOLE = frozenset(
    {
        *("Abs", "Add", "And", "BitShift", "Cast", "CastLike", "Ceil", "Clip", "Concat"),
        *("ConstantOfShape", "Cos", "CumSum", "DepthToSpace", "DequantizeLinear", "Div"),
        *("DynamicQuantizeLinear", "Equal", "Exp", "Expand", "EyeLike", "Flatten", "Floor"),
        *("Gather", "GatherElements", "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN"),
        *("Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or"),
        *("Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round", "Shape", "Sigmoid", "Sign"),
        *("Sin", "Size", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt"),
        *("Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
        *("Xor",),
    }
)
"""Operators that numpy computes on whole arrays. Others may loop over numbers in Python."""

_PRODUCTS = ("MatMul", "Gemm")

_SINCE = {"DequantizeLinear": 21, "QuantizeLinear": 21}
"""The version of the standard's operator that stands for older ones, which do the same and are not
evaluated, and for ONNX Runtime's own of that name."""


class NotComputedError(Exception):
    """Why a value is not computed beforehand, in words."""


class TooMuchError(NotComputedError):
    """It would take too much memory or time."""


@dataclass(frozen=True)
class Description:
    """What is known of a constant without its numbers."""

    shape: tuple[int, ...]
    element_type: int
    """ONNX's number for it."""

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def proto(self) -> onnx.TypeProto:
        """The same as ONNX writes it."""
        return helper.make_tensor_type_proto(self.element_type, self.shape)

    @property
    def bytes(self) -> int:
        """The memory that its numbers take."""
        return self.size * int(helper.tensor_dtype_to_np_dtype(self.element_type).itemsize)


def checked(shape: tuple[int, ...], element_type: int) -> Description:
    """The description of a tensor. Raises NotComputedError where it holds no numbers."""
    if element_type not in _NUMBERS or min(shape, default=0) < 0:
        raise NotComputedError("they are not numbers")
    return Description(shape, element_type)


_NUMBERS = frozenset(helper.get_all_tensor_dtypes()) - {TensorProto.STRING, TensorProto.UNDEFINED}


def computable(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node. Raises NotComputedError for one that makes something else each time, or may never
    end, or is not of the standard."""
    name = node.op_type
    if not is_standard(node) and not _does_as_the_standard(node):
        raise NotComputedError(f"they are computed by {node.domain}.{name}")
    if name in _RANDOM or (name == "Dropout" and len(node.input) > 2):
        raise NotComputedError(f"they are random numbers of {name}")
    if subgraphs(node):
        raise NotComputedError(
            f"they are computed by {name}, whose body may run any number of times"
        )
    if any(t.data_location == TensorProto.EXTERNAL for t in attribute_tensors(node)):
        raise NotComputedError(f"an attribute of {name} is in another file")
    return node


def inferred(
    node: onnx.NodeProto,
    opset: int,
    types: Mapping[str, Description],
    numbers: Mapping[str, NDArray[Any]],
) -> dict[str, Description]:
    """The outputs of a node whose shapes ONNX's shape inference finds, by name.

    `types` describe all inputs, `numbers` are those of the inputs that may be shapes. Raises
    NotComputedError where inference fails.
    """
    plain, version = _standard(node, opset)
    data = {name: numpy_helper.from_array(array, name) for name, array in numbers.items()}
    try:
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(plain.op_type, version, plain.domain),
            plain,
            {name: known.proto for name, known in types.items()},
            data,
            opset_imports=[helper.make_opsetid("", version)],
        )
    except Exception as error:  # of many types, from C++
        raise NotComputedError(f"{node.op_type}: {_line(error)}") from None
    made = {}
    for name, type_proto in found.items():
        sides = type_proto.tensor_type.shape.dim
        known = type_proto.tensor_type.HasField("shape")
        if known and all(side.HasField("dim_value") for side in sides):
            shape = tuple(int(side.dim_value) for side in sides)
            made[name] = checked(shape, int(type_proto.tensor_type.elem_type))
    return made


def evaluated(
    node: onnx.NodeProto, opset: int, feeds: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What a node makes of its inputs, by output name. Raises NotComputedError where it fails."""
    if node.op_type == "ConstantOfShape":
        return _filled(node, feeds)
    # Imports hundreds of modules, and most models compute nothing from their constants.
    from onnx.reference import ReferenceEvaluator

    plain, version = _standard(node, opset)
    names = [name for name in plain.output if name]
    untyped = onnx.TypeProto()
    graph = helper.make_graph(
        [plain],
        "constant",
        [helper.make_value_info(name, untyped) for name in feeds],
        [helper.make_value_info(name, untyped) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    try:
        with np.errstate(all="ignore"):
            made = ReferenceEvaluator(model).run(names, dict(feeds))
    except Exception as error:  # whatever the numbers of a damaged file lead to
        raise NotComputedError(f"{node.op_type}: {_line(error)}") from None
    return dict(zip(names, map(np.asarray, made), strict=True))


def _filled(node: onnx.NodeProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One number everywhere, in the memory of one: whole networks are published with such weights,
    where only their graph matters."""
    value = attribute(node, "value", None)
    try:
        number = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
        shape = [int(side) for side in feeds[node.input[0]]]
        return {node.output[0]: np.broadcast_to(number.reshape(-1)[:1].reshape(()), shape)}
    except Exception as error:  # whatever a damaged file leads to
        raise NotComputedError(f"{node.op_type}: {_line(error)}") from None


def check_work(
    order: Sequence[onnx.NodeProto], known: Mapping[str, Description | str], most: int
) -> None:
    """Raises TooMuchError where computing these nodes takes too much time, or more than `most`
    bytes for one value."""
    work, looped = 0, 0
    for node in order:
        made = [_described(known, name) for name in node.output if name]
        taken = [_described(known, name) for name in node.input if name]
        largest = max(part.bytes for part in made)
        work += sum(part.bytes for part in made)
        if largest > most or work > _MAX_WORK * most:
            raise TooMuchError(f"that would take {max(largest, work):.3g} bytes")
        if node.op_type in _PRODUCTS and _is_quick(made[0], taken[0]):
            continue
        if node.op_type not in _WHOLE:
            looped += sum(part.size for part in (*made, *taken))
        if looped > _MAX_LOOP:
            raise TooMuchError(f"{node.op_type} of so many numbers would take too long")


def _does_as_the_standard(node: onnx.NodeProto) -> bool:
    domain, name = kind(node)
    return domain == "com.microsoft" and name in _SINCE


def _standard(node: onnx.NodeProto, opset: int) -> tuple[onnx.NodeProto, int]:
    """The node as one of the standard's, and the version of the standard."""
    version = min(max(opset, _SINCE.get(node.op_type, 1)), onnx.defs.onnx_opset_version())
    if not node.domain:
        return node, version
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.domain = ""
    return plain, version


def _described(known: Mapping[str, Description | str], name: str) -> Description:
    found = known.get(name)
    if not isinstance(found, Description):
        raise NotComputedError(f"the shape of {name!r} is unknown")
    return found


def _is_quick(product: Description, factor: Description) -> bool:
    """Whether numpy's matrix product is done by a library, and in a bounded time."""
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
    longest = max(factor.shape, default=1)
    return product.element_type in floats and product.size * longest <= _MAX_PRODUCT


def _line(error: Exception) -> str:
    """The first line of an error, and not all of a long one."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
