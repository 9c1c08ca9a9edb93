"""Layers of an optimised file get the names that their weights have in the original."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tests.core import graphs

import sparsight
from sparsight.cli import main
from sparsight.errors import UsageError
from sparsight.graph.model import open_model
from sparsight.graph.renaming import renamed
from sparsight.graph.taps import find_taps

node = graphs.node
LEVELS = onnxruntime.GraphOptimizationLevel


def network(seed: int = 0, blocks: int = 3, twice: bool = False) -> bytes:
    """Convolutions with batch normalisation, all of one shape, and a dense layer or two."""
    nodes, weights, value = [], {}, "x"
    for block in range(blocks):
        name = f"conv{block}"
        weights[f"{name}.weight"] = graphs.random((8, 8, 3, 3), seed=[seed, block, 0])
        for number, part in enumerate(("scale", "bias", "mean", "var")):
            weights[f"norm{block}.{part}"] = graphs.random((8,), seed=[seed, block, 1 + number])
        weights[f"norm{block}.var"] **= 2
        parts = " ".join(f"norm{block}.{part}" for part in ("scale", "bias", "mean", "var"))
        nodes += [
            node("Conv", f"{value} {name}.weight", f"c{block}", pads=[1] * 4, name=f"node{block}"),
            node("BatchNormalization", f"c{block} {parts}", f"n{block}"),
            node("Relu", f"n{block}", f"r{block}"),
        ]
        value = f"r{block}"
    weights["fc.weight"] = graphs.random((8, 8), seed=[seed, 99, 0])
    nodes += [node("GlobalAveragePool", value, "p"), node("Flatten", "p", "f")]
    nodes += [node("MatMul", "f fc.weight", "g")]
    nodes += [node("MatMul", "g fc.weight", "y") if twice else node("Relu", "g", "y")]
    return graphs.model(nodes, {"x": ["n", 8, 6, 6]}, ["y"], weights)


@pytest.fixture
def original(tmp_path):
    path = tmp_path / "original.onnx"
    path.write_bytes(network())
    return path


def names(path, original) -> list[str]:
    model = open_model(path)
    return [tap.name for tap in renamed(model, find_taps(model), original).taps]


def nameless(content: bytes, change=lambda name, values: values) -> onnx.ModelProto:
    """The network with weights of other names, which `change` may make others of."""
    proto = onnx.ModelProto.FromString(content)
    for number, tensor in enumerate(proto.graph.initializer):
        values = change(tensor.name, numpy_helper.to_array(tensor))
        for part in proto.graph.node:
            part.input[:] = [f"t{number}" if x == tensor.name else x for x in part.input]
        tensor.CopyFrom(numpy_helper.from_array(values, f"t{number}"))
    return proto


ALL = ["conv0", "conv1", "conv2", "fc"]


@pytest.mark.parametrize("level", [LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED])
def test_files_that_onnx_runtime_optimised(level, original, tmp_path):
    """Batch normalisation is folded: weights have other numbers, and names that tell nothing."""
    plain = tmp_path / "plain.onnx"
    onnx.save(nameless(network()), plain)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(tmp_path / "fast.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    fast = tmp_path / "fast.onnx"
    assert {tap.name for tap in find_taps(open_model(fast)).taps} != set(ALL)
    assert names(fast, original) == ALL
    probes = graphs.random((3, 8, 6, 6))
    measured = sparsight.analyze(fast, probes, device="cpu", names_from=original)
    assert [part.layer.name for part in measured] == ALL[:-1]
    (chosen,) = sparsight.analyze(fast, probes, device="cpu", layers=["conv1"], names_from=original)
    assert chosen.layer.name == "conv1"


def test_a_quantised_copy(original, tmp_path):
    plain, quantised = tmp_path / "plain.onnx", tmp_path / "int8.onnx"
    onnx.save(nameless(network()), plain)
    quantize_dynamic(plain, quantised, weight_type=QuantType.QUInt8)
    assert {tap.operator for tap in find_taps(open_model(quantised)).taps} >= {"MatMulInteger"}
    assert names(quantised, original) == ALL


@pytest.mark.parametrize(
    "change",
    [
        lambda name, values: values,
        lambda name, values: -values if values.ndim == 4 else values,
        lambda name, values: (
            values * np.arange(1, 9, dtype=np.float32).reshape(-1, 1, 1, 1)
            if values.ndim == 4
            else values
        ),
        lambda name, values: values + graphs.random(values.shape, 0.5, seed=9),  # another epoch
        lambda name, values: values.astype(np.float16).astype(np.float32),
    ],
)
def test_weights_that_are_alike(change, original, tmp_path):
    onnx.save(nameless(network(), change), tmp_path / "other.onnx")
    assert names(tmp_path / "other.onnx", original) == ALL


def test_a_transposed_copy(original, tmp_path):
    proto = nameless(network())
    dense = next(part for part in proto.graph.node if part.op_type == "MatMul")
    weights = next(t for t in proto.graph.initializer if t.name == dense.input[1])
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).T, weights.name))
    dense.op_type = "Gemm"
    dense.attribute.append(onnx.helper.make_attribute("transB", 1))
    onnx.save(proto, tmp_path / "other.onnx")
    assert names(tmp_path / "other.onnx", original) == ALL


def test_weights_that_are_used_twice(tmp_path):
    (tmp_path / "original.onnx").write_bytes(network(twice=True))
    onnx.save(nameless(network(twice=True)), tmp_path / "other.onnx")
    assert names(tmp_path / "other.onnx", tmp_path / "original.onnx") == [*ALL, "fc#2"]
    onnx.save(nameless(network()), tmp_path / "once.onnx")
    assert names(tmp_path / "once.onnx", tmp_path / "original.onnx")[:3] == ALL[:3]
    model = open_model(tmp_path / "once.onnx")
    (remark,) = renamed(model, find_taps(model), tmp_path / "original.onnx").remarks
    assert "1 kept, since no one layer there has its weights" in remark


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10**6))
def test_unrelated_weights_are_never_taken_for_each_other(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("unrelated")
    (folder / "original.onnx").write_bytes(network())
    onnx.save(nameless(network(seed)), folder / "other.onnx")
    model = open_model(folder / "other.onnx")
    found = find_taps(model)
    after = renamed(model, found, folder / "original.onnx")
    assert after.taps == found.taps
    assert "4 kept" in after.remarks[0]


def test_an_own_name_that_another_layer_is_given(original, tmp_path):
    """The file calls another layer "conv0"."""
    proto = onnx.ModelProto.FromString(network())
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    values = {name: numpy_helper.to_array(tensor) for name, tensor in stored.items()}
    for name, data in (
        ("conv0.weight", graphs.random((8, 8, 3, 3), seed=77)),
        ("conv1.weight", values["conv0.weight"]),
    ):
        stored[name].CopyFrom(numpy_helper.from_array(data, name))
    onnx.save(proto, tmp_path / "other.onnx")
    assert names(tmp_path / "other.onnx", original) == ["conv0#2", "conv0", "conv2", "fc"]


def test_the_commands(original, tmp_path, capsys):
    other = tmp_path / "epoch_1.onnx"
    onnx.save(nameless(network()), other)
    np.save(tmp_path / "probes.npy", graphs.random((3, 8, 6, 6)))
    assert main(["taps", str(other), "--names-from", str(original)]) == 0
    captured = capsys.readouterr()
    assert "conv2" in captured.out
    assert "4 by equal weights" in captured.err.replace("\n", " ")
    call = ["analyze", str(other), "--probes", str(tmp_path / "probes.npy"), "--device", "cpu"]
    call += ["--out", str(tmp_path / "table.csv"), "--names-from"]
    assert main([*call, str(original)]) == 0
    assert "conv1" in (tmp_path / "table.csv").read_text()
    assert "4 by equal weights" in capsys.readouterr().err.replace("\n", " ")
    assert main([*call, str(tmp_path / "nothing.onnx")]) == 2
    assert "names cannot be taken from" in capsys.readouterr().err


def test_an_original_without_layers(original, tmp_path):
    content = graphs.model([node("Relu", "x", "y")], {"x": ["n", 4]}, ["y"])
    (tmp_path / "none.onnx").write_bytes(content)
    with pytest.raises(UsageError, match="it has no layers with weights"):
        names(original, tmp_path / "none.onnx")
