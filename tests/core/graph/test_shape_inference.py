from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto
from tests.core import graphs

from sparsight.graph.model import open_model

node = graphs.node


@pytest.mark.parametrize("number", [1.0, 65504.0, np.inf, np.nan])
def test_half_precision_constants_beside_shapes(number: float) -> None:
    """An Expand of a half-precision constant: no warning, and the shapes are found."""
    nodes = [
        node("Expand", "scale shape", "scales"),
        node("Mul", "x scales", "m"),
        node("MatMul", "m w", "y"),
    ]
    weights = {
        "scale": np.array([number], np.float16),
        "shape": np.array([1, 4]),
        "w": np.eye(4, dtype=np.float16),
    }
    content = graphs.model(nodes, {"x": ["n", 4]}, ["y"], weights, element_type=TensorProto.FLOAT16)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        inferred = open_model(content).inferred
    assert not heard
    assert inferred["scales"] == (1, 4)
    assert inferred["y"] == ("n", 4)
