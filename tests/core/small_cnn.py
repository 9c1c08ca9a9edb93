"""A small convolutional network, probes that fit it, and when two measurements of it are equal."""

import numpy as np
import pytest
from tests.core import graphs

node = graphs.node
WEIGHTS = {
    "conv1.weight": graphs.random((5, 2, 3, 3), seed=1),
    "conv2.weight": graphs.random((6, 5, 3, 3), seed=2),
    "fc.weight": graphs.random((6, 3), seed=3),
}


def network(batch="n") -> bytes:
    """Serialised; with a number as `batch`, the batch is fixed."""
    nodes = [
        node("Conv", "x conv1.weight", "a"),
        node("Relu", "a", "b"),
        node("Conv", "b conv2.weight", "c"),
        node("Relu", "c", "d"),
        node("GlobalAveragePool", "d", "e"),
        node("Flatten", "e", "f"),
        node("Gemm", "f fc.weight", "y"),
    ]
    return graphs.model(nodes, {"x": [batch, 2, 8, 8]}, ["y"], WEIGHTS)


PROBES = graphs.random((11, 2, 8, 8))


def assert_same(left, right):
    """Two measurements of the same layers, but for rounding."""
    assert [m.layer for m in left] == [m.layer for m in right]
    for a, b in zip(left, right, strict=True):
        for name, value in a.statistics.items():
            assert value == pytest.approx(b.statistics[name], abs=1e-6, nan_ok=True), name
        np.testing.assert_allclose(a.maps, b.maps, atol=1e-6)
        np.testing.assert_allclose(a.mean_map, b.mean_map, atol=1e-6)
