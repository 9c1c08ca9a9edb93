"""Models by others: measured in agreement with the float64 loop, or refused with a sentence."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.core import reference

import sparsight
from sparsight.correlation import correlation_summary
from sparsight.errors import ModelError
from sparsight.instrument import instrument
from sparsight.model import open_model
from sparsight.session import TapSession
from sparsight.taps import filters, find_taps

DATA = Path(os.environ.get("SPARSIGHT_TEST_DATA", Path(__file__).parents[3] / "shared"))
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not (DATA / "models").is_dir(), reason=f"{DATA} holds no models"),
]


def noise(*shape, low=-1.0, high=1.0, dtype=np.float32):
    return np.random.default_rng(0).uniform(low, high, shape).astype(dtype)


def mnist(count):
    with np.load(DATA / "data/mnist_test.npz") as content:
        return content["x_test"][:count, None] / np.float32(255)


# the model's file: its probes, and how many layers it has
MODELS = {
    "efficientnet_lite0": (lambda: {"input": noise(2, 3, 224, 224)}, 50),
    "efficientnet_lite0_int8_qdq": (lambda: {"input": noise(2, 3, 224, 224)}, 50),
    "SqueezeNet_fp16": (
        lambda: {"data_0": noise(1, 3, 224, 224, high=100, dtype=np.float16)},
        26,
    ),
    "wml_cifar10_ImageClassifier": (lambda: {"modelInput": noise(3, 3, 32, 32)}, 5),
    "ppocr_v2_cls_mobilenetv3": (lambda: {"x": noise(2, 3, 48, 192)}, 54),
    "ort_examples_mnist": (lambda: {"Input3": mnist(1) * 255}, 3),
    "cifar10_vit": (lambda: {"input": noise(3, 3, 32, 32, low=-2, high=2)}, 14),
    "magika_standard_v3_3": (
        lambda: {"bytes": noise(2, 2048, low=0, high=256, dtype=np.int32)},
        3,
    ),
    "mtcnn_pnet": (lambda: {"input_1": noise(2, 40, 50, 3)}, 5),
    "eeg_spindle_detector": (
        lambda: {"raw_signal": noise(2, 1, 7500), "spectrogram": noise(2, 15, 7500)},
        29,
    ),
    "mnist_cnn_epochs/epoch_05": (lambda: {"input": mnist(4)}, 5),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_agrees_with_the_loop(name):
    probes, layers = MODELS[name]
    feeds = probes()
    model = open_model(DATA / f"models/{name}.onnx")
    taps = find_taps(model).taps
    assert len(taps) == layers
    count = len(next(iter(feeds.values())))
    session = TapSession(instrument(model, taps), taps, "cpu")
    measured = session.run(feeds, count).layers
    tensors = tapped_tensors(model, taps, feeds)
    for tap in taps:
        batch, tensor = measured[tap.name], tensors[tap.tensor]
        axis = tap.channel_axis
        check(batch.entropy, reference.entropy, tensor, axis, tap)
        check(batch.scale_free_entropy, reference.scale_free, tensor, axis, tap)
        check(batch.rms, reference.rms, tensor, axis, tap)
        if tap.relu == tap.tensor:
            assert batch.relu_zeros == (tensor <= 0).sum()
        rows = filters(model, tap)
        assert len(rows) == tap.channels == tensor.shape[axis]
        assert correlation_summary(rows).counts.sum() <= len(rows) * (len(rows) - 1) / 2


def tapped_tensors(model, taps, feeds):
    """As the instrumented model computes them: beside taps, layers are fused in other ways."""
    proto = onnx.ModelProto.FromString(instrument(model, taps).content)
    names = list(dict.fromkeys(tap.tensor for tap in taps))
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, feeds), strict=True))


def check(measured, function, tensor, axis, tap, samples=100):
    """At some positions of every layer: the loop is slow."""
    rows = np.moveaxis(tensor, axis, -1).reshape(-1, tap.channels)
    assert measured.size == len(rows), tap
    chosen = np.random.default_rng(0).permutation(len(rows))[:samples]
    wanted = np.array([function(row) for row in rows[chosen]])
    tolerance = 1e-4 * max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
    np.testing.assert_allclose(
        measured.reshape(-1)[chosen], wanted, atol=tolerance, err_msg=str(tap)
    )


def test_layers_within_a_branch_are_not_measured():
    path = DATA / "models/silero_vad.onnx"
    found = find_taps(open_model(path))
    assert found.taps == ()
    assert {part.operator for part in found.left_out} >= {"Conv", "LSTM"}
    assert all("inside If" in part.reason for part in found.left_out)
    with pytest.raises(ModelError, match="no measurable layer"):
        sparsight.analyze(path, {"input": noise(1, 512)})


def test_operators_that_onnx_runtime_lacks():
    path = DATA / "models/superres_prepost_op18.onnx"
    with pytest.raises(ModelError, match=r"cannot run .* on cpu.*DecodeImage"):
        sparsight.analyze(path, {"image": noise(100, dtype=np.uint8)}, device="cpu")


def test_a_training_run():
    """Ten epochs: the activations of the first convolution grow, and no epoch is like another."""
    paths = sorted((DATA / "models/mnist_cnn_epochs").glob("*.onnx"))
    runs = [sparsight.analyze(path, mnist(64), device="cpu") for path in paths]
    rms = [run[0].statistics["rms"] for run in runs]
    assert rms[-1] > 1.2 * rms[0]
    for layer in range(4):
        values = [run[layer].relative_entropy for run in runs]
        assert len(set(values)) == 10
        assert 0.5 < min(values) < max(values) < 1
