"""Files that ONNX Runtime's optimisers and quantisers saved, against those they were made of."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as native
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from tests.core import zoo

from sparsight.graph.biases import BIASED
from sparsight.graph.instrument import instrument
from sparsight.graph.model import Model, open_model
from sparsight.graph.nodes import kind
from sparsight.graph.operators import OPERATORS
from sparsight.graph.taps import Tap, filters, find_taps
from sparsight.inference.session import TapSession
from sparsight.measure.batch import BatchStatistics

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter and the quantisers

Level = onnxruntime.GraphOptimizationLevel
LEVELS = {
    "basic": Level.ORT_ENABLE_BASIC,
    "extended": Level.ORT_ENABLE_EXTENDED,
    "all": Level.ORT_ENABLE_ALL,
}


def saved(content: bytes, level: str, folder: Path) -> Path:
    """The model as ONNX Runtime saves it at a level of optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = str(folder / f"{level}.onnx")
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # waiting threads would take the processor from other tests
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return folder / f"{level}.onnx"


def by_transformers(name: str, folder: Path, attention: bool) -> Path:
    """As the transformers optimizer saves it, with the attention fused or not."""
    exported = zoo.exported(name)
    (folder / "plain.onnx").write_bytes(exported.content)
    options = FusionOptions(exported.model_type)
    options.enable_attention = attention
    logging.disable(logging.ERROR)
    try:
        made = optimize_model(
            str(folder / "plain.onnx"),
            exported.model_type,
            num_heads=2,
            hidden_size=32,
            optimization_options=options,
            opt_level=0,
        )
        made.save_model_to_file(str(folder / "transformers.onnx"))
    finally:
        logging.disable(logging.NOTSET)
    return folder / "transformers.onnx"


@dataclass
class Layer:
    tap: Tap
    rows: NDArray
    statistics: BatchStatistics


def layers(model: Model, feeds: dict) -> list[Layer]:
    taps = find_taps(model).taps
    count = len(next(iter(feeds.values())))
    found = TapSession(instrument(model, taps), taps, "cpu").run(feeds, count).layers
    return [
        Layer(tap, filters(model, tap).reshape(tap.channels, -1), found[tap.name]) for tap in taps
    ]


def same_weights(layer: Layer, others: list[Layer]) -> list[Layer]:
    return [
        other
        for other in others
        if other.rows.shape == layer.rows.shape
        and np.allclose(other.rows, layer.rows, rtol=1e-5, atol=1e-6)
    ]


def assert_same_or_said(before: list[Layer], after: list[Layer], left_out: int) -> Counter:
    """Each layer has the statistics that it had, or says what differs; none is lost without a
    word."""
    told: Counter = Counter()
    for layer in after:
        matching = same_weights(layer, before)
        words = layer.tap.tapped_at
        if words == "linear output" and layer.tap.batch_norm_folded is not True:
            assert len(matching) == 1, layer.tap
            then, now = (
                {"entropy": statistics.entropy, **statistics.companions}
                for statistics in (matching[0].statistics, layer.statistics)
            )
            assert now.keys() == then.keys()
            for part, values in now.items():
                found, wanted = np.sort(values.ravel()), np.sort(then[part].ravel())
                np.testing.assert_allclose(found, wanted, atol=2e-4, err_msg=layer.tap.name)
            words = "same"
        told[words] += 1
    assert len(after) + left_out >= len(before)
    return told


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_levels_of_optimisation(name, level, tmp_path):
    exported = zoo.exported(name)
    plain = open_model(exported.content)
    model = open_model(saved(exported.content, level, tmp_path))
    before, after = layers(plain, exported.feeds), layers(model, exported.feeds)
    left_out = len(find_taps(model).left_out) - len(find_taps(plain).left_out)
    told = assert_same_or_said(before, after, left_out)
    if name == "convolutions":
        said = told + Counter(tap.reason for tap in find_taps(model).left_out)
        assert len(said) > 1, "ONNX Runtime folds and fuses in this one"
    else:
        assert told["same"] >= len(before) - 2  # Whisper's convolutions, laid out for the CPU


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("name", [n for n in zoo.NETWORKS if zoo.NETWORKS[n][2]])
def test_the_transformers_optimizer(name, attention, tmp_path):
    exported = zoo.exported(name)
    plain = open_model(exported.content)
    model = open_model(by_transformers(name, tmp_path, attention))
    before, after = layers(plain, exported.feeds), layers(model, exported.feeds)
    inside = [part for part in find_taps(model).left_out if "inside" in part.reason]
    told = assert_same_or_said(before, after, 3 * len(inside))
    assert set(told) == {"same"}


