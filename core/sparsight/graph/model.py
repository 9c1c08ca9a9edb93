"""An ONNX model as it was given: read once, indexed, never changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import ModelError
from .branches import inline_branches
from .constant_folding import Constants
from .external_weights import moved_out
from .layer_names import unique
from .local_functions import check_expansion
from .nodes import captured, graphs_within, standard_opset
from .shape_inference import SMALL, Shape, Sides, elements, infer_shapes
from .stored_tensors import StoredTensors, all_stored, initializers

__all__ = ["Model", "Shape", "open_model", "with_known"]

_PER_BYTE = 8  # no element type has more numbers in a byte


@dataclass(frozen=True)
class Model:
    """A parsed model with its indexes: who makes each value, who uses it, which are constant."""

    proto: onnx.ModelProto
    content: bytes
    """The serialized model, without the numbers in `weights`."""
    source: str
    """What to call it in messages."""
    folder: Path | None = None
    """Where its external data lies."""
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    """The numbers of its large weights, by name; `proto` is without them too."""

    @property
    def graph(self) -> onnx.GraphProto:
        """The main graph."""
        return self.proto.graph

    @cached_property
    def opset(self) -> int:
        """Version of the standard operators. Raises ModelError where the model imports none."""
        version = standard_opset(self.proto)
        if version is None:
            raise ModelError(f"{self.source} imports no version of the standard ONNX operators")
        return version

    @cached_property
    def stored(self) -> StoredTensors:
        """The tensors that the graph stores."""
        by_name = initializers(self.graph)
        return StoredTensors(by_name, self.producers, self.source, self.folder, self.weights)

    @cached_property
    def inputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """The inputs that a caller must feed."""
        return tuple(value for value in self.graph.input if value.name not in self.stored.by_name)

    @cached_property
    def producers(self) -> Mapping[str, onnx.NodeProto]:
        """The node that makes each value, by the value's name."""
        return {output: node for node in self.graph.node for output in node.output if output}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[onnx.NodeProto, ...]]:
        """The nodes that read each value; bodies of If, Loop and Scan read what they capture."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in dict.fromkeys([*filter(None, node.input), *captured(node)]):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def reached(self) -> frozenset[str]:
        """The values that an input changes, and the inputs."""
        queue = [value.name for value in self.inputs]
        found = set(queue)
        while queue:
            for node in self.consumers.get(queue.pop(), ()):
                made = set(node.output) - found
                found |= made
                queue += made
        return frozenset(found)

    @cached_property
    def constants(self) -> Constants:
        """The values that no input changes."""
        stored = self.stored
        return Constants(self.producers, self.reached, stored.find, stored.read, lambda: self.opset)

    def shape_of(self, name: str) -> Shape | None:
        """Shape of a constant, or None where the value is not one; does not read the weights."""
        known = self.constants.description(name)
        return None if known is None else known.shape

    def constant(self, name: str) -> NDArray[Any] | None:
        """A value that no input changes, in a type that numpy computes with, or None.

        What is stored, and what operators make of it; None where that would take too much memory or
        time. Raises ModelError where it cannot be read or computed.
        """
        try:
            array = self.constants.value(name)
        except ValueError as error:
            raise ModelError(f"{self.source}: {error}") from None
        return None if array is None else _plain(array)

    def origin(self, name: str) -> str:
        """Name of the stored constant that a constant value is derived from."""
        return self.constants.origin(name)

    def element_type(self, name: str) -> int | None:
        """ONNX element type of a constant, or None where it is not known."""
        known = self.constants.description(name)
        return None if known is None else known.element_type

    @cached_property
    def inferred(self) -> Mapping[str, Sides]:
        """Shapes of values, as far as ONNX's shape inference finds them. The weights are not
        read."""
        return self.inferred_with({})

    def inferred_with(self, inputs: Mapping[str, Shape]) -> Mapping[str, Sides]:
        """`inferred`, for inputs of these shapes; what the model says of other values is ignored
        where any is given."""
        return infer_shapes(self.proto, inputs, self._small_constant)

    def _small_constant(self, name: str) -> NDArray[Any] | None:
        shape = self.shape_of(name)
        return None if shape is None or math.prod(shape) > SMALL else self.constant(name)


def open_model(source: str | Path | bytes | onnx.ModelProto) -> Model:
    """Read a model from a file, from its bytes, or from a ModelProto (which stays as it is).

    External data is read when it is needed, and only from the file's own folder. Raises ModelError
    for a file that is not there or is no ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return _parse(source.SerializeToString(), "the model", None)
    if isinstance(source, bytes):
        return _parse(source, "the model", None)
    path = Path(source)
    return _parse(_read(path), str(path), path.parent)


