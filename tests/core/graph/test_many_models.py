"""The light models that the onnx package ships, and small graphs by chance."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import graphs
from tests.core.agreement import assert_agreement

from sparsight.graph.model import open_model

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
LIGHT = [path for path in LIGHT if "vgg19" not in path.name]  # AlexNet's operators, at 570 MB
node = graphs.node


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models(path):
    """Opset 9; weights in ConstantOfShape nodes, which are made random here: with constant ones
    every entropy is ln D."""
    proto = onnx.load(path)
    random = np.random.default_rng(0)
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    kept = []
    for made in proto.graph.node:
        shape = shapes.get(made.input[0]) if made.op_type == "ConstantOfShape" else None
        if shape is None:
            kept.append(made)
            continue
        if len(shape) == 1:  # biases, and what batch normalisation takes: variances as well
            values = random.uniform(0.5, 1.5, shape)
        else:
            values = random.standard_normal(shape, np.float32) / np.float32(
                np.sqrt(np.prod(shape[1:]))
            )
        stored = onnx.numpy_helper.from_array(values.astype(np.float32), made.output[0])
        proto.graph.initializer.append(stored)
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    model = open_model(proto)
    (value,) = model.inputs
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
    probes = graphs.random(sides, seed=1)
    assert assert_agreement(model, {value.name: probes}, samples=20) > 5


@st.composite
def networks(draw):
    """A chain of layers with activations, batch normalisation and sums between them."""
    rank = draw(st.sampled_from([3, 4, 5]))
    channels = draw(st.integers(1, 6))
    weights, nodes, value = {}, [], "x"
    kernel = [1] * (rank - 2)
    for number in range(draw(st.integers(1, 4))):
        name, out = f"t{number}", draw(st.integers(1, 9))
        kind = draw(st.sampled_from(["Conv", "ConvTranspose", "MatMul"]))
        if kind == "MatMul":
            weights[f"w{number}"] = graphs.random((channels, out), seed=number)
            last = [0, *range(2, rank), 1]
            first = [0, rank - 1, *range(1, rank - 1)]
            nodes.append(node("Transpose", value, f"{name}l", perm=last))
            nodes.append(node("MatMul", f"{name}l w{number}", f"{name}m"))
            nodes.append(node("Transpose", f"{name}m", name, perm=first))
        else:
            size = draw(st.sampled_from([1, 2, 3]))
            shape = (out, channels) if kind == "Conv" else (channels, out)
            weights[f"w{number}"] = graphs.random((*shape, *[size] * (rank - 2)), seed=number)
            pads = [size // 2] * 2 * (rank - 2)
            nodes.append(node(kind, f"{value} w{number}", name, pads=pads))
        value, channels = name, out
        after = draw(st.sampled_from(["", "Relu", "Tanh", "BatchNormalization", "Add"]))
        if after == "BatchNormalization":
            for part in "sbmv":
                array = np.abs(graphs.random((channels,), seed=number)) + 0.5
                weights[f"{part}{number}"] = array.astype(np.float32)
            parts = " ".join(f"{part}{number}" for part in "sbmv")
            nodes.append(node(after, f"{value} {parts}", f"{value}n"))
        elif after == "Add":
            weights[f"a{number}"] = graphs.random((1, channels, *kernel), seed=number)
            nodes.append(node(after, f"{value} a{number}", f"{value}n"))
        elif after:
            nodes.append(node(after, value, f"{value}n"))
        value += "n" * bool(after)
    nodes.append(node("Identity", value, "y"))
    opset = draw(st.sampled_from([9, 11, 13, 17, 20]))
    # a ConvTranspose takes away 1 of a side at most, and there are at most 4
    sides = [draw(st.integers(5, 6)) for _ in range(rank - 2)]
    first = next(iter(weights.values()))
    wanted = (
        first.shape[0] if nodes[0].op_type in ("ConvTranspose", "Transpose") else first.shape[1]
    )
    declared = sides if draw(st.booleans()) else [f"s{axis}" for axis in range(rank - 2)]
    content = graphs.model(nodes, {"x": ["n", wanted, *declared]}, ["y"], weights, opset)
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    return content, graphs.random((draw(st.integers(1, 3)), wanted, *sides), scale)


@settings(max_examples=60)
@given(networks())
def test_graphs_by_chance(network):
    content, values = network
    assert assert_agreement(open_model(content), {"x": values}, samples=20) >= 1
