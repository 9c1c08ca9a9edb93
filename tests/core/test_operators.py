"""Every operator against a float64 loop over the tensor that ONNX Runtime itself puts out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from tests.core import graphs, reference

from sparsight.instrument import instrument
from sparsight.model import open_model
from sparsight.session import TapSession
from sparsight.taps import filters, find_taps

node, random = graphs.node, graphs.random


@dataclass(frozen=True)
class Case:
    """A graph whose only layer is to be measured at `tensor`."""

    nodes: list
    weights: dict
    shape: tuple = (3, 4, 9, 9)
    """Of the input "x"."""
    tensor: str = "y"
    axis: int = 1
    opset: int = 18
    tapped_at: str = "linear output"
    scale: tuple[float, int] = (1.0, 0)
    """Scale and zero point of a quantised tensor."""
    domains: tuple = ()
    filters: object = None
    relu: str | None = None
    extra: dict = field(default_factory=dict)


def conv(rank: int, weights, shape, **attributes) -> Case:
    inputs = {"w": weights, "b": random((weights.shape[0],), seed=7)}
    return Case([node("Conv", "x w b", "y", **attributes)], inputs, shape, filters=weights)


def transposed(weights, shape, **attributes) -> Case:
    made = node("ConvTranspose", "x w", "y", **attributes)
    groups = attributes.get("group", 1)
    per_group = weights.shape[0] // groups
    wanted = [
        weights[group * per_group : (group + 1) * per_group, channel]
        for group in range(groups)
        for channel in range(weights.shape[1])
    ]
    stacked = np.stack(wanted)
    return Case([made], {"w": weights}, shape, filters=stacked.reshape(len(stacked), -1))


def quantised(values, low=-127):
    scale = np.float32(np.abs(values).max() / 127)
    return np.clip(np.rint(values / scale), low, 127).astype(np.int8), scale


W2 = random((4, 6), seed=1)
W4 = random((6, 4, 3, 3), seed=2) / 3
Q2, S2 = quantised(W2)
Q4, S4 = quantised(W4)
CHANNEL_SCALES = (np.abs(W4).max(axis=(1, 2, 3)) / 127).astype(np.float32)
Q4C = np.rint(W4 / CHANNEL_SCALES[:, None, None, None]).astype(np.int8)
U8 = np.uint8

QUANTISE = node("QuantizeLinear", "x xs xz", "xq")
X_SCALE = {"xs": np.float32(0.05), "xz": U8(128)}
Y_SCALE = {"ys": np.float32(0.1), "yz": U8(120)}
MS = "com.microsoft"

CASES = {
    "conv 1-D": conv(3, random((6, 4, 3)), (3, 4, 9)),
    "conv 2-D": conv(4, random((6, 4, 3, 2)), (3, 4, 9, 8), pads=[1, 1, 1, 1]),
    "conv 3-D": conv(5, random((5, 2, 2, 2, 2)), (3, 2, 5, 4, 3)),
    "conv grouped": conv(4, random((6, 2, 3, 3)), (3, 4, 7, 7), group=2),
    "conv depthwise": conv(4, random((4, 1, 3, 3)), (3, 4, 7, 7), group=4),
    "conv dilated, strided": conv(
        4, random((6, 4, 3, 3)), (3, 4, 9, 9), dilations=[2, 2], strides=[2, 1]
    ),
    "conv of one channel": conv(4, random((1, 4, 3, 3)), (3, 4, 7, 7)),
    "conv with a bias added": Case(
        [node("Conv", "x w", "a"), node("Add", "b a", "y")],
        {"w": W4, "b": random((1, 6, 1, 1))},
        filters=W4,
    ),
    "transposed conv": transposed(random((4, 6, 2, 2)), (3, 4, 5, 5), strides=[2, 2]),
    "transposed conv 1-D": transposed(random((4, 5, 3)), (3, 4, 5)),
    "transposed conv grouped": transposed(random((4, 3, 2, 2)), (3, 4, 5, 5), group=2),
    "gemm": Case(
        [node("Gemm", "x w b", "y")], {"w": W2, "b": random((6,))}, (3, 4), axis=-1, filters=W2.T
    ),
    "gemm transB": Case(
        [node("Gemm", "x w", "y", transB=1)], {"w": W2.T.copy()}, (3, 4), axis=-1, filters=W2.T
    ),
    "gemm transA": Case(
        [node("Gemm", "x w", "y", transA=1)], {"w": W2}, (4, 3), axis=-1, filters=W2.T
    ),
    "gemm scaled": Case(
        [node("Gemm", "x w b", "y", alpha=0.5, beta=2.0)],
        {"w": W2, "b": random((1, 6))},
        (3, 4),
        axis=-1,
    ),
    "matmul": Case([node("MatMul", "x w", "y")], {"w": W2}, (3, 4), axis=-1, filters=W2.T),
    "matmul on tokens": Case(
        [node("MatMul", "x w", "y")], {"w": W2}, (3, 5, 4), axis=-1, filters=W2.T
    ),
    "matmul on a grid": Case([node("MatMul", "x w", "y")], {"w": W2}, (3, 5, 2, 4), axis=-1),
    "matmul and bias": Case(
        [node("MatMul", "x w", "a"), node("Add", "a b", "y")],
        {"w": W2, "b": random((6,))},
        (3, 5, 4),
        axis=-1,
    ),
    "matmul by heads": Case(
        [node("MatMul", "x w", "y")],
        {"w": random((2, 4, 6))},
        (3, 2, 5, 4),
        axis=-1,
        filters=np.moveaxis(random((2, 4, 6)), -1, 0),
    ),
    "matmul, weights first": Case(
        [node("MatMul", "w x", "y")], {"w": W2.T.copy()}, (3, 4, 5), axis=1, filters=W2.T
    ),
    "matmul, weights first, on a grid": Case(
        [node("MatMul", "w x", "y")], {"w": W2.T.copy()}, (3, 2, 4, 5), axis=2
    ),
    "matmul, weights first, by heads": Case(
        [node("MatMul", "w x", "y")],
        {"w": random((2, 6, 4))},
        (3, 2, 4, 5),
        axis=2,
        filters=np.moveaxis(random((2, 6, 4)), -2, 0),
    ),
    "conv with a bias added behind a Transpose": Case(
        [
            node("Conv", "x w", "a"),
            node("Transpose", "a", "t", perm=[0, 2, 3, 1]),
            node("Add", "t b", "y"),
        ],
        {"w": W4, "b": random((6,))},
        axis=3,
        filters=W4,
    ),
    "matmul on tokens that were flattened, and bias": Case(
        [
            node("Reshape", "x flat", "f"),
            node("MatMul", "f w", "a"),
            node("Reshape", "a tokens", "t"),
            node("Add", "t b", "y"),
        ],
        {
            "w": W2,
            "b": random((6,)),
            "flat": np.array([-1, 4]),
            "tokens": np.array([-1, 5, 6]),
        },
        (3, 5, 4),
        axis=-1,
        filters=W2.T,
    ),
    "fused conv": Case(
        [node("FusedConv", "x w b", "y", domain=MS, activation="Relu")],
        {"w": W4, "b": random((6,))},
        tapped_at="after the activation",
        domains=(MS,),
        filters=W4,
        relu="y",
    ),
    "fused conv and ReLU6": Case(
        [node("FusedConv", "x w b", "y", domain=MS, activation="Clip", activation_params=[0.0, 6])],
        {"w": W4, "b": random((6,))},
        tapped_at="after the activation",
        domains=(MS,),
        filters=W4,
        relu="y",
    ),
    "fused conv without activation": Case(
        [node("FusedConv", "x w b", "y", domain=MS)], {"w": W4, "b": random((6,))}, domains=(MS,)
    ),
    "fused gemm": Case(
        [node("FusedGemm", "x w b", "y", domain=MS, activation="LeakyRelu", activation_alpha=0.1)],
        {"w": W2, "b": random((6,))},
        (3, 4),
        axis=-1,
        tapped_at="after the activation",
        domains=(MS,),
        filters=W2.T,
    ),
    "fused matmul": Case(
        [node("FusedMatMul", "x w", "y", domain=MS, transB=1, alpha=0.5)],
        {"w": W2.T.copy()},
        (3, 5, 4),
        axis=-1,
        domains=(MS,),
        filters=W2.T,
    ),
    "QDQ": Case(
        [
            QUANTISE,
            node("DequantizeLinear", "xq xs xz", "xf"),
            node("DequantizeLinear", "wq ws wz", "wf", axis=0),
            node("Conv", "xf wf", "a"),
            node("QuantizeLinear", "a ys yz", "aq"),
            node("DequantizeLinear", "aq ys yz", "y"),
        ],
        {"wq": Q4C, "ws": CHANNEL_SCALES, "wz": np.zeros(6, np.int8), **X_SCALE, **Y_SCALE},
        tensor="a",
        filters=Q4C * CHANNEL_SCALES[:, None, None, None],
    ),
    "QDQ, and bias": Case(
        [
            QUANTISE,
            node("DequantizeLinear", "xq xs xz", "xf"),
            node("DequantizeLinear", "wq ws wz", "wf"),
            node("MatMul", "xf wf", "a"),
            node("QuantizeLinear", "a ys yz", "aq"),
            node("DequantizeLinear", "aq ys yz", "ad"),
            node("Add", "ad b", "y"),
        ],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), "b": random((6,)), **X_SCALE, **Y_SCALE},
        (3, 5, 4),
        axis=-1,
        filters=(Q2 * S2).T,
    ),
    "QLinearConv, signed, at opset 21": Case(
        [
            node("QuantizeLinear", "x xs sz", "xq"),
            node("QLinearConv", "xq xs sz wq ws wz ys sz", "yq"),
            node("DequantizeLinear", "yq ys sz", "y"),
        ],
        {
            "wq": Q4,
            "ws": S4,
            "wz": np.int8(0),
            "sz": np.int8(3),
            "xs": X_SCALE["xs"],
            "ys": Y_SCALE["ys"],
        },
        tensor="yq",
        opset=21,
        scale=(0.1, 3),
        tapped_at="quantised output",
        filters=Q4 * S4,
    ),
    "QLinearConv": Case(
        [
            QUANTISE,
            node("QLinearConv", "xq xs xz wq ws wz ys yz", "yq"),
            node("DequantizeLinear", "yq ys yz", "y"),
        ],
        {"wq": Q4, "ws": S4, "wz": np.int8(0), **X_SCALE, **Y_SCALE},
        tensor="yq",
        scale=(0.1, 120),
        tapped_at="quantised output",
        filters=Q4 * S4,
    ),
    "QLinearConv, a scale a channel": Case(
        [
            QUANTISE,
            node("QLinearConv", "xq xs xz wq ws wz ys yz", "yq"),
            node("DequantizeLinear", "yq ys yz", "y"),
        ],
        {"wq": Q4C, "ws": CHANNEL_SCALES, "wz": np.zeros(6, np.int8), **X_SCALE, **Y_SCALE},
        tensor="yq",
        scale=(0.1, 120),
        tapped_at="quantised output",
        filters=Q4C * CHANNEL_SCALES[:, None, None, None],
    ),
    "QLinearMatMul": Case(
        [
            QUANTISE,
            node("QLinearMatMul", "xq xs xz wq ws wz ys yz", "yq"),
            node("DequantizeLinear", "yq ys yz", "y"),
        ],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), **X_SCALE, **Y_SCALE},
        (3, 5, 4),
        tensor="yq",
        axis=-1,
        scale=(0.1, 120),
        tapped_at="quantised output",
        filters=(Q2 * S2).T,
    ),
    "QGemm": Case(
        [
            QUANTISE,
            node("QGemm", "xq xs xz wq ws wz - ys yz", "yq", domain=MS),
            node("DequantizeLinear", "yq ys yz", "y"),
        ],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), **X_SCALE, **Y_SCALE},
        (3, 4),
        tensor="yq",
        axis=-1,
        scale=(0.1, 120),
        tapped_at="quantised output",
        domains=(MS,),
        filters=(Q2 * S2).T,
    ),
    "QGemm with a float output": Case(
        [QUANTISE, node("QGemm", "xq xs xz wq ws wz", "y", domain=MS)],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), **X_SCALE},
        (3, 4),
        axis=-1,
        domains=(MS,),
    ),
    "MatMulInteger": Case(
        [
            node("DynamicQuantizeLinear", "x", "xq xs xz"),
            node("MatMulInteger", "xq wq xz wz", "i"),
            node("Cast", "i", "f", to=TensorProto.FLOAT),
            node("Mul", "xs ws", "s"),
            node("Mul", "f s", "p"),
            node("Add", "p b", "y"),
        ],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), "b": random((6,))},
        (3, 5, 4),
        axis=-1,
        filters=Q2.T.astype(np.float32),
    ),
    "ConvInteger": Case(
        [
            node("DynamicQuantizeLinear", "x", "xq xs xz"),
            node("ConvInteger", "xq wq xz wz", "i"),
            node("Cast", "i", "f", to=TensorProto.FLOAT),
            node("Mul", "xs ws", "s"),
            node("Mul", "f s", "p"),
            node("Add", "p b", "y"),
        ],
        {
            "wq": (Q4.astype(int) + 128).astype(U8),
            "ws": S4,
            "wz": U8(128),
            "b": random((1, 6, 1, 1)),
        },
        filters=Q4.astype(np.float32),
    ),
    "MatMulIntegerToFloat": Case(
        [
            node("DynamicQuantizeLinear", "x", "xq xs xz"),
            node("MatMulIntegerToFloat", "xq wq xs ws xz wz b", "y", domain=MS),
        ],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), "b": random((6,))},
        (3, 5, 4),
        axis=-1,
        domains=(MS,),
    ),
    "DynamicQuantizeMatMul": Case(
        [node("DynamicQuantizeMatMul", "x wq ws wz b", "y", domain=MS)],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), "b": random((6,))},
        (3, 5, 4),
        axis=-1,
        domains=(MS,),
    ),
}


def content_of(case: Case) -> bytes:
    sides = [f"side{i}" for i in range(len(case.shape))]
    named = list(sides)
    for position, side in enumerate(case.shape):
        if position in (1, len(case.shape) - 2, len(case.shape) - 1) and position:
            named[position] = side
    if case.shape == (4, 3):  # transA: probes are columns
        named = [4, "n"]
    return graphs.model(
        case.nodes, {"x": named}, ["y"], case.weights, case.opset, domains=case.domains
    )


def measured(model, tap, values, count):
    session = TapSession(instrument(model, [tap]), [tap], "cpu")
    return session.run({"x": values}, count).layers[tap.name]


@pytest.mark.parametrize("name", CASES)
def test_operator(name):
    case = CASES[name]
    content, values = content_of(case), random(case.shape, seed=3)
    model = open_model(content)
    (tap,) = find_taps(model).taps
    assert tap.tensor == case.tensor
    assert tap.tapped_at == case.tapped_at
    assert tap.relu == case.relu
    count = 3
    batch = (
        TapSession(instrument(model, [tap]), [tap], "cpu")
        .run({"x": values}, count)
        .layers[tap.name]
    )
    alone = TapSession(instrument(model, [tap], ()), [tap], "cpu").run({"x": values}, count)
    np.testing.assert_allclose(alone.layers[tap.name].entropy, batch.entropy, atol=1e-5)
    (tensor,) = reference.tensors_of(content, {"x": values}, case.tensor)
    tensor = (tensor.astype(np.float64) - case.scale[1]) * np.float32(case.scale[0])
    assert tensor.shape[case.axis] == tap.channels
    for found, function in (
        (batch.entropy, reference.entropy),
        (batch.scale_free_entropy, reference.scale_free),
        (batch.rms, reference.rms),
    ):
        wanted = reference.over_rfavs(function, tensor, case.axis).reshape(found.shape)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert batch.entropy.std() > 1e-3 or tap.channels == 1
    if case.filters is not None:
        found = filters(model, tap)
        np.testing.assert_allclose(
            found.reshape(len(found), -1), case.filters.reshape(len(case.filters), -1), rtol=1e-6
        )
        assert len(found) == tap.channels


@pytest.mark.parametrize("opset", graphs.OPSETS)
@pytest.mark.parametrize(
    "name", ["conv 1-D", "gemm transB", "matmul", "matmul on tokens", "transposed conv"]
)
def test_operators_at_every_opset(name, opset):
    case = CASES[name]
    values = random(case.shape, seed=3)
    sides = ["n", *case.shape[1:]]
    weights = dict(case.weights)
    if opset < 11 and case.nodes[0].op_type == "Gemm":
        weights["c"] = np.zeros(6, np.float32)  # was required
        nodes = [node("Gemm", "x w c", "y", transB=1)]
    else:
        nodes = case.nodes
    content = graphs.model(nodes, {"x": sides}, ["y"], weights, opset)
    model = open_model(content)
    (tap,) = find_taps(model).taps
    batch = (
        TapSession(instrument(model, [tap]), [tap], "cpu").run({"x": values}, 3).layers[tap.name]
    )
    (tensor,) = reference.tensors_of(content, {"x": values}, "y")
    wanted = reference.over_rfavs(reference.entropy, tensor, case.axis)
    np.testing.assert_allclose(batch.entropy, wanted.reshape(batch.entropy.shape), atol=1e-5)


# -- element types


def typed(element_type: int, operator: str = "MatMul") -> tuple[bytes, np.ndarray, type]:
    kind = onnx.helper.tensor_dtype_to_np_dtype(element_type)
    shape = (4, 6) if operator == "MatMul" else (6, 4, 1, 1)
    weights = {"w": random(shape, 3).astype(kind)}
    inputs = {"x": ["n", 4]} if operator == "MatMul" else {"x": ["n", 4, 3, 3]}
    nodes = [node(operator, "x w", "a"), node("Relu", "a", "y")]
    content = graphs.model(nodes, inputs, ["y"], weights, 18, element_type)
    values = random((5, 4) if operator == "MatMul" else (5, 4, 3, 3)).astype(kind)
    return content, values, kind


@pytest.mark.parametrize("operator", ["MatMul", "Conv"])
@pytest.mark.parametrize(
    "element_type", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE]
)
def test_types_that_the_cpu_runs(element_type, operator):
    if (operator, element_type) == ("Conv", TensorProto.DOUBLE):
        return  # see below
    content, values, _ = typed(element_type, operator)
    model = open_model(content)
    (tap,) = find_taps(model).taps
    batch = (
        TapSession(instrument(model, [tap]), [tap], "cpu").run({"x": values}, 5).layers[tap.name]
    )
    assert batch.entropy.dtype == (np.float64 if element_type == TensorProto.DOUBLE else np.float32)
    axis = -1 if operator == "MatMul" else 1
    (tensor,) = reference.tensors_of(content, {"x": values}, "a")
    for found, function in (
        (batch.entropy, reference.entropy),
        (batch.scale_free_entropy, reference.scale_free),
        (batch.rms, reference.rms),
    ):
        wanted = reference.over_rfavs(function, tensor, axis).reshape(found.shape)
        np.testing.assert_allclose(found, wanted, atol=2e-5, rtol=1e-5)
    assert batch.relu_zeros == (tensor <= 0).sum()


@pytest.mark.parametrize(
    "element_type", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE]
)
def test_types_by_onnxs_own_evaluator(element_type):
    """For what ONNX Runtime's CPU provider has no kernels: bfloat16 MatMul."""
    content, values, _ = typed(element_type)
    model = open_model(content)
    (tap,) = find_taps(model).taps
    made = instrument(model, [tap])
    evaluator = ReferenceEvaluator(onnx.ModelProto.FromString(made.content))
    names = made.outputs[tap.name]
    tensor, plogp, scaled, rms = evaluator.run(
        [tap.tensor, names["plogp"], names["scaled_plogp"], names["rms"]], {"x": values}
    )
    assert plogp.dtype in (np.float32, np.float64)
    wide = np.asarray(tensor, np.float64)
    wanted = reference.over_rfavs(reference.entropy, wide, -1)
    np.testing.assert_allclose(-plogp.ravel(), wanted, atol=1e-5)
    wanted = reference.over_rfavs(reference.scale_free, wide, -1)
    np.testing.assert_allclose(-scaled.ravel() / np.log(6), wanted, atol=1e-5)
    np.testing.assert_allclose(
        rms.ravel(), reference.over_rfavs(reference.rms, wide, -1), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("element_type", "operator"), [(TensorProto.DOUBLE, "Conv"), (TensorProto.BFLOAT16, "MatMul")]
)
def test_types_that_the_cpu_does_not_run_get_a_sentence(element_type, operator):
    from sparsight.errors import ModelError

    content, _, _ = typed(element_type, operator)
    model = open_model(content)
    taps = find_taps(model).taps
    with pytest.raises(ModelError, match=r"cannot run net\.onnx on cpu"):
        TapSession(instrument(model, taps), taps, "cpu", source="net.onnx")


