import numpy as np
import onnx
import pytest
from tests.core import graphs

import sparsight
from sparsight.errors import ModelError, TargetError
from sparsight.graph.layer_names import layer_name, unique
from sparsight.graph.model import open_model
from sparsight.graph.taps import filters, find_taps, select_taps

node = graphs.node


def taps_of(nodes, weights, inputs=None, outputs=("y",), **options):
    content = graphs.model(nodes, inputs or {"x": ["n", 4]}, outputs, weights, **options)
    return open_model(content), find_taps(open_model(content))


def test_a_convolution():
    weights = {"conv1.weight": graphs.random((6, 4, 3, 3)), "fc.weight": graphs.random((2, 6))}
    nodes = [
        node("Conv", "x conv1.weight", "a"),
        node("Relu", "a", "b"),
        node("GlobalMaxPool", "b", "c"),
        node("Flatten", "c", "d"),
        node("Gemm", "d fc.weight", "y", transB=1),
    ]
    model, found = taps_of(nodes, weights, {"x": ["n", 4, 8, 8]})
    conv, dense = found.taps
    assert (conv.name, conv.operator, conv.channels) == ("conv1", "Conv", 6)
    assert (conv.channel_axis, conv.rank, conv.tensor, conv.relu) == (1, 4, "a", "a")
    assert conv.weight_shape == (6, 4, 3, 3)
    assert conv.tapped_at == "linear output"
    assert (dense.name, dense.operator, dense.channels) == ("fc", "Gemm", 2)
    assert (dense.channel_axis, dense.relu) == (-1, None)
    assert not conv.output_layer
    assert dense.output_layer
    np.testing.assert_array_equal(filters(model, conv), weights["conv1.weight"])


@pytest.mark.parametrize("transposed_a", [0, 1])
@pytest.mark.parametrize("transposed_b", [0, 1])
def test_gemm_either_way_round(transposed_a, transposed_b):
    stored = graphs.random((3, 4)) if transposed_b else graphs.random((4, 3))
    gemm = node("Gemm", "x w", "y", transA=transposed_a, transB=transposed_b)
    inputs = {"x": [4, "n"] if transposed_a else ["n", 4]}
    model, found = taps_of([gemm], {"w": stored}, inputs)
    (tap,) = found.taps
    assert tap.channels == 3
    np.testing.assert_array_equal(filters(model, tap), stored if transposed_b else stored.T)


@pytest.mark.parametrize("swapped", [False, True])
def test_matmul_and_its_bias(swapped):
    weights = {"w": graphs.random((4, 3)), "fc.bias": graphs.random((3,))}
    nodes = [node("MatMul", "x w", "a"), node("Add", "fc.bias a" if swapped else "a fc.bias", "y")]
    model, found = taps_of(nodes, weights)
    (tap,) = found.taps
    assert (tap.name, tap.tensor, tap.channels, tap.rank) == ("fc", "y", 3, None)
    np.testing.assert_array_equal(filters(model, tap), weights["w"].T)


def test_a_convolutions_bias_in_an_add():
    weights = {"w": graphs.random((3, 4, 2, 2)), "b": graphs.random((3, 1, 1))}
    nodes = [node("Conv", "x w", "a"), node("Add", "a b", "y")]
    (tap,) = taps_of(nodes, weights, {"x": ["n", 4, 5, 5]})[1].taps
    assert tap.tensor == "y"


@pytest.mark.parametrize("shape", [(1,), (), (5, 3), (4, 1, 3)])
def test_what_is_no_bias_is_not_measured_as_one(shape):
    weights = {"w": graphs.random((4, 3)), "b": graphs.random(shape)}
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "y")]
    (tap,) = taps_of(nodes, weights)[1].taps
    assert tap.tensor == "a"


