"""Values that no input of a model changes: stored, or computed from what is stored.

What operators make of constants is computed by ONNX's own reference evaluation, when its numbers
are asked for. Shapes and element types come from shape inference, without these numbers. Both are
bounded: a file may ask for anything.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "RANDOM",
    "Constants",
    "Description",
    "Stored",
    "attribute",
    "attribute_tensors",
    "dense",
    "evaluated",
]

Stored = TensorProto | onnx.SparseTensorProto | NDArray[Any]
"""Of initializers and Constant nodes; an array where the node holds numbers without a tensor."""

_SMALL = 2**16  # bytes: results up to it are kept
_MAX_BYTES = 2**32  # of one value
_MAX_WORK = 2**34  # bytes of all values that one is computed from
_MAX_PRODUCT = 2**36  # multiplications of one matrix product
_MAX_LOOP = 2**16  # numbers that go through operators which are evaluated in Python's own loops
_MAX_NODES = 1024

RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
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

_FROM_SHAPE = ("Shape", "Size")  # do not see numbers

_PRODUCTS = ("MatMul", "Gemm")

_SINCE = {"DequantizeLinear": 21, "QuantizeLinear": 21}
"""The version of the standard's operator that stands for older ones, which do the same and are not
evaluated, and for ONNX Runtime's own of that name."""


class _NotComputedError(Exception):
    """Why a value is not computed beforehand, in words."""


class _TooMuchError(_NotComputedError):
    """It would take more memory or time than is given to it."""


@dataclass(frozen=True)
class Description:
    """What is known of a constant without its numbers."""

    shape: tuple[int, ...]
    element_type: int
    """ONNX's number for it."""

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def proto(self) -> onnx.TypeProto:
        """The same in ONNX's words."""
        return helper.make_tensor_type_proto(self.element_type, self.shape)

    @property
    def bytes(self) -> int:
        """What its numbers take."""
        return self.size * int(helper.tensor_dtype_to_np_dtype(self.element_type).itemsize)