# -- where weights come from


BEHIND = {
    "a Constant node": [node("Constant", "", "w", value=onnx.numpy_helper.from_array(W2))],
    "Identity": [node("Identity", "s", "w")],
    "Cast": [node("Cast", "h", "w", to=TensorProto.FLOAT)],
    "Transpose": [node("Transpose", "t", "w", perm=[1, 0])],
    "Reshape": [node("Reshape", "r shape", "w")],
    "Reshape with 0": [node("Reshape", "s zeros", "w")],
    "DequantizeLinear": [node("DequantizeLinear", "q qs qz", "w")],
    "Unsqueeze and Squeeze": [node("Unsqueeze", "s axis", "u"), node("Squeeze", "u axis", "w")],
    "a chain": [
        node("DequantizeLinear", "q qs qz", "c1"),
        node("Identity", "c1", "c2"),
        node("Transpose", "c2", "c3"),
        node("Transpose", "c3", "w"),
    ],
}


@pytest.mark.parametrize("name", BEHIND)
def test_weights_behind_operators(name):
    stored = {
        "s": W2,
        "h": W2.astype(np.float16),
        "t": W2.T.copy(),
        "r": W2.reshape(2, 12),
        "shape": np.array([4, -1]),
        "zeros": np.array([0, 0]),
        "axis": np.array([0]),
        "q": Q2,
        "qs": S2,
        "qz": np.int8(0),
    }
    used = {part for made in BEHIND[name] for part in made.input} & set(stored)
    nodes = [*BEHIND[name], node("MatMul", "x w", "y")]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], {n: stored[n] for n in used})
    model = open_model(content)
    (tap,) = find_taps(model).taps
    assert (tap.channels, tap.weight_shape) == (6, (4, 6))
    (computed,) = reference.tensors_of(content, {"x": np.eye(4, dtype=np.float32)}, "y")
    np.testing.assert_allclose(filters(model, tap), computed.T, rtol=1e-6)


