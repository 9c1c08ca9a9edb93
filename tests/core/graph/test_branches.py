"""Of an If whose condition no probe changes, the branch that runs is a part of the graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.core import graphs

import sparsight
from sparsight.errors import ModelError
from sparsight.graph.model import Model, open_model, with_known
from sparsight.graph.taps import find_taps

node = graphs.node
PROBES = graphs.random((5, 4))


def body(name: str, nodes: list, output: str, weights: dict | None = None) -> onnx.GraphProto:
    stored = [numpy_helper.from_array(array, key) for key, array in (weights or {}).items()]
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [value], stored)


def dense(source: str, name: str, made: str) -> onnx.NodeProto:
    return node("MatMul", f"{source} {name}.weight", made)


def switched(condition: list, inputs: dict | None = None, large: bool = False) -> bytes:
    """An If between two layers; its branches hold one or two, of which one is captured twice."""
    side = 200 if large else 4
    weights = {"one.weight": graphs.random((4, side)), "two.weight": graphs.random((side, 4))}
    then = body(
        "then", [dense("t", "one", "inner"), dense("inner", "two", "made")], "made", weights
    )
    other = {"other.weight": graphs.random((4, 4))}
    otherwise = body(
        "else", [dense("t", "other", "inner"), node("Tanh", "inner", "t3")], "t3", other
    )
    nodes = [
        dense("x", "first", "t"),
        *condition,
        node("If", "condition", "u", then_branch=then, else_branch=otherwise),
        node("Identity", "u", "inner"),  # a name of the branch
        dense("inner", "last", "y"),
    ]
    stored = {f"{name}.weight": graphs.random((4, 4)) for name in ("first", "last")}
    stored["sixteen"] = np.float32(16)
    return graphs.model(nodes, {"x": ["n", 4], **(inputs or {})}, ["y"], stored)


def outputs(content: bytes, feeds: dict) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def whole(model: Model) -> bytes:
    return graphs.whole(model.content, model.weights).SerializeToString()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("truth", [False, True])
def test_a_constant_condition(truth, large):
    constant = numpy_helper.from_array(np.array(truth))
    content = switched([node("Constant", "", "condition", value=constant)], large=large)
    model = open_model(content)
    chosen = ["one", "two"] if truth else ["other"]
    assert [tap.name for tap in find_taps(model).taps] == ["first", *chosen, "last"]
    np.testing.assert_array_equal(
        outputs(whole(model), {"x": PROBES}), outputs(content, {"x": PROBES})
    )
    measured = sparsight.analyze(content, PROBES, device="cpu")
    assert [part.layer.name for part in measured] == ["first", *chosen]


@pytest.mark.parametrize("rate", [8, 16])
def test_a_condition_on_a_scalar_input(rate):
    content = switched([node("Equal", "rate sixteen", "condition")], {"rate": []})
    found = find_taps(open_model(content))
    assert [tap.name for tap in found.taps] == ["first", "last"]
    assert "where rate decides what runs" in found.left_out[0].reason
    feeds = {"x": PROBES, "rate": np.array(rate, np.float32)}
    known = with_known(open_model(content), {"rate": feeds["rate"]})
    chosen = ["one", "two"] if rate == 16 else ["other"]
    assert [tap.name for tap in find_taps(known).taps] == ["first", *chosen, "last"]
    np.testing.assert_array_equal(outputs(whole(known), feeds), outputs(content, feeds))
    measured = sparsight.analyze(content, feeds, device="cpu")
    assert [part.layer.name for part in measured] == ["first", *chosen]


def test_a_condition_on_the_probes_stays_open():
    condition = [
        node("ReduceSum", "x", "sum", keepdims=0),
        node("Cast", "sum", "condition", to=TensorProto.BOOL),
    ]
    found = find_taps(open_model(switched(condition)))
    assert [tap.name for tap in found.taps] == ["first", "last"]
    assert "may run it any number of times" in found.left_out[0].reason


def test_the_layer_before_an_open_branch_is_hidden():
    content = switched([node("Equal", "rate sixteen", "condition")], {"rate": []})
    found = find_taps(open_model(content)).taps
    assert [tap.output_layer for tap in found] == [False, True]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_branches_within_branches(choices):
    """As many levels as there are choices, all with the same names: what runs is what is left."""

    def level(number: int, source: str) -> list[onnx.NodeProto]:
        if number == len(choices):
            return [dense(source, "a", "inner")]
        truth = numpy_helper.from_array(np.array(choices[number]))
        deeper = level(number + 1, source)
        shallow = [node("Relu", source, "inner")]
        return [
            node("Constant", "", f"c{number}", value=truth),
            node(
                "If",
                f"c{number}",
                "inner" if number else "u",
                then_branch=body("then", deeper, "inner"),
                else_branch=body("else", shallow, "inner"),
            ),
        ]

    nodes = [dense("x", "first", "t"), *level(0, "t"), dense("u", "last", "y")]
    weights = {f"{name}.weight": graphs.random((4, 4)) for name in ("first", "a", "last")}
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], weights)
    model = open_model(content)
    assert not any(part.op_type == "If" for part in model.graph.node)
    wanted = ["first", *(["a"] if all(choices) else []), "last"]
    assert [tap.name for tap in find_taps(model).taps] == wanted
    (found,) = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content)).run(
        None, {"x": PROBES}
    )
    np.testing.assert_allclose(outputs(whole(model), {"x": PROBES}), found, atol=1e-5)


@pytest.mark.parametrize(
    "condition",
    [
        [node("ConstantOfShape", "huge", "condition", value=helper.make_tensor("v", 9, [1], [1]))],
        [node("Reshape", "sixteen huge", "a"), node("Cast", "a", "condition", to=9)],
        [node("RandomUniform", "", "a", shape=[1]), node("Cast", "a", "condition", to=9)],
        [node("Nonsense", "sixteen", "condition", domain="own")],
    ],
)
def test_conditions_that_are_not_computed(condition):
    """Too large, wrong, random, unknown: the If stays, and ONNX Runtime says what it says."""
    content = onnx.ModelProto.FromString(switched(condition))
    content.graph.initializer.append(numpy_helper.from_array(np.array([2**40]), "huge"))
    assert any(part.op_type == "If" for part in open_model(content).graph.node)


def test_a_branch_with_too_few_outputs():
    constant = numpy_helper.from_array(np.array(True))
    proto = onnx.ModelProto.FromString(
        switched([node("Constant", "", "condition", value=constant)])
    )
    choice = next(part for part in proto.graph.node if part.op_type == "If")
    choice.output.append("more")
    with pytest.raises(ModelError):
        sparsight.analyze(proto, PROBES, device="cpu")


def test_taps_with_a_value(tmp_path, capsys):
    from sparsight.cli import main

    path = tmp_path / "model.onnx"
    path.write_bytes(switched([node("Equal", "rate sixteen", "condition")], {"rate": []}))
    assert main(["taps", str(path), "--input", "rate=16"]) == 0
    assert "two" in capsys.readouterr().out
    for given_value, said in (
        ("rate=much", "expected a number"),
        ("rate={}", "expected a number"),
        ("rate", "expected a number"),
        ("speed=1", "no scalar input 'speed'"),
    ):
        assert main(["taps", str(path), "--input", given_value]) == 2
        assert said in capsys.readouterr().err
