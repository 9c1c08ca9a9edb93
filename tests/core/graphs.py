"""Small ONNX models, written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSETS = (7, 8, 9, 10, 11, 12, 13, 17, 18, 20, 21)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    weights: Mapping[str, NDArray] | None = None,
    opset: int = 18,
    element_type: int = TensorProto.FLOAT,
    domains: Sequence[str] = (),
) -> bytes:
    """A serialized model; its outputs have no declared shape."""
    stored = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, element_type, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element_type, None) for name in outputs],
        stored,
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=4 if opset < 13 else 8)
    return made.SerializeToString()


def node(operator: str, inputs: str, outputs: str, **attributes) -> onnx.NodeProto:
    """A node, its inputs and outputs as names with spaces between them; "-" is left empty."""
    domain = attributes.pop("domain", "")
    names = [name.replace("-", "") for name in inputs.split(" ") if name]
    return helper.make_node(operator, names, outputs.split(), domain=domain, **attributes)


def passing(rank: int, channels: int, opset: int = 18, relu: bool = True) -> bytes:
    """A layer "layer" that puts out its input as it is, [N, D, *map]; a ReLU; a layer "last".

    Rank 2 is a Gemm, the others a convolution with a kernel of 1.
    """
    kernel = [1] * (rank - 2)
    eye = np.eye(channels, dtype=np.float32)
    sides = [f"side{i}" for i in range(rank - 2)]
    operator = "Gemm" if rank == 2 else "Conv"
    bias = np.zeros(channels, np.float32)
    weights = {"layer.weight": eye.reshape(channels, channels, *kernel), "layer.bias": bias}
    weights["last.weight"] = weights["layer.weight"]
    nodes = [
        node(operator, "x layer.weight layer.bias", "layer_out"),
        node("Relu" if relu else "Tanh", "layer_out", "active"),
        node(operator, "active last.weight layer.bias", "y"),
    ]
    return model(nodes, {"x": ["n", channels, *sides]}, ["y"], weights, opset)


def whole(content: bytes, weights: Mapping[str, NDArray]) -> onnx.ModelProto:
    """A model put together again from its bytes and the numbers of its large weights."""
    proto = onnx.ModelProto.FromString(content)
    for tensor in proto.graph.initializer:
        if tensor.name in weights and tensor.external_data:
            tensor.raw_data = weights[tensor.name].tobytes()
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    return proto


def random(shape: Sequence[int], scale: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=tuple(shape)) * scale
    return values.astype(np.float32)