def test_the_relu_behind_batch_normalisation_and_a_sum():
    weights = {"w": graphs.random((4, 4, 1, 1))}
    weights |= {name: np.ones(4, np.float32) for name in ("s", "b", "m", "v")}
    nodes = [
        node("Conv", "x w", "a"),
        node("BatchNormalization", "a s b m v", "c"),
        node("Add", "c x", "d"),
        node("Identity", "d", "e"),
        node("Relu", "e", "y"),
    ]
    (tap,) = taps_of(nodes, weights, {"x": ["n", 4, 3, 3]})[1].taps
    assert tap.relu == "e"
    assert tap.batch_norm_folded is False


@pytest.mark.parametrize(
    ("sides", "found"), [([-1, 5, 4], True), ([-1, 4], True), ([-1, 4, 5], False)]
)
def test_the_relu_behind_a_reshape_that_keeps_the_channels_last(sides, found):
    weights = {"w": graphs.random((3, 4)), "sides": np.array(sides)}
    nodes = [node("Gemm", "x w", "a"), node("Reshape", "a sides", "b"), node("Relu", "b", "y")]
    (tap,) = taps_of(nodes, weights, {"x": ["n", 3]})[1].taps
    assert tap.relu == ("b" if found else None)


def test_relu6_is_a_relu_and_hard_swish_is_none():
    weights = {"w": graphs.random((4, 4)), "w2": graphs.random((4, 4))}
    weights |= {"zero": np.float32(0), "six": np.float32(6), "three": np.float32(3)}
    nodes = [
        node("Gemm", "x w", "a"),
        node("Clip", "a zero six", "b"),
        node("Gemm", "b w2", "c"),
        node("Add", "c three", "d"),
        node("Clip", "d zero six", "e"),
        node("Mul", "c e", "y"),
    ]
    first, second = taps_of(nodes, weights)[1].taps
    assert first.relu == "a"
    assert second.relu is None


def test_what_the_exporter_says_about_batch_normalisation():
    conv = node("Conv", "x w", "y")
    conv.metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="FuseBatchNormIntoConv")
    (tap,) = taps_of([conv], {"w": graphs.random((3, 4, 1, 1))}, {"x": ["n", 4, 5, 5]})[1].taps
    assert tap.batch_norm_folded is True
    plain = node("Conv", "x w", "y")
    (tap,) = taps_of([plain], {"w": graphs.random((3, 4, 1, 1))}, {"x": ["n", 4, 5, 5]})[1].taps
    assert tap.batch_norm_folded is None


def test_the_scale_of_a_dynamic_quantisation_is_no_way_to_the_output():
    weights = {"a.weight": np.ones((4, 4), np.uint8), "b.weight": np.ones((4, 4), np.uint8)}
    nodes = []
    for value, name, made in (("x", "a", "t"), ("t", "b", "y")):
        nodes += [
            node("DynamicQuantizeLinear", value, f"{name}q {name}s {name}z"),
            node("MatMulInteger", f"{name}q {name}.weight {name}z", f"{name}i"),
            node("Cast", f"{name}i", f"{name}f", to=1),
            node("Mul", f"{name}f {name}s", made),
        ]
    found = taps_of(nodes, weights)[1]
    assert [(tap.name, tap.output_layer) for tap in found.taps] == [("a", False), ("b", True)]


def test_batch_normalisation_written_out_and_sums_that_spread():
    weights = {"w": graphs.random((4, 4)), "v": graphs.random((4, 4))}
    weights |= {"s": graphs.random((4,)), "b": graphs.random((4,)), "two": np.float32(2)}
    nodes = [
        node("MatMul", "x w", "a"),
        node("Mul", "a s", "c"),
        node("Sub", "c b", "d"),
        node("Relu", "d", "e"),
        node("MatMul", "e v", "f"),
        node("Mul", "f two", "g"),  # a number for all channels is no batch normalisation
        node("Relu", "g", "h"),
        node("MatMul", "h w", "i"),
        node("Add", "i z", "j"),  # [n, 1, 4] and [n, 7, 4]: other positions than the layer's
        node("Relu", "j", "y"),
    ]
    inputs = {"x": ["n", 1, 4], "z": ["n", 7, 4]}
    found = taps_of(nodes, weights, inputs)[1]
    assert [tap.relu for tap in found.taps] == ["d", None, None]


