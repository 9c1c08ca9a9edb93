"""The tensors that a graph stores, in itself or in files beside it: found by name, and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ..errors import ModelError
from .constant_folding import Stored
from .external_weights import ELSEWHERE
from .nodes import attribute, attribute_tensors, graphs_within

__all__ = ["StoredTensors", "all_stored", "initializers"]

Initializer = onnx.TensorProto | onnx.SparseTensorProto

_MAX_BYTES = 2**32  # of one tensor


def initializers(graph: onnx.GraphProto) -> dict[str, Initializer]:
    """The initializers of a graph, by name."""
    sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
    return sparse | {tensor.name: tensor for tensor in graph.initializer}


class StoredTensors:
    """Initializers and Constant nodes of one graph, by name.

    `weights` are the numbers that were moved out of it, by name, `folder` is where external data
    lies, `source` what to call the model in messages.
    """

    def __init__(
        self,
        by_name: Mapping[str, Initializer],
        producers: Mapping[str, onnx.NodeProto],
        source: str,
        folder: Path | None = None,
        weights: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.by_name = by_name
        self._producers = producers
        self._source = source
        self._folder = folder
        self._weights = weights or {}

    def find(self, name: str) -> Stored | None:
        """What an initializer or a Constant node of this name holds."""
        stored = self.by_name.get(name)
        node = self._producers.get(name) if stored is None else None
        if node is None or node.op_type != "Constant":
            return stored
        value = attribute(node, "value", attribute(node, "sparse_value", None))
        return _numbers(node) if value is None else value

    def read(self, stored: Stored) -> NDArray[Any]:
        """Its numbers, in the type that they are stored in. Raises ModelError where they cannot be
        read."""
        if isinstance(stored, np.ndarray):
            return stored
        if isinstance(stored, onnx.SparseTensorProto):
            return self._dense(stored)
        if self.holds(stored):
            return self._weights[stored.name]
        if stored.data_location == onnx.TensorProto.EXTERNAL:
            self.check_location(stored)
        try:
            return np.asarray(numpy_helper.to_array(stored, str(self._folder or "")))
        except Exception as error:  # of many types, and from C++
            raise ModelError(
                f"{self._source}: the data of tensor {stored.name!r} cannot be read: {error}"
            ) from None

    def holds(self, tensor: onnx.TensorProto) -> bool:
        """Whether the numbers of a tensor were moved out of the graph."""
        places = [entry.value for entry in tensor.external_data]
        return tensor.name in self._weights and places == [ELSEWHERE]

    def check_location(self, tensor: onnx.TensorProto) -> None:
        """Raises ModelError where a tensor's external data is not in the model's own folder."""
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        path = PurePosixPath(str(location).replace("\\", "/"))
        if self._folder is None:
            raise ModelError(
                f"{self._source}: the data of tensor {tensor.name!r} is in another file, "
                f"{location!r}; give the path of the model, not its content"
            )
        try:
            inside = (self._folder / path).resolve().is_relative_to(self._folder.resolve())
        except (OSError, ValueError, RuntimeError):  # not a file name, as with a NUL byte in it
            inside = False
        if not location or path.is_absolute() or ".." in path.parts or not inside:
            raise ModelError(
                f"{self._source}: tensor {tensor.name!r} asks for the file {location!r}, which is "
                "outside the model's folder or not a file name; it is not opened"
            )

    def _dense(self, tensor: onnx.SparseTensorProto) -> NDArray[Any]:
        values, indices = self.read(tensor.values), self.read(tensor.indices)
        try:
            return _with_zeros(values, indices, tuple(tensor.dims))
        except (ValueError, IndexError, TypeError) as error:
            raise ModelError(
                f"{self._source}: constant {tensor.values.name!r} is damaged: {error}"
            ) from None


def all_stored(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All tensors that a graph stores: initializers and attributes, also those of its bodies."""
    for part in graphs_within(graph):
        yield from part.initializer
        for sparse in part.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in part.node:
            yield from attribute_tensors(node)


def _with_zeros(
    values: NDArray[Any], indices: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
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


def _numbers(node: onnx.NodeProto) -> NDArray[Any] | None:
    """The numbers that a Constant node holds in an attribute of its own, without a tensor."""
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        value = attribute(node, name, None)
        if value is not None:
            return np.asarray(value, np.int64 if "int" in name else np.float32)
    return None