def with_known(model: Model, inputs: Mapping[str, NDArray[Any]]) -> Model:
    """The model with the branches that run where these inputs are the same for all probes."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    if not inline_branches(proto, inputs):
        return model
    _distinguish(proto)
    weights = {**model.weights, **moved_out(proto.graph)}
    known = Model(proto, proto.SerializeToString(), model.source, model.folder, weights)
    _check(known)
    return known


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"no such file: {path}") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from None


def _parse(content: bytes, source: str, folder: Path | None) -> Model:
    if content[4:8] == b"ORTM":
        raise ModelError(
            f"{source} is in ONNX Runtime's own format; give the .onnx file it was made from"
        )
    proto = _proto(content, source)
    if not proto.graph.node or not proto.opset_import:
        raise ModelError(f"{source} is not an ONNX model: it holds no operators")
    if proto.functions:
        check_expansion(proto, source)
        proto, content = _inlined(proto, source)
    changed = inline_branches(proto, {})
    renamed, weights = _distinguish(proto), moved_out(proto.graph)
    if changed or renamed or weights:
        content = proto.SerializeToString()
        proto = _proto(content, source)  # a message holds on to the memory of what it gave away
    model = Model(proto, content, source, folder, weights)
    _check(model)
    return model


def _proto(content: bytes, source: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{source} is not an ONNX file, or it is cut short") from None
    return proto


def _inlined(proto: onnx.ModelProto, source: str) -> tuple[onnx.ModelProto, bytes]:
    """The model with its own functions written out, as ONNX Runtime runs it."""
    try:
        plain = onnx.inliner.inline_local_functions(proto)
        return plain, plain.SerializeToString()
    except Exception as error:  # of many types, from C++
        raise ModelError(f"{source}: its functions cannot be expanded: {error}") from None


def _distinguish(proto: onnx.ModelProto) -> bool:
    """Give operators of one name, which ONNX Runtime refuses, names of their own; whether any."""
    changed = False
    for graph in graphs_within(proto.graph):
        named = [node for node in graph.node if node.name and isinstance(node.name, str)]
        names = unique(node.name for node in named)
        for node, name in zip(named, names, strict=True):
            if node.name != name:
                node.name, changed = name, True
    return changed


def _check(model: Model) -> None:
    """Raises ModelError for what would make nonsense, or worse, of what is done with the model."""
    if not model.graph.output:
        raise ModelError(f"{model.source} is damaged: its graph has no output")
    for graph in graphs_within(model.graph):
        if not all(map(_is_sound, graph.node)) or not all(map(_is_named, _values(graph))):
            raise ModelError(f"{model.source} is damaged: an operator or a value has no name")
    for tensor in all_stored(model.graph):
        if model.stored.holds(tensor):
            continue
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            model.stored.check_location(tensor)
        elif elements(tensor) > _PER_BYTE * tensor.ByteSize():
            raise ModelError(
                f"{model.source} is damaged: tensor {tensor.name!r} is declared with the "
                f"shape {list(tensor.dims)}, but holds {tensor.ByteSize()} bytes"
            )


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto | onnx.TensorProto]:
    for values in (graph.input, graph.output, graph.initializer):
        yield from values


def _is_sound(node: onnx.NodeProto) -> bool:
    """Whether a node makes something, and its names are text: protobuf hands on other bytes."""
    names = [*node.input, *node.output, node.op_type, node.name, node.domain]
    return any(node.output) and all(isinstance(name, str) for name in names)


def _is_named(value: onnx.ValueInfoProto | onnx.TensorProto) -> bool:
    return isinstance(value.name, str)


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """float32 for the numbers that numpy has no type for."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array