@pytest.mark.parametrize("in_a_node", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_sparse_weights(in_a_node, rank):
    wanted = np.where(W2 > 0, W2, 0)
    places = np.argwhere(wanted) if rank == 2 else np.flatnonzero(wanted)
    sparse = onnx.helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(wanted[wanted != 0], "w"),
        onnx.numpy_helper.from_array(places.astype(np.int64), "places"),
        list(wanted.shape),
    )
    made = [onnx.helper.make_node("Constant", [], ["w"], sparse_value=sparse)] if in_a_node else []
    nodes = [*made, node("MatMul", "x w", "y")]
    proto = onnx.ModelProto.FromString(graphs.model(nodes, {"x": ["n", 4]}, ["y"]))
    if not in_a_node:
        proto.graph.sparse_initializer.append(sparse)
    model = open_model(proto)
    (tap,) = find_taps(model).taps
    np.testing.assert_array_equal(filters(model, tap), wanted.T)
    values = random((3, 4))
    batch = measured(model, tap, values, 3)
    entropy = reference.over_rfavs(reference.entropy, values @ wanted, -1)
    np.testing.assert_allclose(batch.entropy.ravel(), entropy, atol=1e-5)


def test_files_that_onnx_runtime_optimised(tmp_path):
    """Conv and Gemm become FusedConv and FusedGemm, with their activation inside."""
    weights = {"c.weight": W4, "f.weight": random((6, 5)), "b": np.ones(6, np.float32)}
    nodes = [
        node("Conv", "x c.weight b", "a"),
        node("Relu", "a", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f f.weight", "g"),
        node("Relu", "g", "y"),
    ]
    content = graphs.model(nodes, {"x": ["n", 4, 9, 9]}, ["y"], weights)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fast.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    model = open_model(tmp_path / "fast.onnx")
    taps = find_taps(model).taps
    assert [tap.operator for tap in taps] == ["FusedConv", "FusedGemm"]
    assert [tap.name for tap in taps] == ["c", "f"]
    assert {tap.tapped_at for tap in taps} == {"after the activation"}
    values = random((3, 4, 9, 9))
    batch = TapSession(instrument(model, taps), taps, "cpu").run({"x": values}, 3).layers["c"]
    (plain,) = reference.tensors_of(content, {"x": values}, "a")
    wanted = reference.over_rfavs(reference.entropy, np.maximum(plain, 0))
    np.testing.assert_allclose(batch.entropy, wanted, atol=1e-5)
    assert batch.relu_zeros == (plain <= 0).sum()


def test_what_is_left_out_says_why():
    body = onnx.helper.make_graph(
        [node("MatMul", "x inner.weight", "b")],
        "body",
        [],
        [onnx.helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(random((4, 4)), "inner.weight")],
    )
    nodes = [
        node("If", "c", "i", then_branch=body, else_branch=body, name="choice"),
        node("Einsum", "x e.weight", "k", equation="ij,lk->ijk"),
        node("LSTM", "q rnn.W rnn.R", "l", hidden_size=2),
        node("MatMul", "x w", "int"),
        node("ConvInteger", "v ci.weight", "y"),
    ]
    weights = {name: random((4, 4)) for name in ("e.weight", "rnn.W", "rnn.R")}
    weights["ci.weight"] = np.ones((2, 4, 1, 1), np.uint8)
    weights["w"] = random((4, 1, 0))
    inputs = {"x": ["n", 4], "c": [], "q": ["t", "n", 4], "v": ["n", 4, 3, 3]}
    found = find_taps(open_model(graphs.model(nodes, inputs, ["y"], weights)))
    assert found.taps == ()
    reasons = {part.name: (part.operator, part.reason) for part in found.left_out}
    assert reasons["inner"][0] == "MatMul"
    assert "inside If 'choice'" in reasons["inner"][1]
    assert reasons["e"] == ("Einsum", "it sums over nothing: each channel scales its input")
    assert "stay inside the operator" in reasons["rnn"][1]
    assert "no filter bank" in reasons["int"][1]
    assert "scale" in reasons["ci"][1]
