import sys

import numpy as np
import pytest
from tests.core import graphs, reference

from sparsight.errors import DeviceError, MissingExtraError, ModelError, UsageError
from sparsight.graph.instrument import instrument
from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps
from sparsight.inference.runtime import provider_report
from sparsight.inference.session import TapSession
from sparsight.system.devices import candidates

node = graphs.node


def opened(content: bytes, device="cpu"):
    model = open_model(content)
    taps = find_taps(model).taps
    return TapSession(instrument(model, taps), taps, device, source="net.onnx")


def test_devices():
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert [d.name for d in candidates("auto", available)] == ["cuda", "cpu"]
    assert [d.name for d in candidates("auto", available[1:])] == ["cpu"]
    (second,) = candidates("cuda:1", available)
    assert (second.provider, second.options["device_id"]) == ("CUDAExecutionProvider", "1")
    for name in ("gpu", "cuda:", "cuda:x", "cpu:1", ""):
        with pytest.raises(DeviceError, match="unknown device"):
            candidates(name, available)
    with pytest.raises(DeviceError, match=r"'directml' needs.*sparsight doctor"):
        candidates("directml", available)


def test_a_device_that_is_not_there():
    with pytest.raises(DeviceError, match=r"'cuda' needs.*sparsight\[gpu\]"):
        opened(graphs.passing(2, 3), "cuda")


def test_auto_says_what_it_took():
    assert opened(graphs.passing(2, 3), "auto").device.name == "cpu"


def test_every_provider_is_tried():
    version, report = provider_report()
    assert version.count(".") == 2
    assert report["CPUExecutionProvider"] is None


def test_without_onnx_runtime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"'sparsight\[cpu\]'.*|.*sparsight\[gpu\]"):
        opened(graphs.passing(2, 3))


def test_a_model_that_onnx_runtime_cannot_run():
    nodes = [node("Gemm", "x w", "a"), node("Teleport", "a", "y", domain="elsewhere")]
    weights = {"w": np.eye(3, dtype=np.float32)}
    content = graphs.model(nodes, {"x": ["n", 3]}, ["y"], weights, domains=["elsewhere"])
    with pytest.raises(ModelError, match=r"cannot run net\.onnx on cpu.*Teleport"):
        opened(content)


def test_a_model_that_fails_while_it_runs():
    nodes = [node("Gemm", "x w", "a"), node("Reshape", "a shape", "y")]
    weights = {"w": np.eye(3, dtype=np.float32), "shape": np.array([7, 7])}
    session = opened(graphs.model(nodes, {"x": ["n", 3]}, ["y"], weights))
    with pytest.raises(ModelError, match=r"cannot run net\.onnx"):
        session.run({"x": graphs.random((2, 3))}, 2)


def test_tokens_that_a_model_flattens():
    """[N, T, K] reshaped to [N * T, K]: a map of T positions."""
    nodes = [node("Reshape", "x rows", "flat"), node("MatMul", "flat w", "y")]
    weights = {"w": graphs.random((4, 5)), "rows": np.array([-1, 4])}
    content = graphs.model(nodes, {"x": ["n", 3, 4]}, ["y"], weights)
    batch = opened(content).run({"x": graphs.random((2, 3, 4))}, 2).layers["y"]
    assert batch.entropy.shape == (2, 3)
    assert batch.companions["rms"].shape == (2, 3)


@pytest.mark.parametrize("opset", [8, 11, 17])
def test_tokens(opset):
    weights = {"w": graphs.random((4, 5))}
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "y")]
    content = graphs.model(nodes, {"x": ["n", "t", 4]}, ["y"], weights, opset)
    values = graphs.random((2, 3, 4))
    batch = opened(content).run({"x": values}, 2).layers["a"]
    assert batch.entropy.shape == (2, 3)
    inputs = values @ weights["w"]
    np.testing.assert_array_equal(batch.relu_maximum > 0, inputs.max(axis=(0, 1)) > 0)
    assert batch.relu_zeros == (inputs <= 0).sum()


def test_what_fills_up_a_batch_counts_nothing():
    values = graphs.random((4, 3))
    filled = np.concatenate([values, values[-1:], values[-1:]])
    session = opened(graphs.passing(2, 3))
    whole = session.run({"x": values}, 4).layers["layer"]
    part = session.run({"x": filled}, 6, 4).layers["layer"]
    assert part.entropy.shape == whole.entropy.shape == (4, 1, 1)
    assert part.relu_zeros == whole.relu_zeros
    np.testing.assert_array_equal(part.relu_maximum, whole.relu_maximum)


