"""Constants that operators make, against ONNX Runtime; and what is not computed, and why."""

import io

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.core import graphs, reference

from sparsight.errors import ModelError
from sparsight.graph.model import open_model
from sparsight.graph.reference_evaluation import TooMuchError
from sparsight.graph.taps import filters, find_taps

node, random = graphs.node, graphs.random
MS = "com.microsoft"
W = random((4, 6), seed=1)
Q = np.clip(np.rint(W * 40), -127, 127).astype(np.int8)
STORED = {
    "w": W,
    "wt": W.T.copy(),
    "q": Q,
    "q16": Q.astype(np.int16),
    "s": np.abs(random((6,), seed=2)) + np.float32(0.5),
    "one": np.float32(0.02),
    "rows": np.array([0, 2, 1, 3]),
    "down": random((4, 2), seed=3),
    "up": random((2, 6), seed=4),
    "axes": np.array([0]),
    "shape": np.array([6, 4]),
    "wide": random((4, 12), seed=5),
    "zero": np.int16(3),
    "mask": np.tile([True, False, True], 8).reshape(4, 6),
}
SCALED = [node("Cast", "q", "f", to=1), node("Mul", "f s", "c")]
NORM = [node("ReduceL2", "w axes", "n"), node("Div", "w n", "d"), node("Mul", "s d", "c")]

MADE = {
    "integers and their scales": SCALED,
    "weight norm": NORM,
    "a low rank added": [node("MatMul", "down up", "m"), node("Add", "m w", "c")],
    "a part": [node("Split", "wide", "c rest", axis=1, num_outputs=2)],
    "two together": [node("Concat", "down up4", "c", axis=1)],
    "a mask": [node("Where", "mask w one", "c")],
    "rows in another order": [node("Gather", "w rows", "c")],
    "a shape of a constant": [node("Shape", "w", "sh"), node("Reshape", "wt sh", "c")],
    "computed twice": [node("Add", "w w", "d"), node("Mul", "d d", "e"), node("Sub", "e d", "c")],
    "ONNX Runtime's DequantizeLinear": [node("DequantizeLinear", "q16 one zero", "c", domain=MS)],
}
STORED["up4"] = random((4, 4), seed=6)


@pytest.mark.parametrize("name", MADE)
def test_weights_that_operators_make(name):
    nodes = [*MADE[name], node("MatMul", "x c", "y")]
    used = {part: STORED[part] for made in nodes for part in made.input if part in STORED}
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], used, domains=(MS,))
    model = open_model(content)
    (tap,) = find_taps(model).taps
    (wanted,) = reference.tensors_of(content, {"x": np.eye(4, dtype=np.float32)}, "y")
    assert tap.weight_shape == wanted.shape
    np.testing.assert_allclose(filters(model, tap), wanted.T, rtol=1e-5, atol=1e-6)


UNARY = ["Abs", "Neg", "Identity", "Exp", "Tanh", "Relu", "Sqrt"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max"]


@st.composite
def expressions(draw):
    """Values made of a weight and of each other, in any order: shared parts included."""
    values, nodes = ["w"], []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from([*UNARY, *BINARY]))
        parts = [draw(st.sampled_from(values)) for _ in range(1 if kind in UNARY else 2)]
        nodes.append(node(kind, " ".join(parts), f"v{number}"))
        values.append(f"v{number}")
    return [*nodes, node("MatMul", f"x {values[-1]}", "y")]


@settings(max_examples=40, deadline=None)
@given(expressions())
def test_any_expression_of_constants(nodes):
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], {"w": W})
    model = open_model(content)
    (wanted,) = reference.tensors_of(content, {"x": np.eye(4, dtype=np.float32)}, "y")
    name = nodes[-1].input[1]
    assert model.shape_of(name) == (4, 6)
    found = model.constant(name)
    if np.isfinite(wanted).all():
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_shapes_are_found_without_the_numbers(tmp_path):
    """The file of the numbers is not there: who reads them fails."""
    big = random((300, 400))
    nodes = [
        node("ReduceL2", "v axes", "n"),
        node("Div", "v n", "d"),
        node("Mul", "d g", "c"),
        node("Shape", "c", "sh"),
        node("Reshape", "flat sh", "r"),
        node("MatMul", "x r", "h"),
        node("MatMul", "h t", "y"),
        node("Transpose", "c", "t"),
    ]
    weights = {"v": big, "g": random((1, 400)), "flat": random((120_000,)), "axes": np.array([0])}
    proto = onnx.ModelProto.FromString(graphs.model(nodes, {"x": ["n", 300]}, ["y"], weights))
    onnx.save_model(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=1000
    )
    (tmp_path / "w").unlink()
    model = open_model(tmp_path / "m.onnx")
    assert [tap.weight_shape for tap in find_taps(model).taps] == [(300, 400), (400, 300)]
    assert model.origin("t") == "v"
    with pytest.raises(ModelError, match="cannot be read"):
        model.constant("t")


