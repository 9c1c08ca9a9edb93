"""Weights beside a model's bytes: the same model, and nothing lost."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.core import graphs

from sparsight.graph.external_weights import moved_out
from sparsight.graph.instrument import instrument
from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps
from sparsight.inference.runtime import Program, Session

node = graphs.node
LARGE = graphs.random((256, 192))


def apart(content):
    proto = onnx.ModelProto.FromString(content)
    weights = moved_out(proto.graph)
    return proto.SerializeToString(), weights


def outputs(content, weights, feeds):
    return Session(Program(content, weights), "cpu").run(["y"], feeds, "")[0]


@pytest.mark.parametrize("opset", [7, 13, 18])
def test_the_model_is_the_same(opset):
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "y")]
    small = graphs.random((192,))
    content = graphs.model(nodes, {"x": ["n", 256]}, ["y"], {"w": LARGE, "b": small}, opset)
    model = open_model(content)
    light, weights = apart(content)
    assert set(weights) == {"w"}
    np.testing.assert_array_equal(weights["w"], LARGE)
    assert len(light) < len(content) - LARGE.nbytes + 200
    assert model.content == light
    feeds = {"x": graphs.random((3, 256))}
    np.testing.assert_array_equal(outputs(light, weights, feeds), outputs(content, {}, feeds))


def test_a_changed_weight_is_another_model():
    content = graphs.model([node("MatMul", "x w", "y")], {"x": ["n", 256]}, ["y"], {"w": LARGE})
    light, weights = apart(content)
    feeds = {"x": graphs.random((3, 256))}
    other = {"w": weights["w"] + 1}
    assert not np.allclose(outputs(light, other, feeds), outputs(content, {}, feeds))


def test_weights_that_are_inputs_too():
    """As before IR version 4, where all of them had to be."""
    content = graphs.model([node("MatMul", "x w", "y")], {"x": ["n", 256]}, ["y"], {"w": LARGE}, 8)
    proto = onnx.ModelProto.FromString(content)
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, LARGE.shape))
    light, weights = apart(proto.SerializeToString())
    assert set(weights) == {"w"}
    feeds = {"x": graphs.random((3, 256))}
    wanted = outputs(proto.SerializeToString(), {}, feeds)
    np.testing.assert_array_equal(outputs(light, weights, feeds), wanted)


def test_everything_else_is_kept():
    content = graphs.model([node("MatMul", "x w", "y")], {"x": ["n", 256]}, ["y"], {"w": LARGE})
    proto = onnx.ModelProto.FromString(content)
    proto.producer_name, proto.model_version = "somebody", 7
    proto.metadata_props.add(key="a", value="b")
    proto.graph.doc_string = "what it is"
    proto.graph.value_info.append(helper.make_tensor_value_info("y", 1, ["n", 192]))
    light, _ = apart(proto.SerializeToString())
    found = onnx.ModelProto.FromString(light)
    del found.graph.initializer[:], proto.graph.initializer[:]
    assert found == proto


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64"]
)
def test_numbers_of_any_type(dtype):
    array = (LARGE * 50).astype(dtype)
    content = graphs.model(
        [node("Gather", "w x", "y")], {"x": ["n"]}, ["y"], {"w": array}, 18, TensorProto.INT64
    )
    proto = onnx.ModelProto.FromString(content)
    proto.graph.output[0].type.tensor_type.elem_type = proto.graph.initializer[0].data_type
    light, weights = apart(proto.SerializeToString())
    assert set(weights) == ({"w"} if array.nbytes >= 2**16 else set())
    feeds = {"x": np.array([5, 0, 255])}
    np.testing.assert_array_equal(outputs(light, weights, feeds), array[[5, 0, 255]])


def test_what_stays_in_the_bytes():
    """Small, damaged, typed and packed numbers: what becomes of them is ONNX Runtime's affair."""
    typed = helper.make_tensor("typed", TensorProto.FLOAT, LARGE.shape, LARGE.ravel())
    short = numpy_helper.from_array(LARGE, "short")
    short.raw_data = short.raw_data[:-4]
    negative = numpy_helper.from_array(LARGE, "negative")
    negative.dims[:] = [-1, LARGE.size]
    packed = onnx.TensorProto(name="packed", data_type=TensorProto.UINT4, dims=[2**18])
    packed.raw_data = bytes(2**17)
    nodes = [node("MatMul", "x w", "y")]
    proto = onnx.ModelProto.FromString(graphs.model(nodes, {"x": ["n", 2]}, ["y"]))
    proto.graph.initializer.extend([typed, short, negative, packed])
    content = proto.SerializeToString()
    light, weights = apart(content)
    assert weights == {}
    assert light == content


def test_instrumented_models_are_light_too():
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "y")]
    content = graphs.model(nodes, {"x": ["n", 256]}, ["y"], {"w": LARGE})
    model = open_model(content)
    made = instrument(model, find_taps(model).taps)
    assert made.content == model.content + made.chains
    assert len(made.content) < LARGE.nbytes


def test_put_together_it_is_the_same():
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a v", "y")]
    names = {"w": LARGE, "v": graphs.random((192, 100))}
    proto = onnx.ModelProto.FromString(graphs.model(nodes, {"x": ["n", 256]}, ["y"], names))
    light, weights = apart(proto.SerializeToString())
    assert set(weights) == {"w", "v"}
    assert graphs.whole(light, weights) == proto
    model = open_model(proto)
    assert proto.graph.initializer[0].raw_data  # what was given stays as it is
    for name, array in names.items():
        np.testing.assert_array_equal(model.constant(name), array)
        assert model.shape_of(name) == array.shape


def test_a_tensor_of_the_same_name_elsewhere_keeps_its_own_numbers():
    inner = numpy_helper.from_array(np.ones(3, np.float32), "w")
    nodes = [node("MatMul", "x w", "a"), node("Constant", "", "c", value=inner)]
    nodes += [node("Gemm", "a v c", "y")]
    names = {"w": LARGE, "v": graphs.random((192, 3))}
    model = open_model(graphs.model(nodes, {"x": ["n", 256]}, ["y"], names))
    assert set(model.weights) == {"w"}
    np.testing.assert_array_equal(model.constant("c"), np.ones(3))


def test_operators_that_get_names_of_their_own():
    nodes = [node("MatMul", "x w", "a", name="n"), node("Relu", "a", "y", name="n")]
    content = graphs.model(nodes, {"x": ["n", 256]}, ["y"], {"w": LARGE})
    model = open_model(content)
    assert set(model.weights) == {"w"}
    assert len({each.name for each in model.graph.node}) == 2
    np.testing.assert_array_equal(model.constant("w"), LARGE)
    feeds = {"x": graphs.random((3, 256))}
    wanted = np.maximum(feeds["x"] @ LARGE, 0)
    np.testing.assert_allclose(outputs(model.content, model.weights, feeds), wanted, atol=1e-4)
