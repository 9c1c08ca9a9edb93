"""An output layer is one on whose values no other layer depends."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.core import graphs

from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps, select_taps

node = graphs.node


def output_layers(nodes, weights, inputs=None, outputs=("y",), **options) -> set[str]:
    """Names of the output layers; `weights` are names of matrices, or arrays by name."""
    if not isinstance(weights, dict):
        weights = {f"{name}.weight": graphs.random((4, 4)) for name in weights}
    content = graphs.model(nodes, inputs or {"x": ["n", 4]}, outputs, weights, **options)
    return {tap.name for tap in find_taps(open_model(content)).taps if tap.output_layer}


def dense(source: str, name: str, made: str) -> onnx.NodeProto:
    return node("MatMul", f"{source} {name}.weight", made)


def test_of_several_heads_each_is_one():
    nodes = [
        dense("x", "stem", "t"),
        dense("t", "classes", "a"),
        node("Softmax", "a", "y1"),
        dense("t", "boxes", "y2"),
    ]
    assert output_layers(nodes, ["stem", "classes", "boxes"], outputs=("y1", "y2")) == {
        "classes",
        "boxes",
    }


def test_residual_additions_lead_past_layers():
    """t and u reach the output through additions alone, but the next layer has read them."""
    nodes = [
        dense("x", "a", "t"),
        dense("t", "b", "u"),
        node("Add", "t u", "v"),
        dense("v", "c", "w"),
        node("Add", "v w", "y"),
    ]
    assert output_layers(nodes, "abc") == {"c"}


def test_features_that_are_returned_too():
    nodes = [
        dense("x", "a", "t"),
        node("Relu", "t", "u"),
        dense("u", "b", "v"),
        dense("v", "c", "y"),
    ]
    assert output_layers(nodes, "abc", outputs=("y", "u", "v")) == {"c"}


def test_a_cache_of_keys():
    """The keys leave the model, and the product of query and key is no layer."""
    nodes = [
        dense("x", "key", "k"),
        dense("x", "query", "q"),
        node("Concat", "past k", "present", axis=0),
        node("Transpose", "present", "t"),
        node("MatMul", "q t", "scores"),
        node("MatMul", "scores present", "mixed"),
        dense("mixed", "out", "y"),
    ]
    inputs = {"x": ["n", 4], "past": ["m", 4]}
    weights = ["key", "query", "out"]
    assert output_layers(nodes, weights, inputs, outputs=("y", "present")) == {"out"}
    assert output_layers(nodes[:-1], weights, inputs, outputs=("mixed",)) == {"key", "query"}


def test_a_layer_whose_values_feed_an_lstm():
    lstm = node("LSTM", "t w r", "sequence h c", hidden_size=3)
    weights = {
        "in.weight": graphs.random((4, 4)),
        "w": graphs.random((1, 12, 4)),
        "r": graphs.random((1, 12, 3)),
    }
    nodes = [dense("x", "in", "t"), lstm]
    inputs = {"x": ["length", "n", 4]}
    assert output_layers(nodes, weights, inputs, outputs=("sequence", "h", "c", "t")) == set()
    weights["out.weight"] = graphs.random((3, 2))
    nodes += [node("Squeeze", "h axis", "s"), dense("s", "out", "y")]
    weights["axis"] = np.array([0])
    assert output_layers(nodes, weights, inputs, outputs=("y", "h", "c")) == {"out"}


@pytest.mark.parametrize("maker", ["Shape", "Size", "ConstantOfShape"])
def test_shapes_are_no_values(maker):
    """The second layer multiplies by something that knows of the first one's shape alone."""
    nodes = [dense("x", "a", "t"), node("Shape", "t", "shape")]
    if maker == "Size":
        nodes += [node("Size", "t", "size"), node("Cast", "size", "number", to=TensorProto.FLOAT)]
        nodes += [node("Mul", "x number", "u")]
    elif maker == "Shape":
        nodes += [node("Reshape", "x shape", "u")]
    else:
        nodes += [node("ConstantOfShape", "shape", "zeros"), node("Add", "x zeros", "u")]
    nodes += [dense("u", "b", "y")]
    assert output_layers(nodes, "ab", outputs=("y", "t")) == {"a", "b"}
    assert output_layers([*nodes[:-1], node("Add", "u t", "v"), dense("v", "b", "y")], "ab") == {
        "b"
    }


