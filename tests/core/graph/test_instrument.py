import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from tests.core import graphs, reference

from sparsight.analysis.analyze import layer_info
from sparsight.graph.instrument import instrument
from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps, select_taps
from sparsight.inference.session import TapSession
from sparsight.maths import entropy as core
from sparsight.measure.accumulator import LayerAccumulator

SHAPES = [(3, 1), (3, 2), (4, 17), (2, 5, 7), (2, 16, 3, 4), (2, 1, 3, 3), (2, 3, 2, 3, 2)]
HARD = [1e-30, 1e-3, 1.0, 8.0, 1e4, 1e30]


def measured(content: bytes, values, layer="layer"):
    model = open_model(content)
    taps = select_taps(find_taps(model), [layer]).taps
    session = TapSession(instrument(model, taps), taps, "cpu")
    return session.run({"x": values}, len(values)).layers[layer]


def assert_agrees(batch, activations, scale=1.0):
    shape = batch.entropy.shape
    wanted = reference.over_rfavs(reference.entropy, activations).reshape(shape)
    np.testing.assert_allclose(batch.entropy, wanted, atol=1e-5, rtol=1e-5)
    assert batch.companions.keys() == reference.OF_EACH_RFAV.keys()
    for name, function in reference.OF_EACH_RFAV.items():
        found = batch.companions[name]
        wanted = reference.over_rfavs(function, activations).reshape(shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=name != "rms" and 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", HARD)
def test_the_graph_computes_what_the_float64_loop_computes(shape, scale):
    values = graphs.random(shape, scale)
    assert_agrees(measured(graphs.passing(len(shape), shape[1]), values), values, scale)


@pytest.mark.parametrize("opset", graphs.OPSETS)
@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 3, 4)])
def test_every_opset(opset, shape):
    values = graphs.random(shape)
    batch = measured(graphs.passing(len(shape), shape[1], opset), values)
    assert_agrees(batch, values)
    assert batch.relu_zeros == (values <= 0).sum()
    axes = tuple(a for a in range(len(shape)) if a != 1)
    np.testing.assert_array_equal(batch.relu_maximum > 0, values.max(axis=axes) > 0)


@pytest.mark.parametrize("opset", graphs.OPSETS)
def test_the_nodes_are_standard_onnx(opset):
    """onnx's own evaluator runs them, and the checker takes them."""
    values = graphs.random((2, 6, 3, 4))
    model = open_model(graphs.passing(4, 6, opset))
    taps = select_taps(find_taps(model), ["layer"]).taps
    made = instrument(model, taps)
    proto = onnx.ModelProto.FromString(made.content)
    names = made.outputs["layer"]
    for output in proto.graph.output:  # the checker wants a shape, ONNX Runtime does not
        output.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(proto)
    results = ReferenceEvaluator(proto).run(list(names.values()), {"x": values})
    found = dict(zip(names, results, strict=True))
    entropy = -found["plogp"].reshape(2, 3, 4)
    np.testing.assert_allclose(entropy, core.rfav_entropy(values), atol=1e-5)
    for name, function in reference.OF_EACH_RFAV.items():
        wanted = reference.over_rfavs(function, values)
        np.testing.assert_allclose(found[name].reshape(2, 3, 4), wanted, atol=1e-5)
    sums = found["channel_sums"].sum((0, 1))
    np.testing.assert_allclose(sums, values.sum((0, 2, 3)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [1e4, -1e6, 1e6])
def test_an_offset_changes_nothing(offset):
    values = graphs.random((3, 16, 4, 4)) + np.float32(offset)
    batch = measured(graphs.passing(4, 16), values)
    wanted = core.rfav_entropy(values.astype(np.float64))
    np.testing.assert_allclose(batch.entropy, wanted, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 16, 17, 64, 257])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rank", [2, 4])
def test_nan_and_infinity_are_nan_and_nothing_else_is(channels, bad, rank):
    """At every channel: kernels that work on many numbers at once may lose a NaN in a maximum."""
    values = graphs.random((2 * channels, channels, *[2] * (rank - 2)))
    wrong = np.zeros((2 * channels, *values.shape[2:]), bool)
    for channel in range(channels):
        values[(channel, channel, *[1] * (rank - 2))] = bad
        wrong[(channel, *[1] * (rank - 2))] = True
    batch = measured(graphs.passing(rank, channels), values)
    wrong = wrong.reshape(batch.entropy.shape)
    np.testing.assert_array_equal(np.isnan(batch.entropy), wrong)
    for name in reference.OF_EACH_RFAV:
        unknown = wrong | (channels == 1 and name != "rms")
        np.testing.assert_array_equal(np.isnan(batch.companions[name]), unknown)