class Constants:
    """The constants of one graph, described and computed as they are asked for.

    `stored` finds what initializers and Constant nodes hold, by name, and `read` its numbers, in
    the type that they are stored in; `reached` are the values that an input changes.
    """

    def __init__(
        self,
        producers: Mapping[str, onnx.NodeProto],
        reached: Collection[str],
        stored: Callable[[str], Stored | None],
        read: Callable[[Stored], NDArray[Any]],
        opset: Callable[[], int],
    ) -> None:
        self._producers = producers
        self._reached = reached
        self._stored = stored
        self._read = read
        self._opset = opset
        self._known: dict[str, Description | str] = {}
        self._small: dict[str, NDArray[Any]] = {}

    def description(self, name: str) -> Description | None:
        """Shape and element type, or None where the value is no constant that can be computed."""
        known = self._describe(name)
        return known if isinstance(known, Description) else None

    def obstacle(self, name: str) -> str:
        """Why a value that no input changes is not computed beforehand, or ""."""
        known = self._describe(name)
        return known if isinstance(known, str) else ""

    def value(self, name: str) -> NDArray[Any] | None:
        """The numbers, or None where `description` is None or they would take too much memory or
        time. Raises ValueError with a sentence where they cannot be computed, and what `read`
        raises."""
        if self.description(name) is None:
            return None
        try:
            return self._computed(name)
        except _TooMuchError:
            return None
        except _NotComputedError as error:
            raise ValueError(f"constant {name!r} cannot be computed: {error}") from None

    def origin(self, name: str) -> str:
        """The stored constant of which a constant is another form, as far back as it is no smaller:
        of a product or a quotient the larger part."""
        for _ in range(_MAX_NODES):
            node, known = self._producers.get(name), self.description(name)
            if node is None or known is None or self._stored(name) is not None:
                break
            sizes = {part: self.description(part) for part in node.input if part}
            found = {part: made.size for part, made in sizes.items() if made is not None}
            largest = max(found, key=lambda part: found[part], default="")
            if not largest or found[largest] < known.size:
                break
            name = largest
        return name

    def _describe(self, name: str) -> Description | str:
        """What is known of a constant, or why nothing is; "" where it is none."""
        if name not in self._known:
            if not name or name in self._reached:
                self._known[name] = ""
                return ""
            try:
                for node in self._needed(name, self._known):
                    self._describe_outputs(node)
                if name not in self._known:
                    self._known[name] = self._describe_stored(name)
            except _NotComputedError as error:
                self._known[name] = str(error)
        return self._known[name]

    def _describe_stored(self, name: str) -> Description:
        stored = self._stored(name)
        assert stored is not None  # `_needed` ends there, or raises
        if isinstance(stored, np.ndarray):
            return Description(stored.shape, int(helper.np_dtype_to_tensor_dtype(stored.dtype)))
        values = stored.values if isinstance(stored, onnx.SparseTensorProto) else stored
        return _checked(tuple(stored.dims), int(values.data_type))

    def _describe_outputs(self, node: onnx.NodeProto) -> None:
        """Without numbers where that is enough: a norm of large weights may be a short list."""
        types: dict[str, Description] = {}
        for part in filter(None, node.input):
            known = self._describe(part)
            if isinstance(known, str):
                raise _NotComputedError(known)
            types[part] = known
        made = self._inferred(node, types, {})
        if not all(name in made for name in node.output if name):
            made = self._inferred(node, types, self._short(types))
        for name in filter(None, node.output):
            if name not in made:
                raise _NotComputedError(f"nobody knows the shape of what {node.op_type} makes")
            self._known[name] = made[name]

    def _short(self, types: Mapping[str, Description]) -> dict[str, NDArray[Any]]:
        """The numbers of which shapes may be made."""
        return {
            name: self._computed(name) for name, known in types.items() if known.bytes <= _SMALL
        }

    def _inferred(
        self,
        node: onnx.NodeProto,
        types: Mapping[str, Description],
        numbers: Mapping[str, NDArray[Any]],
    ) -> dict[str, Description]:
        """The outputs of a node whose shapes ONNX's shape inference finds."""
        plain, opset = _standard(node, self._opset())
        data = {name: numpy_helper.from_array(array, name) for name, array in numbers.items()}
        try:
            found = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(plain.op_type, opset, plain.domain),
                plain,
                {name: known.proto for name, known in types.items()},
                data,
                opset_imports=[helper.make_opsetid("", opset)],
            )
        except Exception as error:  # of many types, from C++
            raise _NotComputedError(f"{node.op_type}: {_line(error)}") from None
        made = {}
        for name, kind in found.items():
            sides = kind.tensor_type.shape.dim
            if kind.tensor_type.HasField("shape") and all(s.HasField("dim_value") for s in sides):
                shape = tuple(int(side.dim_value) for side in sides)
                made[name] = _checked(shape, int(kind.tensor_type.elem_type))
        return made

    def _needed(
        self, name: str, known: Collection[str], numbers: bool = False
    ) -> list[onnx.NodeProto]:
        """The nodes that make a value from what is stored or known, each behind what it needs: with
        `numbers` that whose numbers it needs."""
        order: list[onnx.NodeProto] = []
        done: set[str] = set()
        opened: set[str] = set()
        stack = [name]
        while stack:
            value = stack[-1]
            if value in done or value in known or self._stored(value) is not None:
                stack.pop()
                done.add(value)
                continue
            node = self._producers.get(value)
            if node is None:
                raise _NotComputedError(f"nothing makes {value!r}")
            seen = () if numbers and node.op_type in _FROM_SHAPE else node.input
            missing = [part for part in seen if part and part not in done]
            if not missing:
                order.append(_computable(node))
                done.update(node.output)
            elif value in opened or len(opened) == _MAX_NODES:
                raise _NotComputedError("they are made in a circle, or by too many operators")
            opened.add(value)
            stack += missing
        return order

    def _computed(self, name: str) -> NDArray[Any]:
        """The numbers of a constant that is described."""
        order = self._needed(name, self._small, numbers=True)
        _check_work(order, self._known)
        uses = Counter(part for node in order for part in node.input)
        values: dict[str, NDArray[Any]] = {}
        for node in order:
            feeds = {part: self._part(node, part, values) for part in node.input if part}
            values.update(self._evaluated(node, feeds))
            uses.subtract(node.input)
            for part in [part for part in node.input if uses[part] <= 0]:
                values.pop(part, None)  # large, perhaps
        return self._ready(name, values)

    def _ready(self, name: str, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if name in values:
            return values[name]
        if name in self._small:
            return self._small[name]
        stored = self._stored(name)
        assert stored is not None
        return self._read(stored)

    def _part(
        self, node: onnx.NodeProto, name: str, values: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        if node.op_type in _FROM_SHAPE:
            known = self._known[name]
            assert isinstance(known, Description)
            return np.broadcast_to(np.zeros((), np.int8), known.shape)
        return self._ready(name, values)

    def _evaluated(
        self, node: onnx.NodeProto, feeds: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """What ONNX's reference evaluation makes of one node."""
        plain, opset = _standard(node, self._opset())
        names = [name for name in plain.output if name]
        try:
            made = evaluated(plain, opset, names, feeds)
        except Exception as error:  # whatever the numbers of a damaged file lead to
            raise _NotComputedError(f"{node.op_type}: {_line(error)}") from None
        values = dict(zip(names, map(np.asarray, made), strict=True))
        self._small.update({n: array for n, array in values.items() if array.nbytes <= _SMALL})
        return values


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of an attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def attribute_tensors(node: onnx.NodeProto) -> list[TensorProto]:
    """The tensors that a node holds in its attributes."""
    return [
        tensor
        for entry in node.attribute
        for tensor in [*([entry.t] if entry.HasField("t") else []), *entry.tensors]
    ]


def dense(values: NDArray[Any], indices: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A sparse tensor with its zeros; `indices` count its elements, or are [values, rank].

    Raises ValueError or IndexError where the three do not fit.
    """
    size = float(np.prod(np.array(shape, np.float64))) * values.itemsize
    if size > _MAX_BYTES:
        raise ValueError(f"it would take {size:.3g} bytes")
    full = np.zeros(shape, values.dtype)
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    full.reshape(-1)[places] = values
    return full


def _checked(shape: tuple[int, ...], element_type: int) -> Description:
    if element_type not in _NUMBERS or min(shape, default=0) < 0:
        raise _NotComputedError("they are no numbers")
    return Description(shape, element_type)


_NUMBERS = frozenset(helper.get_all_tensor_dtypes()) - {TensorProto.STRING, TensorProto.UNDEFINED}


def _computable(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node. Raises _NotComputedError for one that makes something else each time, or may never
    end, or is nobody's standard."""
    kind = node.op_type
    if node.domain not in ("", "ai.onnx") and not _is_standard(node):
        raise _NotComputedError(f"{node.domain}.{kind} makes them")
    if kind in RANDOM or (kind == "Dropout" and len(node.input) > 2):
        raise _NotComputedError(f"{kind} makes them at random")
    if any(entry.HasField("g") or entry.graphs for entry in node.attribute):
        raise _NotComputedError(f"{kind} makes them, which may run its body never or often")
    if any(t.data_location == TensorProto.EXTERNAL for t in attribute_tensors(node)):
        raise _NotComputedError(f"an attribute of {kind} is in another file")
    return node


def _is_standard(node: onnx.NodeProto) -> bool:
    return node.domain == "com.microsoft" and node.op_type in _SINCE


def _standard(node: onnx.NodeProto, opset: int) -> tuple[onnx.NodeProto, int]:
    """The node as one of the standard's, and the version of the standard."""
    version = min(max(opset, _SINCE.get(node.op_type, 1)), onnx.defs.onnx_opset_version())
    if not node.domain:
        return node, version
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.domain = ""
    return plain, version


def _check_work(order: list[onnx.NodeProto], known: Mapping[str, Description | str]) -> None:
    """Raises _TooMuchError where computing these nodes takes too much memory or time."""
    work, looped = 0, 0
    for node in order:
        made = [_described(known, name) for name in node.output if name]
        taken = [_described(known, name) for name in node.input if name]
        largest = max(part.bytes for part in made)
        work += sum(part.bytes for part in made)
        if largest > _MAX_BYTES or work > _MAX_WORK:
            raise _TooMuchError(f"it would take {max(largest, work):.3g} bytes")
        if node.op_type in _PRODUCTS and _is_quick(made[0], taken[0]):
            continue
        if node.op_type not in _WHOLE:
            looped += sum(part.size for part in (*made, *taken))
        if looped > _MAX_LOOP:
            raise _TooMuchError(f"{node.op_type} of so many numbers would take too long")


def _described(known: Mapping[str, Description | str], name: str) -> Description:
    found = known.get(name)
    if not isinstance(found, Description):
        raise _NotComputedError(f"nobody knows the shape of {name!r}")
    return found


def _is_quick(product: Description, factor: Description) -> bool:
    """Whether numpy's matrix product is done by a library, and in a bounded time."""
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
    longest = max(factor.shape, default=1)
    return product.element_type in floats and product.size * longest <= _MAX_PRODUCT


def evaluated(
    node: onnx.NodeProto, opset: int, names: list[str], feeds: Mapping[str, NDArray[Any]]
) -> list[Any]:
    """What ONNX's reference evaluation makes of one operator of the standard, by output name.

    Raises whatever the evaluation of such numbers raises.
    """
    # Imports hundreds of modules, and most models compute nothing from their constants.
    from onnx.reference import ReferenceEvaluator

    untyped = onnx.TypeProto()
    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_value_info(name, untyped) for name in feeds],
        [helper.make_value_info(name, untyped) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(model).run(names, dict(feeds)))


def _line(error: Exception) -> str:
    """The first line of an error, and not all of a long one."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