TAKEN = {
    "convolutions": {"BiasGelu"},
    "BERT": {"BiasGelu", "SkipLayerNormalization"},
    "BERT with GELU by tanh": {"FastGelu", "SkipLayerNormalization"},
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_optimisers_do_take_biases(name, tmp_path):
    """Otherwise the comparisons above compare nothing."""
    paths = [saved(zoo.exported(name).content, "extended", tmp_path)]
    if zoo.NETWORKS[name][2]:
        paths.append(by_transformers(name, tmp_path, attention=True))
    taken = {
        node.op_type
        for path in paths
        for node in onnx.load(path).graph.node
        if kind(node) in BIASED and len(node.input) > BIASED[kind(node)].bias
    }
    assert taken == TAKEN[name]


def test_what_was_folded_into_weights_is_said(tmp_path):
    exported = zoo.exported("convolutions")
    taps = find_taps(open_model(saved(exported.content, "basic", tmp_path))).taps
    found = {tap.name: (tap.batch_norm_folded, tap.tapped_at) for tap in taps}
    assert found["c1"] == found["c2"] == (True, "linear output")
    assert found["depthwise"] == (None, "linear output, with a Mul folded in")
    taps = find_taps(open_model(saved(exported.content, "extended", tmp_path))).taps
    found = {tap.name: (tap.batch_norm_folded, tap.tapped_at) for tap in taps}
    assert found["c1"] == (True, "after the activation")
    assert found["fc1"] == (None, "linear output, scaled by 0.5")


class Calibration(CalibrationDataReader):
    def __init__(self, feeds: dict) -> None:
        self._feeds = [feeds, feeds]

    def get_next(self) -> dict | None:
        return self._feeds.pop() if self._feeds else None


def quantised(name: str, how: str, folder: Path) -> Path:
    exported = zoo.exported(name)
    plain, made = folder / "plain.onnx", folder / "quantised.onnx"
    plain.write_bytes(exported.content)
    logging.disable(logging.ERROR)
    try:
        if how == "dynamic":
            quantize_dynamic(plain, made)
        elif how in ("QDQ", "QOperator"):
            quantize_static(plain, made, Calibration(exported.feeds), quant_format=QuantFormat[how])
        else:
            quantiser = MatMulNBitsQuantizer(onnx.load(plain), bits=int(how), block_size=16)
            quantiser.process()
            onnx.save(quantiser.model.model, made)
    finally:
        logging.disable(logging.NOTSET)
    return made


MULTIPLY = {*OPERATORS}


def unaccounted(model: Model) -> list[str]:
    """Nodes with constant weights of rank 2 or more, of operators that multiply, and of operators
    that nobody knows, which are neither measured nor listed: counted, not matched."""
    found = find_taps(model)
    listed = Counter(part.operator for part in (*found.taps, *found.left_out))
    there: Counter = Counter()
    for node in model.graph.node:
        shapes = [model.shape_of(name) for name in node.input if name]
        weighted = any(shape is not None and len(shape) > 1 for shape in shapes)
        if weighted and kind(node) not in HARMLESS:
            there[node.op_type] += 1
    return [kind for kind, number in there.items() if number > listed[kind]]


HARMLESS = {
    ("", name)
    for name in (
        *("Add", "Sub", "Mul", "Div", "Pow", "Where", "Gather", "Concat", "Transpose", "Expand"),
        *("Reshape", "Cast", "Identity", "DequantizeLinear", "Slice", "Unsqueeze", "Max", "Equal"),
        *("Less", "LessOrEqual", "Greater", "Shape", "QuantizeLinear", "Squeeze", "ScatterND"),
        *("And", "Split", "Clip", "Pad", "Tile"),
    )
} | {
    ("com.microsoft", name)
    for name in (
        *("EmbedLayerNormalization", "QLinearAdd", "QLinearMul", "DequantizeLinear"),
        *("QuantizeLinear", "SkipLayerNormalization", "MultiHeadAttention", "BiasSoftmax"),
        *("SkipSimplifiedLayerNormalization", "RelativePositionBias", "QLinearConcat"),
        *("GatherBlockQuantized",),
    )
}
"""Operators that sum, move, look up or scale: constants of theirs are no filters."""


@pytest.mark.parametrize("how", ["dynamic", "QDQ", "QOperator", "4", "8"])
@pytest.mark.parametrize("name", ["convolutions", "BERT", "GPT-2", "Whisper"])
def test_whatever_multiplies_is_measured_or_listed(name, how, tmp_path):
    path = quantised(name, how, tmp_path)
    for level in (None, "all"):
        model = open_model(saved(path.read_bytes(), level, tmp_path) if level else path)
        assert unaccounted(model) == []
        assert find_taps(model).taps


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_whatever_multiplies_in_plain_and_optimised_files(name, tmp_path):
    content = zoo.exported(name).content
    paths = [saved(content, level, tmp_path).read_bytes() for level in LEVELS]
    for made in (content, *paths):
        assert unaccounted(open_model(made)) == []


WITHOUT_WEIGHTS = {
    *("BatchNormalization", "InstanceNormalization", "TorchEmbedding", "MulInteger"),
    *("BiasGelu", "ComplexMul", "ComplexMulConj", "QLinearAdd", "QLinearMul"),
    *("QOrderedLayerNormalization", "LinearAttentionGate"),
}
"""Contrib operators with an input of such a name that scale, sum or look up."""


def _is_weight(name: str) -> bool:
    norm = name.endswith(("norm_weight", "head_weights"))
    return not norm and (name in ("W", "B", "R", "w", "b") or "weight" in name)


def test_every_operator_of_onnx_runtime_with_weights_has_a_place():
    """What a newer ONNX Runtime brings shows here."""
    lost = []
    for schema in native.get_all_operator_schema():
        if not schema.domain.startswith(("com.microsoft", "com.ms")):
            continue
        names = [part.name for part in schema.inputs]
        weighted = any(map(_is_weight, names))
        known = (schema.domain, schema.name) in MULTIPLY
        if weighted and not known and schema.name not in WITHOUT_WEIGHTS:
            lost.append((schema.domain, schema.name, names))
    assert lost == []


def test_every_operator_of_onnx_runtime_with_a_bias_has_a_place():
    lost = []
    for schema in native.get_all_operator_schema():
        names = [part.name for part in schema.inputs]
        kind = (schema.domain, schema.name)
        if schema.domain == "com.microsoft" and "bias" in names and kind not in MULTIPLY:
            if kind not in BIASED:
                lost.append(kind)
            else:
                assert names[BIASED[kind].bias] == "bias", kind
    assert lost == []