def test_zeros_are_dense_and_ones_channel_has_no_relative_entropy():
    zeros = measured(graphs.passing(4, 5), np.zeros((2, 5, 3, 3), np.float32))
    np.testing.assert_allclose(zeros.entropy, np.log(5), rtol=1e-6)
    np.testing.assert_allclose(zeros.companions["scale_free_entropy"], 1, rtol=1e-6)
    assert (zeros.companions["hoyer_sparsity"] == 0).all()
    assert (zeros.companions["rms"] == 0).all()
    assert zeros.relu_zeros == zeros.entropy.size * 5
    single = measured(graphs.passing(2, 1), graphs.random((4, 1)))
    assert (single.entropy == 0).all()
    assert np.isnan(single.companions["scale_free_entropy"]).all()
    assert np.isnan(single.companions["hoyer_sparsity"]).all()


def test_a_nan_neither_hides_a_living_channel_nor_counts_as_zero():
    values = -np.ones((2, 4, 3, 3), np.float32)
    values[1, 2] = 5
    assert list(measured(graphs.passing(4, 4), values).relu_maximum > 0) == [0, 0, 1, 0]
    values[0, :, 1, 1] = np.nan
    batch = measured(graphs.passing(4, 4), values)
    assert batch.relu_maximum[2] > 0
    assert batch.relu_zeros == (values <= 0).sum()


@pytest.mark.parametrize("opset", graphs.OPSETS)
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
@pytest.mark.parametrize("ways", [{}, {"by_position": True}, {"with_nan": True}])
def test_nan_among_relu_inputs(opset, shape, ways):
    """A channel of NaN only, a dead one with a NaN, a living one with a NaN, and one with an
    infinity of each sign, whose sum is NaN too; added to a layer, whose own sums would mix them."""
    inputs = -np.abs(graphs.random((6, np.prod(shape[2:], dtype=int), 4)))
    inputs[..., 0] = np.nan
    inputs[2:4, 0, 1] = np.nan
    inputs[1, 0, 2], inputs[4, 0, 2] = 5, np.nan
    inputs[0, 0, 3], inputs[1, 0, 3] = np.inf, -np.inf
    added = np.moveaxis(inputs, -1, 1).reshape(shape)
    nodes = list(onnx.ModelProto.FromString(graphs.passing(len(shape), 4, opset)).graph.node)
    nodes[1:2] = [
        graphs.node("Add", "layer_out other", "sum"),
        graphs.node("Relu", "sum", "active"),
    ]
    weights = {"layer.bias": np.zeros(4, np.float32)}
    weights["layer.weight"] = np.eye(4, dtype=np.float32).reshape(4, 4, *[1] * (len(shape) - 2))
    weights["last.weight"] = weights["layer.weight"]
    sides = ["n", *shape[1:]]
    model = open_model(graphs.model(nodes, {"x": sides, "other": sides}, ["y"], weights, opset))
    taps = select_taps(find_taps(model), ["layer"]).taps
    assert taps[0].relu == "sum"
    session = TapSession(instrument(model, taps, **ways), taps, "cpu")
    accumulator = LayerAccumulator(layer_info(taps[0]))
    for first in (0, 3):
        rows = added[first : first + 3]
        feeds = {"x": np.zeros_like(rows), "other": rows}
        accumulator.update(session.run(feeds, 3).layers["layer"], first)
    found = accumulator.result().statistics
    assert found["dead_fraction"] == 1 / 4
    known = added[~np.isnan(added)]
    assert found["zero_fraction"] == pytest.approx((known <= 0).mean())