def test_layers_that_no_probe_reaches_are_left_out():
    weights = {name: graphs.random((4, 4)) for name in ("table", "a", "b")}
    nodes = [
        node("Relu", "table", "t"),
        node("MatMul", "t a", "p"),
        node("Add", "x p", "s"),
        node("MatMul", "s b", "y"),
    ]
    found = taps_of(nodes, weights, {"x": ["n", 4, 4]})[1]
    assert [tap.tensor for tap in found.taps] == ["y"]
    (left,) = found.left_out
    assert left.reason == "it computes the same for all probes"
    with pytest.raises(ModelError, match=r"no measurable layers .*the same for all probes"):
        sparsight.analyze(graphs.model(nodes[:2], {}, ["p"], weights), {}, layers=["*"])


def test_weights_and_vectors_that_have_no_place_for_probes():
    weights = {"w": graphs.random((6, 4)), "v": graphs.random((4, 6))}
    nodes = [node("Gemm", "w x", "a", transB=1), node("MatMul", "z v", "y")]
    found = taps_of(nodes, weights, {"x": ["n", 4], "z": [4]}, outputs=("a", "y"))[1]
    assert [part.reason for part in found.left_out] == [
        "its weights come first, and its channels before the probes",
        "its output is one vector: no axis counts the probes",
    ]


def test_operators_of_one_name_get_names_of_their_own():
    """ONNX Runtime refuses them."""
    nodes = [
        node("MatMul", "x w", "a", name="layer"),
        node("Relu", "a", "r", name="layer"),
        node("MatMul", "r w", "b", name="layer"),
        node("MatMul", "b w", "y"),
    ]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], {"w": graphs.random((4, 4))})
    measured = sparsight.analyze(content, graphs.random((3, 4)), device="cpu")
    assert [part.layer.name for part in measured] == ["layer", "layer#3"]
    assert open_model(graphs.passing(2, 3)).content == graphs.passing(2, 3)


def test_selection_by_name_and_glob():
    weights = {f"conv{i}.weight": graphs.random((4, 4)) for i in (1, 2, 3)}
    names = ["x", "t1", "t2", "y"]
    nodes = [node("MatMul", f"{names[i]} conv{i + 1}.weight", names[i + 1]) for i in range(3)]
    found = taps_of(nodes, weights)[1]
    assert [tap.name for tap in select_taps(found).taps] == ["conv1", "conv2"]
    assert [(part.name, "output layer" in part.reason) for part in select_taps(found).left_out] == [
        ("conv3", True)
    ]
    assert [tap.name for tap in select_taps(found, ["conv3", "conv1"]).taps] == ["conv1", "conv3"]
    assert [tap.name for tap in select_taps(found, ["conv[23]"]).taps] == ["conv2", "conv3"]
    with pytest.raises(TargetError, match="no layer 'conv4'; did you mean"):
        select_taps(found, ["conv4"])


def test_products_of_activations_are_left_out():
    nodes = [node("Transpose", "x", "t"), node("MatMul", "x t", "y", name="/attn/MatMul")]
    found = taps_of(nodes, {})[1]
    assert not found.taps
    assert found.left_out[0].name == "attn"
    assert "not constant" in found.left_out[0].reason
    with pytest.raises(TargetError, match="'attn' cannot be measured: its weights are not const"):
        select_taps(found, ["attn"])