def test_a_first_axis_that_does_not_count_probes():
    nodes = [node("ReduceMean", "x", "mean", axes=[0]), node("MatMul", "mean w", "y")]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], {"w": graphs.random((4, 5))}, 13)
    with pytest.raises(ModelError, match=r"'y' has positions \[1\] for 3 probes"):
        opened(content).run({"x": graphs.random((3, 4))}, 3)


WIDE = {
    "w": graphs.random((8, 1, 1, 1)),
    "b": graphs.random((8,)),
    "v": graphs.random((1, 8, 1, 1)),
}
LAYERS = [node("Conv", "x w b", "a"), node("Relu", "a", "r"), node("Conv", "r v", "y")]


def test_a_large_batch_runs_in_parts():
    """Of 2 MB a sample; the third part is shorter. The model's own output is whole as well."""
    values = graphs.random((10, 1, 256, 256))
    content = graphs.model(LAYERS, {"x": ["n", 1, 256, 256]}, ["y"], WIDE)
    session = opened(content)
    batch = session.run({"x": values}, 10, outputs=["y"])
    assert session.part == 4
    assert batch.outputs["y"].shape == values.shape
    found = batch.layers["a"]
    assert found.entropy.shape == (10, 256, 256)
    inputs = values * WIDE["w"].reshape(1, 8, 1, 1) + WIDE["b"].reshape(1, 8, 1, 1)
    for probe in (0, 1, 2, 5, 9):
        rows = inputs[probe].reshape(8, -1)[:, :3]
        wanted = reference.over_rfavs(reference.entropy, rows, axis=0)
        np.testing.assert_allclose(found.entropy[probe, 0, :3], wanted, atol=1e-5)
    assert found.relu_zeros == pytest.approx((inputs <= 0).sum(), abs=3)
    np.testing.assert_array_equal(found.relu_maximum > 0, inputs.max(axis=(0, 2, 3)) > 0)


def test_a_batch_that_has_to_stay_whole():
    """The number of samples is fixed: in the input's shape, or within."""
    values = graphs.random((4, 1, 256, 256))
    fixed = opened(graphs.model(LAYERS, {"x": [4, 1, 256, 256]}, ["y"], WIDE))
    nodes = [node("Reshape", "x four", "f"), node("Conv", "f w b", "a"), *LAYERS[1:]]
    weights = WIDE | {"four": np.array([4, 1, 256, 256])}
    within = opened(graphs.model(nodes, {"x": ["n", 1, 256, 256]}, ["y"], weights))
    for session in (fixed, within):
        for _ in range(2):
            assert session.run({"x": values}, 4).layers["a"].entropy.shape == (4, 256, 256)
        assert session.part is None


def test_a_batch_that_is_normalised_by_its_own_numbers():
    """As an exporter leaves it that was given a network in training mode."""
    norm = node(
        "BatchNormalization",
        "a scale shift mean var",
        "n running_mean running_var",
        training_mode=1,
    )
    nodes = [LAYERS[0], norm, node("Relu", "n", "r"), LAYERS[2]]
    kept = {name: np.ones(8, np.float32) for name in ("scale", "shift", "mean", "var")}
    content = graphs.model(nodes, {"x": ["n", 1, 256, 256]}, ["y"], WIDE | kept, 15)
    session = opened(content)
    session.run({"x": graphs.random((10, 1, 256, 256))}, 10)
    assert session.part is None


@pytest.mark.parametrize(("axes", "shape"), [([0, 1], r"\[\]"), ([0], r"\[3\]")])
def test_an_output_without_a_row_a_sample(axes, shape):
    """As a loss that the model computes itself."""
    nodes = [node("MatMul", "x w", "a"), node("ReduceMean", "a", "y", axes=axes, keepdims=0)]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], {"w": graphs.random((4, 3))}, 13)
    with pytest.raises(
        UsageError, match=f"output 'y' of net.onnx has the shape {shape} for . samples"
    ):
        opened(content).run({"x": graphs.random((5, 4))}, 5, outputs=["y"])