def test_only_what_is_asked_for_is_computed():
    model = open_model(graphs.passing(4, 6))
    taps = select_taps(find_taps(model), ["layer"]).taps
    assert set(instrument(model, taps, ()).outputs["layer"]) == {"plogp"}
    assert set(instrument(model, taps, ["rms"]).outputs["layer"]) == {"plogp", "rms"}
    hoyer = instrument(model, taps, ["hoyer_sparsity"]).outputs["layer"]
    assert set(hoyer) == {"plogp", "hoyer_sparsity"}
    means = instrument(model, taps, ["channel_mean_share"]).outputs["layer"]
    assert set(means) == {"plogp", "rms", "channel_sums"}
    assert set(instrument(model, taps, ["correlation"]).outputs["layer"]) == {"plogp"}
    zeros = instrument(model, taps, ["zero_fraction"]).outputs["layer"]
    assert set(zeros) == {"plogp", "relu_zeros", "relu_sums"}


def test_the_model_stays_as_it_is_and_names_do_not_collide():
    nodes = [
        graphs.node("Gemm", "x w", "sparsight_0_plogp"),
        graphs.node("Gemm", "sparsight_0_plogp w", "y"),
    ]
    content = graphs.model(nodes, {"x": ["n", 3]}, ["y"], {"w": np.eye(3, dtype=np.float32)})
    model = open_model(content)
    taps = find_taps(model).taps
    made = instrument(model, taps)
    assert model.content == content
    assert model.proto.SerializeToString() == content
    assert made.content.startswith(content)
    values = graphs.random((4, 3))
    batch = TapSession(made, taps, "cpu").run({"x": values}, 4).layers[taps[0].name]
    assert_agrees(batch, values)


def test_chains_come_deepest_layer_first():
    model = open_model(graphs.passing(4, 6))
    taps = find_taps(model).taps
    proto = onnx.ModelProto.FromString(instrument(model, taps).content)
    made = [node.output[0] for node in proto.graph.node]
    outputs = instrument(model, taps).outputs
    assert made.index(outputs["last"]["plogp"]) < made.index(outputs["layer"]["plogp"])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("operator", ["MatMul", "Conv"])
@pytest.mark.parametrize("opset", [9, 13, 18])
def test_a_relu_behind_transpositions(operator, opset, masked):
    """Channels go elsewhere, are normalised and summed there, and come to a ReLU."""
    random = np.random.default_rng(0)
    if operator == "MatMul":
        weights = {"w": graphs.random((4, 6)), "scale": graphs.random((6, 1))}
        layer, inputs, perm = graphs.node("MatMul", "x w", "a"), ["n", 5, 4], (0, 2, 1)
        probes, axis = graphs.random((7, 5, 4)), 1
    else:
        weights = {"w": graphs.random((6, 4, 1, 1)), "scale": graphs.random((6,))}
        layer, inputs, perm = graphs.node("Conv", "x w", "a"), ["n", 4, 5, 3], (0, 2, 3, 1)
        probes, axis = graphs.random((7, 4, 5, 3)), -1
    weights["scale"][:2] = 0  # dead
    nodes = [
        layer,
        graphs.node("Transpose", "a", "t", perm=perm),
        graphs.node("Mul", "t scale", "m"),
        graphs.node("Relu", "m", "r"),
        graphs.node("Flatten", "r", "f"),
        graphs.node("MatMul", "f last", "y"),
    ]
    sides = 5 * (1 if operator == "MatMul" else 3) * 6
    weights["last"] = graphs.random((sides, 2))
    content = graphs.model(nodes, {"x": inputs}, ["y"], weights, opset)
    model = open_model(content)
    tap = find_taps(model).taps[0]
    assert (tap.tensor, tap.relu) == ("a", "m")
    probes = probes + random.normal(size=probes.shape).astype(np.float32)
    (values,) = reference.tensors_of(content, {"x": probes}, "m")
    session = TapSession(instrument(model, [tap], by_position=masked), [tap], "cpu")
    statistics = session.run({"x": probes}, len(probes)).layers[tap.name]
    at_most_zero = np.moveaxis(values, axis, -1) <= 0
    if masked:
        np.testing.assert_array_equal(statistics.relu_at_most_zero, at_most_zero)
    else:
        others = tuple(range(at_most_zero.ndim - 1))
        assert statistics.relu_zeros == at_most_zero.sum()
        np.testing.assert_array_equal(statistics.relu_maximum <= 0, at_most_zero.all(others))
        assert (statistics.relu_maximum <= 0).sum() >= 2