def test_origin_and_type():
    nodes = [*SCALED, node("Cast", "c", "h", to=TensorProto.FLOAT16), node("MatMul", "x h", "y")]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], {"q": Q, "s": STORED["s"]})
    model = open_model(content)
    assert model.origin("h") == "q"
    assert model.element_type("h") == TensorProto.FLOAT16
    assert model.element_type("q") == TensorProto.INT8
    assert model.shape_of("x") is model.shape_of("y") is model.constant("y") is None


BODY = helper.make_graph(
    [node("Identity", "again", "more"), node("Neg", "before", "after")],
    "body",
    [
        helper.make_tensor_value_info("number", TensorProto.INT64, []),
        helper.make_tensor_value_info("again", TensorProto.BOOL, []),
        helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
    ],
    [
        helper.make_tensor_value_info("more", TensorProto.BOOL, []),
        helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
    ],
)
REFUSED = {
    "they are random numbers of RandomNormal": [node("RandomNormal", "", "c", shape=[4, 6])],
    "they are random numbers of Dropout": [node("Dropout", "w ratio yes", "c")],
    "computed by Loop, whose body may run": [node("Loop", "count yes w", "c", body=BODY)],
    "they are computed by elsewhere.Magic": [node("Magic", "w", "c", domain="elsewhere")],
    "they depend on themselves": [node("Add", "w d", "c"), node("Neg", "c", "d")],
    "on too many operators": [
        node("Neg", "w" if i == 0 else f"n{i - 1}", "c" if i == 4999 else f"n{i}")
        for i in range(5000)
    ],
    "no operator computes 'nowhere'": [node("Add", "w nowhere", "c")],
    "Transpose: ": [node("Transpose", "w", "c", perm=[0, 5])],
    "output shape of NonZero is unknown": [node("NonZero", "w", "c")],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_computed_says_why(reason):
    stored = {"w": W, "ratio": np.float32(0.5), "yes": np.array(True), "count": np.array(3)}
    nodes = [*REFUSED[reason], node("MatMul", "x c", "y")]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], stored, domains=("elsewhere",))
    found = find_taps(open_model(content))
    assert not found.taps
    (left,) = [part for part in found.left_out if part.operator == "MatMul"]
    assert left.reason.startswith("its weights are unknown: ")
    assert reason in left.reason


LARGE = {
    "bytes": [
        node("Expand", "one huge", "e"),
        node("Slice", "e from to", "c"),
    ],
    "too long": [  # evaluated number by number
        node("Expand", "one large", "e"),
        node("Resize", "e - ones", "r", mode="linear"),
        node("Slice", "r from to", "c"),
    ],
    "too long ": [node("Expand", "one deep", "e"), node("MatMul", "e e", "m"),
                  node("Slice", "m from to", "c")],
}  # fmt: skip


@pytest.mark.parametrize("words", LARGE)
def test_what_would_take_too_much_is_not_computed(words):
    stored = {
        "one": np.ones((1, 1), np.float32),
        "huge": np.array([2**20, 2**20]),
        "large": np.array([2**12, 2**12]),
        "deep": np.array([2**13, 2**13]),
        "from": np.array([0, 0]),
        "to": np.array([4, 6]),
        "ones": np.ones(2, np.float32),
    }
    nodes = [*LARGE[words], node("MatMul", "x c", "y")]
    model = open_model(graphs.model(nodes, {"x": ["n", 4]}, ["y"], stored))
    (tap,) = find_taps(model).taps
    assert tap.weight_shape == (4, 6)
    assert filters(model, tap) is None  # measured all the same, without correlations
    with pytest.raises(TooMuchError, match=words.strip()):
        model.constants._computed("c")


def test_no_attribute_reads_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.ones(1, np.float32).tofile("secret.bin")
    value = numpy_helper.from_array(np.ones(1, np.float32))
    value.ClearField("raw_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="secret.bin")
    nodes = [node("ConstantOfShape", "shape", "c", value=value), node("MatMul", "x c", "y")]
    content = graphs.model(nodes, {"x": ["n", 6]}, ["y"], {"shape": np.array([6, 4])})
    (tmp_path / "m.onnx").write_bytes(content)
    (left,) = find_taps(open_model(tmp_path / "m.onnx")).left_out
    assert "in another file" in left.reason


class Normalised(torch.nn.Module):
    def __init__(self, weight_norm):
        super().__init__()
        self.conv = weight_norm(torch.nn.Conv2d(3, 8, 3))
        self.fc = weight_norm(torch.nn.Linear(8, 5))

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["weight_norm", "parametrizations.weight_norm"])
def test_weight_norm_of_pytorch(name):
    function = torch.nn.utils.weight_norm
    if "." in name:
        function = torch.nn.utils.parametrizations.weight_norm
    net, file = Normalised(function).eval(), io.BytesIO()
    images = torch.randn(2, 3, 8, 8)
    torch.onnx.export(net, (images,), file, dynamo=False, do_constant_folding=False)
    model = open_model(file.getvalue())
    taps = find_taps(model).taps
    assert [tap.name for tap in taps] == ["conv", "fc"]
    for tap in taps:
        wanted = getattr(net, tap.name).weight.detach().numpy()
        np.testing.assert_allclose(filters(model, tap), wanted, rtol=1e-5, atol=1e-6)
