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

from sparsight.errors import ModelError
from sparsight.graph.instrument import instrument
from sparsight.graph.model import open_model
from sparsight.graph.taps import filters, find_taps
from sparsight.inference.session import TapSession

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
        tapped_at="linear output, scaled by 0.5",
        domains=(MS,),
        filters=W2.T,
    ),
    "fused matmul, weights first": Case(
        [node("FusedMatMul", "w x", "y", domain=MS, transB=1)],
        {"w": W2.T.copy()},
        (3, 5, 4),
        axis=1,
        domains=(MS,),
        filters=W2.T,
    ),
    "fused matmul, weights first and transposed": Case(
        [node("FusedMatMul", "w x", "y", domain=MS, transA=1)],
        {"w": W2},
        (3, 4, 5),
        axis=1,
        domains=(MS,),
        filters=W2.T,
    ),
    "transposed conv with pads that are an input": Case(
        [node("ConvTransposeWithDynamicPads", "x w pads b", "y", domain=MS)],
        {"w": random((4, 6, 2, 2)), "b": random((6,)), "pads": np.zeros(4, np.int64)},
        (3, 4, 5, 5),
        domains=(MS,),
        filters=random((4, 6, 2, 2)).swapaxes(0, 1),
    ),
    "conv that keeps a state": Case(
        [node("CausalConvWithState", "x w b", "y state", domain=MS)],
        {"w": random((4, 1, 3)), "b": random((4,))},
        (3, 4, 9),
        domains=(MS,),
        filters=random((4, 1, 3)),
    ),
    "a sum fused into a conv": Case(
        [
            node("Tanh", "x", "s"),
            node("FusedConv", "x w b s", "y", domain=MS, activation="Relu", pads=[1, 1, 1, 1]),
        ],
        {"w": random((4, 4, 3, 3)), "b": random((4,))},
        tapped_at="after a sum and its activation",
        domains=(MS,),
        relu="y",
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
    "com.microsoft.QLinearConv": Case(
        [
            QUANTISE,
            node("Transpose", "xq", "xt", perm=[0, 2, 3, 1]),
            node("QLinearConv", "xt xs xz wq ws wz ys yz", "yq", domain=MS, channels_last=1),
            node("DequantizeLinear", "yq ys yz", "y"),
        ],
        {"wq": Q4, "ws": S4, "wz": np.int8(0), **X_SCALE, **Y_SCALE},
        tensor="yq",
        axis=3,
        scale=(0.1, 120),
        tapped_at="quantised output",
        domains=(MS,),
        filters=Q4 * S4,
    ),
    "QLinearMatMul, and QLinearAdd": Case(
        [
            QUANTISE,
            node("QLinearMatMul", "xq xs xz wq ws wz ys yz", "aq"),
            node("QLinearAdd", "bq bs bz aq ys yz zs zz", "yq", domain=MS),
            node("DequantizeLinear", "yq zs zz", "y"),
        ],
        {
            "wq": Q2,
            "ws": S2,
            "wz": np.int8(0),
            **X_SCALE,
            **Y_SCALE,
            "bq": np.arange(6, dtype=U8) * 40,
            "bs": np.float32(0.02),
            "bz": U8(128),
            "zs": np.float32(0.15),
            "zz": U8(110),
        },
        (3, 5, 4),
        tensor="yq",
        axis=-1,
        scale=(0.15, 110),
        tapped_at="quantised output",
        domains=(MS,),
        filters=(Q2 * S2).T,
    ),
    "QLinearMatMul, and a bias of floats": Case(
        [
            QUANTISE,
            node("QLinearMatMul", "xq xs xz wq ws wz ys yz", "aq"),
            node("DequantizeLinear", "aq ys yz", "a"),
            node("Add", "a b", "y"),
        ],
        {"wq": Q2, "ws": S2, "wz": np.int8(0), "b": random((6,)), **X_SCALE, **Y_SCALE},
        (3, 5, 4),
        axis=-1,
        filters=(Q2 * S2).T,
    ),
    "ConvInteger, and a bias of integers": Case(
        [
            node("DynamicQuantizeLinear", "x", "xq xs xz"),
            node("ConvInteger", "xq wq xz wz", "i"),
            node("Add", "i b", "j"),
            node("Cast", "j", "f", to=TensorProto.FLOAT),
            node("Mul", "xs ws", "s"),
            node("Mul", "f s", "y"),
        ],
        {
            "wq": (Q4.astype(int) + 128).astype(U8),
            "ws": S4,
            "wz": U8(128),
            "b": (np.arange(6, dtype=np.int32) * 3000).reshape(1, 6, 1, 1),
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


BITS = np.random.default_rng(4).integers(0, 256, (6, 4, 8), dtype=U8)  # [D, blocks, bytes]
SCALES = np.abs(random((6, 4), seed=5)) + np.float32(0.1)
NUMBERS = random((6, 4), seed=6) * 3
ORDER = np.random.default_rng(7).permutation(np.arange(64) // 16).astype(np.int32)
PACKED = {
    f"{bits} bits, {name}": (bits, inputs)
    for bits in (2, 4, 8)
    for name, inputs in {
        "no zero points": {},
        "packed zero points": {"z": BITS[:, :, 0][:, : max(1, 4 * bits // 8)].copy()},
        "zero points that are numbers": {"z": NUMBERS},
        "blocks in another order": {"g": ORDER},
        "blocks in another order, and zero points": {"z": NUMBERS, "g": ORDER},
        "a bias": {"b": random((6,), seed=8)},
    }.items()
    # what ONNX Runtime's CPU provider runs, and by the operator's definition
    if not ("g" in inputs and bits != 4) and not (bits == 8 and name.endswith("numbers"))
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_weights(name):
    """A product with the unit matrix shows what the weights are."""
    bits, inputs = PACKED[name]
    columns = 60  # the last block is not full
    block = 16
    stored = {"w": np.resize(BITS, (6, 4, block * bits // 8)), "s": SCALES, **inputs}
    if "g" in stored:
        stored["g"] = ORDER[:columns]
    names = ["x", "w", "s", *(part if part in inputs else "" for part in "zgb")]
    while not names[-1]:
        names.pop()
    made = onnx.helper.make_node(
        "MatMulNBits", names, ["y"], domain=MS, N=6, K=columns, bits=bits, block_size=block
    )
    content = graphs.model([made], {"x": ["n", columns]}, ["y"], stored, domains=(MS,))
    _agrees_with_the_unit_matrix(content, columns, inputs.get("b", 0))


@pytest.mark.parametrize("quant_type", [0, 1])
@pytest.mark.parametrize("columns", [64, 24])
def test_weights_of_four_bit_floats(quant_type, columns):
    attributes = {"N": 6, "K": columns, "block_size": 16, "quant_type": quant_type}
    stored = {"w": np.resize(BITS, 3 * columns), "s": np.resize(SCALES, -(-6 * columns // 16))}
    made = node("MatMulBnb4", "x w s", "y", domain=MS, **attributes)
    content = graphs.model([made], {"x": ["n", columns]}, ["y"], stored, domains=(MS,))
    _agrees_with_the_unit_matrix(content, columns, 0)


@pytest.mark.parametrize("with_zero", [0, 1])
@pytest.mark.parametrize("columns", [64, 48])
def test_weights_in_blocks_of_four_bits(with_zero, columns):
    packed = np.random.default_rng(3).integers(0, 256, (6, 2, 20 + with_zero), dtype=U8)
    packed[..., :4] = SCALES[:, :2, None].view(U8)
    if with_zero:
        packed[..., 4] &= 15
    stored = {"w": packed.ravel(), "shape": np.array([columns, 6])}
    made = node("MatMulFpQ4", "x w shape", "y", domain=MS, blk_quant_type=with_zero)
    content = graphs.model([made], {"x": ["n", columns]}, ["y"], stored, domains=(MS,))
    _agrees_with_the_unit_matrix(content, columns, 0)


def test_blocks_of_an_unknown_kind_have_no_correlations():
    stored = {"w": np.zeros(252, U8), "shape": np.array([64, 6])}
    made = node("MatMulFpQ4", "x w shape", "y", domain=MS, blk_quant_type=2)
    content = graphs.model([made], {"x": ["n", 64]}, ["y"], stored, domains=(MS,))
    model = open_model(content)
    (tap,) = find_taps(model).taps
    assert (tap.channels, filters(model, tap)) == (6, None)


def _agrees_with_the_unit_matrix(content, columns, bias):
    model = open_model(content)
    (tap,) = find_taps(model).taps
    assert (tap.tapped_at, tap.channels, tap.weight_shape) == ("linear output", 6, (6, columns))
    (wanted,) = reference.tensors_of(content, {"x": np.eye(columns, dtype=np.float32)}, "y")
    np.testing.assert_allclose(filters(model, tap), (wanted - bias).T, atol=1e-4)
    values = random((3, columns))
    (tensor,) = reference.tensors_of(content, {"x": values}, "y")
    batch = measured(model, tap, values, 3)
    entropy = reference.over_rfavs(reference.entropy, tensor, -1)
    np.testing.assert_allclose(batch.entropy.ravel(), entropy, atol=1e-4)


def test_packed_weights_that_do_not_fit_are_an_error():
    stored = {"w": BITS, "s": SCALES}
    for attributes in ({"K": 60, "bits": 9}, {"K": 600}, {"K": 60, "block_size": 7}):
        made = node("MatMulNBits", "x w s", "y", domain=MS, N=6, **{"block_size": 16, **attributes})
        model = open_model(graphs.model([made], {"x": ["n", 60]}, ["y"], stored, domains=(MS,)))
        (tap,) = find_taps(model).taps
        with pytest.raises(ModelError, match="weights of layer 'y' cannot be read"):
            filters(model, tap)


def test_weights_that_were_packed_once_more_have_no_correlations():
    made = node("MatMulNBits", "x w s", "y", domain=MS, N=6, K=64, weight_prepacked=1)
    content = graphs.model([made], {"x": ["n", 64]}, ["y"], {"w": BITS, "s": SCALES}, domains=(MS,))
    model = open_model(content)
    (tap,) = find_taps(model).taps
    assert filters(model, tap) is None


# -- biases that ONNX Runtime took into the operator behind a layer


@dataclass(frozen=True)
class Successor:
    """An operator that adds the bias "b" of the layer "w" (and others)."""

    nodes: list
    stored: dict = field(default_factory=dict)
    bias: np.ndarray = field(default_factory=lambda: BIAS)
    runs: bool = True
    """Whether ONNX Runtime's CPU provider has it."""


BIAS = random((6,), seed=9) * 2
NORM = {"gamma": np.ones(6, np.float32), "beta": np.zeros(6, np.float32)}
JOINED = {"joined": np.concatenate([BIAS, 2 * BIAS, random((8,), seed=1)])}
JOINED |= {"wk": random((4, 6), seed=11), "wv": random((4, 8), seed=12)}
ATTENTION = [
    node("MatMul", "x wk", "k"),
    node("MatMul", "x wv", "v"),
    node("MultiHeadAttention", "a k v joined", "y", domain=MS, num_heads=2),
]
SUCCESSORS = {
    "BiasGelu": Successor([node("BiasGelu", "a b", "y", domain=MS)]),
    "FastGelu": Successor([node("FastGelu", "a b", "y", domain=MS)]),
    "FastGelu behind Reshape": Successor(
        [node("Reshape", "a flat", "r"), node("FastGelu", "r b", "y", domain=MS)],
        {"flat": np.array([-1, 6])},
    ),
    "BiasGelu whose bias is made of constants": Successor(
        [node("Mul", "half two", "b2"), node("BiasGelu", "a b2", "y", domain=MS)],
        {"half": BIAS / 2, "two": np.float32(2)},
    ),
    "SkipLayerNormalization": Successor(
        [
            node("MatMul", "x w2", "d"),
            node("Relu", "d", "e"),
            node("SkipLayerNormalization", "a e gamma beta b", "y", domain=MS),
        ],
        {**NORM, "w2": W2 * 2},
    ),
    "SkipLayerNormalization, as what is skipped": Successor(
        [
            node("Tanh", "a", "e"),
            node("SkipLayerNormalization", "e a gamma beta b", "y", domain=MS),
        ],
        NORM,
    ),
    "SkipSimplifiedLayerNormalization": Successor(
        [
            node("Tanh", "a", "e"),
            node("SkipSimplifiedLayerNormalization", "a e gamma b", "y", domain=MS),
        ],
        {"gamma": NORM["gamma"]},
    ),
    "MultiHeadAttention": Successor(ATTENTION, JOINED),
    "BiasSplitGelu": Successor([node("BiasSplitGelu", "a b", "y", domain=MS)], runs=False),
    "BiasAdd": Successor(
        [node("Tanh", "a", "e"), node("BiasAdd", "a b e", "y", domain=MS)], runs=False
    ),
    "BiasDropout": Successor([node("BiasDropout", "a b", "y", domain=MS)], runs=False),
    "BiasSoftmax": Successor(
        [node("BiasSoftmax", "a b", "y", domain=MS, axis=-1, is_inner_broadcast=0)], runs=False
    ),
    "PackedMultiHeadAttention": Successor(
        [
            *ATTENTION[:2],
            node("PackedMultiHeadAttention", "a k v joined", "y", domain=MS, num_heads=2),
        ],
        JOINED,
        runs=False,
    ),
    "SkipGroupNorm": Successor(
        [node("Tanh", "a", "e"), node("SkipGroupNorm", "e gamma beta a b", "y", domain=MS)],
        NORM,
        runs=False,
    ),
}


def successor(case: Successor):
    """The model, and what its layer would put out with the bias in it."""
    nodes = [node("MatMul", "x w", "a"), *case.nodes]
    used = {part for made in nodes for part in made.input}
    stored = {"w": W2, "b": BIAS, **case.stored}
    content = graphs.model(
        nodes,
        {"x": ["n", 5, 4]},
        ["y"],
        {name: array for name, array in stored.items() if name in used},
        domains=(MS,),
    )
    return open_model(content), content


@pytest.mark.parametrize("name", SUCCESSORS)
def test_a_bias_that_the_next_operator_adds(name):
    case = SUCCESSORS[name]
    model, _ = successor(case)
    tap = next(tap for tap in find_taps(model).taps if tap.node.input[1] == "w")
    assert tap.tapped_at == "linear output"
    values = random((3, 5, 4))
    wanted = values @ W2 + case.bias
    made = instrument(model, [tap])
    if case.runs:
        batch = measured(model, tap, values, 3)
        found = (batch.entropy, *(batch.companions[name] for name in reference.OF_EACH_RFAV))
    else:  # the chain alone, of a graph without the operator
        proto = graphs.whole(made.content, model.weights)
        kept = [part for part in proto.graph.node if part.domain != MS]
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        names = made.outputs[tap.name]
        parts = [names[part] for part in ("plogp", *reference.OF_EACH_RFAV)]
        del proto.graph.output[:]
        proto.graph.output.extend(onnx.ValueInfoProto(name=part) for part in parts)
        entropy, *others = reference.tensors_of(proto.SerializeToString(), {"x": values}, *parts)
        found = (-entropy, *others)
    functions = (reference.entropy, *reference.OF_EACH_RFAV.values())
    for array, function in zip(found, functions, strict=True):
        rows = reference.over_rfavs(function, wanted, -1)
        np.testing.assert_allclose(array.ravel(), rows.ravel(), atol=1e-5)


def test_biases_of_key_and_value():
    model, _ = successor(SUCCESSORS["MultiHeadAttention"])
    values = random((3, 5, 4))
    query, key, value = find_taps(model).taps
    assert (query.added, key.added, value.added) == (("joined", 0), ("joined", 6), ("joined", 12))
    batch = measured(model, value, values, 3)
    wanted = values @ JOINED["wv"] + JOINED["joined"][12:]
    rows = reference.over_rfavs(reference.entropy, wanted, -1)
    np.testing.assert_allclose(batch.entropy, rows, atol=1e-5)


def test_whose_bias_it_is_cannot_always_be_told():
    layers = [node("MatMul", "x w", "a"), node("MatMul", "x v", "c")]
    cases = {
        "two layers": [*layers, node("SkipLayerNormalization", "a c gamma beta b", "y", domain=MS)],
        "two layers, one moved": [
            *layers,
            node("Identity", "c", "e"),
            node("SkipLayerNormalization", "a e gamma beta b", "y", domain=MS),
        ],
        "packed": [
            layers[0],
            node("Reshape", "a heads", "r"),
            node("MultiHeadAttention", "r - - b", "y", domain=MS, num_heads=1),
        ],
    }
    stored = {"w": W2, "v": W2 * 2, "b": BIAS, **NORM, "heads": np.array([0, 0, 1, 3, 2])}
    for name, nodes in cases.items():
        used = {part for made in nodes for part in made.input}
        weights = {part: array for part, array in stored.items() if part in used}
        content = graphs.model(nodes, {"x": ["n", 5, 4]}, ["y"], weights, domains=(MS,))
        taps = find_taps(open_model(content)).taps
        assert {tap.tapped_at for tap in taps} == {"linear output, perhaps without its bias"}, name


def test_what_is_no_bias_of_the_layer_is_not_added():
    others = {
        "an input": ([node("BiasGelu", "a bias", "y", domain=MS)], {}),
        "of other channels": ([node("BiasGelu", "a one", "y", domain=MS)], {"one": BIAS[:1]}),
        "what a bias is added to": (
            [node("Tanh", "a", "e"), node("BiasAdd", "e b a", "y", domain=MS)],
            {"b": BIAS},
        ),
    }
    for name, (nodes, weights) in others.items():
        content = graphs.model(
            [node("MatMul", "x w", "a"), *nodes],
            {"x": ["n", 5, 4], "bias": [6]},
            ["y"],
            {"w": W2, **weights},
            domains=(MS,),
        )
        (tap,) = find_taps(open_model(content)).taps
        assert (tap.added, tap.tapped_at) == (None, "linear output"), name
    gemm = [node("Gemm", "x w c", "a"), node("FastGelu", "a b", "y", domain=MS)]
    content = graphs.model(
        gemm, {"x": ["n", 4]}, ["y"], {"w": W2, "c": BIAS, "b": BIAS}, domains=(MS,)
    )
    (tap,) = find_taps(open_model(content)).taps
    assert tap.added is None  # it has its own


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
        *((batch.companions[n], function) for n, function in reference.OF_EACH_RFAV.items()),
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
        *((batch.companions[n], function) for n, function in reference.OF_EACH_RFAV.items()),
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
    parts = ["plogp", *reference.OF_EACH_RFAV]
    outputs = [tap.tensor, *(names[part] for part in parts)]
    tensor, plogp, *others = evaluator.run(outputs, {"x": values})
    assert plogp.dtype in (np.float32, np.float64)
    wide = np.asarray(tensor, np.float64)
    functions = (reference.entropy, *reference.OF_EACH_RFAV.values())
    for found, function in zip((-plogp, *others), functions, strict=True):
        wanted = reference.over_rfavs(function, wide, -1).ravel()
        np.testing.assert_allclose(found.ravel(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("element_type", "operator"), [(TensorProto.DOUBLE, "Conv"), (TensorProto.BFLOAT16, "MatMul")]
)
def test_types_that_the_cpu_does_not_run_get_a_sentence(element_type, operator):
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
        node("DynamicQuantizeLSTM", "q dyn.W dyn.R", "d", domain=MS, hidden_size=2),
        node("Magic", "x magic.weight", "m", domain="elsewhere"),
        node("Magic", "x scale", "m2", domain="elsewhere"),
    ]
    weights = {name: random((4, 4)) for name in ("e.weight", "rnn.W", "rnn.R")}
    weights |= {name: random((4, 4)) for name in ("dyn.W", "dyn.R", "magic.weight")}
    weights["scale"] = np.ones(4, np.float32)
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
    assert "not a filter bank" in reasons["int"][1]
    assert "scale" in reasons["ci"][1]
    assert "stay inside the operator" in reasons["dyn"][1]
    assert "another domain" in reasons["magic"][1]
    assert "m2" not in reasons