def test_a_shape_on_the_way_to_the_output():
    nodes = [
        dense("x", "a", "t"),
        node("Relu", "t", "r"),
        node("Shape", "r", "shape"),
        dense("r", "b", "u"),
        node("Reshape", "u shape", "y"),
    ]
    assert output_layers(nodes, "ab") == {"b"}


@pytest.mark.parametrize("with_layer", [False, True])
@pytest.mark.parametrize("captured", ["t", "shape of t"])
def test_what_a_body_captures(with_layer, captured):
    if captured == "t":
        body, last = [node("Identity", "t", "seen")], "seen"
    else:
        body, last = [node("Shape", "t", "shape"), node("Reshape", "x shape", "seen")], "seen"
    if with_layer:
        body, last = [*body, dense("seen", "b", "inner")], "inner"
    value = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    then = helper.make_graph(body, "then", [], [value])
    same = helper.make_tensor_value_info("same", TensorProto.FLOAT, None)
    otherwise = helper.make_graph([node("Identity", "x", "same")], "else", [], [same])
    nodes = [
        dense("x", "a", "t"),
        node("ReduceSum", "x", "sum", keepdims=0),
        node("Cast", "sum", "condition", to=TensorProto.BOOL),
        node("If", "condition", "u", then_branch=then, else_branch=otherwise),
        node("Relu", "u", "y"),
    ]
    hidden = with_layer and captured == "t"
    assert output_layers(nodes, "abc") == (set() if hidden else {"a"})
    nodes[-1] = dense("u", "c", "y")
    assert output_layers(nodes, "abc") == ({"c"} if captured == "t" else {"a", "c"})


def test_what_an_operator_adds_to_its_product_passes_it_by():
    nodes = [dense("x", "a", "t"), node("Gemm", "x b.weight t", "y")]
    assert output_layers(nodes, "ab") == {"a", "b"}
    weights = {"a.weight": graphs.random((4, 4, 1, 1)), "b.weight": graphs.random((4, 4, 1, 1))}
    nodes = [
        node("Conv", "x a.weight", "t"),
        node("FusedConv", "x b.weight - t", "y", domain="com.microsoft", activation="Relu"),
    ]
    inputs = {"x": ["n", 4, 5, 5]}
    assert output_layers(nodes, weights, inputs, domains=["com.microsoft"]) == {"a", "b"}


def test_a_layer_that_nothing_uses_is_one():
    assert output_layers([dense("x", "a", "t"), dense("x", "b", "y")], "ab") == {"a", "b"}


def test_the_last_use_of_shared_weights():
    nodes = [dense("x", "a", "t"), dense("t", "a", "u"), node("Relu", "u", "y")]
    assert output_layers(nodes, "a") == {"a#2"}


def test_where_all_are_output_layers_all_are_chosen():
    nodes = [dense("x", "a", "y1"), dense("x", "b", "y2")]
    weights = {f"{name}.weight": graphs.random((4, 4)) for name in "ab"}
    found = find_taps(open_model(graphs.model(nodes, {"x": ["n", 4]}, ["y1", "y2"], weights)))
    assert [tap.name for tap in select_taps(found).taps] == ["a", "b"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["layer", "add", "shape"]), st.integers(0, 9))))
def test_against_the_definition_written_out(steps):
    """Each step makes a value of two earlier ones; a layer is hidden if a path leads from it to
    another, and no path leads through a shape."""
    values, nodes, weights, reads = ["x"], [], {}, {"x": ()}
    for number, (step, seed) in enumerate(steps):
        first, second = (values[(seed + i * number) % len(values)] for i in (1, 2))
        made = f"v{number}"
        if step == "layer":
            nodes.append(dense(first, made, made))
            weights[f"{made}.weight"] = graphs.random((4, 4))
            reads[made] = (first,)
        elif step == "add":
            nodes.append(node("Add", f"{first} {second}", made))
            reads[made] = (first, second)
        else:
            nodes += [
                node("Shape", second, f"s{number}"),
                node("Expand", f"{first} s{number}", made),
            ]
            reads[made] = (first,)
        values.append(made)
    layers = {name.removesuffix(".weight") for name in weights}
    if not layers:
        return

    def depends(value: str, on: str) -> bool:
        return any(source == on or depends(source, on) for source in reads[value])

    wanted = {name for name in layers if not any(depends(other, name) for other in layers)}
    assert output_layers(nodes, weights, outputs=values[-2:]) == wanted
