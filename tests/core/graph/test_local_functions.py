"""Models with functions of their own: written out where that is bearable, counted beforehand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.core import graphs

from sparsight.errors import ModelError
from sparsight.graph.model import open_model

IMPORTS = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]


def nested(levels: int, calls: int, lowest: str = "Neg", body: bool = False) -> bytes:
    """f0 negates `calls` times; each further function calls the one below as often."""
    functions = []
    for level in range(levels):
        name = f"f{level - 1}" if level else lowest
        values = ["x", *(f"v{call}" for call in range(1, calls)), "y"]
        domain = "" if name == "Neg" else "own"
        nodes = [
            helper.make_node(name, [values[call]], [values[call + 1]], domain=domain)
            for call in range(calls)
        ]
        if body:
            inner = [helper.make_node(name, ["x"], ["z"], domain=domain)]
            out = [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)]
            graph = helper.make_graph(inner, "branch", [], out)
            yes = helper.make_node(
                "Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))
            )
            nodes = [
                yes,
                helper.make_node("If", ["yes"], ["y"], then_branch=graph, else_branch=graph),
            ]
        functions.append(helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, IMPORTS))
    nodes = [
        helper.make_node(f"f{levels - 1}", ["x"], ["f"], domain="own"),
        graphs.node("MatMul", "f w", "y"),
    ]
    weights = {"w": np.eye(3, dtype=np.float32)}
    model = onnx.ModelProto.FromString(graphs.model(nodes, {"x": ["n", 3]}, ["y"], weights))
    del model.opset_import[:]
    model.opset_import.extend(IMPORTS)
    model.functions.extend(functions)
    return model.SerializeToString()


@pytest.mark.parametrize(("levels", "calls"), [(1, 1), (6, 2), (3, 5), (100, 1)])
def test_functions_are_written_out(levels: int, calls: int) -> None:
    graph = open_model(nested(levels, calls)).graph
    assert sum(node.op_type == "Neg" for node in graph.node) == calls**levels
    assert len(graph.node) == calls**levels + 1


@pytest.mark.parametrize("levels", [25, 99])
def test_an_expansion_out_of_bounds(levels: int) -> None:
    operators = f"{2**levels + 1:,} operators"
    with pytest.raises(ModelError, match=f"its functions expand to {operators}.* 262,144 and"):
        open_model(nested(levels, 2))


def test_an_expansion_in_bodies() -> None:
    """Two branches call the function below: 2^30 again."""
    with pytest.raises(ModelError, match=r"its functions expand to .* operators"):
        open_model(nested(30, 1, body=True))


@pytest.mark.parametrize("levels", [101, 20_000])
def test_functions_that_call_each_other_over_too_many_levels(levels: int) -> None:
    with pytest.raises(ModelError, match=f"over {levels} levels; expected at most 100"):
        open_model(nested(levels, 1))


@pytest.mark.parametrize("levels", [1, 2, 30])
def test_functions_that_call_themselves(levels: int) -> None:
    with pytest.raises(ModelError, match=r"its function 'f\d+' calls itself"):
        open_model(nested(levels, 2, lowest=f"f{levels - 1}"))
