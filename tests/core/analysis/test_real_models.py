"""Models by others: measured in agreement with the float64 loop, or refused with a sentence."""

import os
from pathlib import Path

import numpy as np
import pytest
from tests.core.agreement import assert_agreement

import sparsight
from sparsight.errors import ModelError
from sparsight.graph.model import open_model, with_known
from sparsight.graph.taps import find_taps

DATA = Path(os.environ.get("SPARSIGHT_TEST_DATA", Path(__file__).parents[4] / "shared"))
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
    model = open_model(DATA / f"models/{name}.onnx")
    assert assert_agreement(model, probes()) == layers


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_branch_that_a_scalar_input_chooses(rate):
    path = DATA / "models/silero_vad.onnx"
    found = find_taps(open_model(path))
    assert found.taps == ()
    assert {part.operator for part in found.left_out} >= {"Conv", "LSTM"}
    assert all("sr decides what runs" in part.reason for part in found.left_out)
    state = np.zeros((2, 2, 128), np.float32)  # of 2 layers, and of 2 probes
    probes = {"input": noise(2, rate * 36 // 1000), "state": state, "sr": np.array(rate)}
    measured = sparsight.analyze(path, probes, device="cpu", statistics="entropy")
    names = [part.layer.name.split("__")[-1] for part in measured]
    assert names == ["/stft/Conv", *(f"encoder.{i}.reparam_conv" for i in range(4))]
    assert measured[0].layer.channels == {16000: 258, 8000: 130}[rate]
    chosen = with_known(open_model(path), {"sr": np.int64(rate)})
    assert assert_agreement(chosen, probes) == 6


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