@pytest.mark.parametrize(
    ("weights", "bias", "path", "name"),
    [
        ("conv1.weight", "", "node_conv", "conv1"),
        ("features.0.weight", "", "", "features.0"),
        ("onnx::Conv_42", "onnx::Conv_43", "/conv1/Conv", "conv1"),
        ("onnx::MatMul_9", "1.0.0.fn.1.query.bias", "/1/1.0/MatMul", "1.0.0.fn.1.query"),
        ("onnx::MatMul_9", "", "/1/1.0/1.0.0/fn/fn.1/query/MatMul", "1.0.0.fn.1.query"),
        ("val_37", "tok.bias", "node_MatMul_38", "tok"),
        ("conv1_weights", "", "Conv@0", "conv1"),
        ("fire2/squeeze1x1_w_0", "", "", "fire2/squeeze1x1"),
        ("conv2d_1/kernel:0", "", "conv2d_1", "conv2d_1"),
        ("_fc.weight_quantized", "", "", "_fc"),
        ("Parameter5", "Parameter6", "Convolution28", "Convolution28"),
        ("48", "49", "", "tensor"),
        ("weight", "bias", "node_linear", "model"),
        ("conv.weight_v", "", "", "conv"),
        ("net.fc.parametrizations.weight.original1", "", "", "net.fc"),
        ("ConvMulFusion_W_ConvBnFusion_W_c1.weight", "", "", "c1"),
        ("val_3", "", "/a/a.fc/MatMul/MatmulTransposeFusion//MatMulScaleFusion/", "a.fc"),
    ],
)
def test_names(weights, bias, path, name):
    made = onnx.helper.make_node("Conv", [], ["tensor"], name=path)
    assert layer_name(made, weights, bias, "tensor") == name


def test_an_empty_selection():
    with pytest.raises(TargetError, match="the list of layers is empty"):
        select_taps(find_taps(open_model(graphs.passing(2, 3))), [])


def test_the_name_from_what_pytorch_records():
    made = onnx.helper.make_node("MatMul", [], ["t"], name="node_MatMul_3")
    made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'blocks.0.fc', 'linear']")
    assert layer_name(made, "val_3", "", "t") == "blocks.0.fc"


def test_a_bias_that_several_layers_share_names_none_of_them():
    """Before training all biases are zero, and exporters store them once."""
    weights = {"w": graphs.random((4, 4)), "v": graphs.random((4, 4)), "norm.bias": np.zeros(4)}
    nodes = [
        node("MatMul", "x w", "a", name="/block/query/MatMul"),
        node("Add", "a norm.bias", "b"),
        node("MatMul", "b v", "c", name="/block/key/MatMul"),
        node("Add", "c norm.bias", "y"),
    ]
    assert [tap.name for tap in taps_of(nodes, weights)[1].taps] == ["block.query", "block.key"]


def test_names_are_made_unique():
    assert unique(["a", "b", "a", "a#2", "a"]) == ["a", "b", "a#2", "a#2#2", "a#3"]


def test_shared_weights():
    nodes = [node("Gemm", "x fc.weight", "a"), node("Gemm", "a fc.weight", "y")]
    found = taps_of(nodes, {"fc.weight": graphs.random((4, 4))})[1]
    assert [tap.name for tap in found.taps] == ["fc", "fc#2"]


@pytest.mark.parametrize("content", [b"", b"nothing of ONNX", b"\x08\x07", b"\x00" * 100])
def test_what_is_no_model(content):
    with pytest.raises(ModelError, match="is not an ONNX"):
        open_model(content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        open_model(tmp_path / "nothing.onnx")
    with pytest.raises(ModelError, match="cannot read"):
        open_model(tmp_path)


def test_layers_within_a_models_own_functions():
    """A layer of a function is one where the function is called."""
    imports = [onnx.helper.make_opsetid("", 18)]
    function = onnx.helper.make_function(
        "own",
        "Dense",
        ["v", "w"],
        ["r"],
        [node("MatMul", "v w", "m"), node("Relu", "m", "r")],
        imports,
    )
    weights = {"a.weight": graphs.random((4, 4)), "b.weight": graphs.random((4, 4))}
    nodes = [
        node("Dense", "x a.weight", "h", domain="own"),
        node("Dense", "h b.weight", "y", domain="own"),
    ]
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], weights, domains=["own"])
    proto = onnx.ModelProto.FromString(content)
    proto.functions.append(function)
    taps = find_taps(open_model(proto)).taps
    assert [tap.name for tap in taps] == ["a", "b"]
    assert all(tap.relu == tap.tensor for tap in taps)
    (measured,) = sparsight.analyze(proto, graphs.random((3, 4)), device="cpu")
    assert np.isfinite(measured.statistics["dead_fraction"])
