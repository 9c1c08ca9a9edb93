"""Layers that do not put out one position after another for one probe after another."""

import numpy as np
import pytest
from tests.core import graphs, reference

import sparsight
from sparsight.errors import ModelError
from sparsight.inference.batch_axis import Layout, default_layout, exchanged, found_layout, is_clear

node = graphs.node
LENGTH = 4
SHAPES = {  # positions of LENGTH tokens of n probes, and how they are made of [n, LENGTH]
    Layout(): lambda maps: maps,
    Layout(1): lambda maps: maps.swapaxes(0, 1),
    Layout(0, inner=True): lambda maps: maps.swapaxes(0, 1).reshape(-1),
}


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("count", [2, 3, LENGTH, 7, 8])
def test_what_changes_with_a_probe_is_its_own(layout, count):
    before = graphs.random((count, LENGTH))
    after = before.copy()
    after[-1] = graphs.random((LENGTH,), seed=1)
    after[-1, 2] = before[-1, 2]  # the same for both probes, as a padded token is
    before, after = SHAPES[layout](before), SHAPES[layout](after)
    found = found_layout(before, after, before.shape, count)
    assert found == layout
    maps = found.maps(before, before.shape, count)[..., 0]
    np.testing.assert_array_equal(maps, graphs.random((count, LENGTH)))


def test_no_axis_counts_what_changes_everywhere_or_nowhere():
    before = graphs.random((6, 3))
    assert found_layout(before, before + 1, before.shape, 3) is None
    assert found_layout(before, before, before.shape, 3) is None


def test_a_small_change_elsewhere_does_not_mislead():
    """Quantisation by the range of a whole batch moves all of it a little."""
    before = graphs.random((5, 6))
    after = before + 1e-3
    after[:, -1] += 1
    after[2, -1] = np.nan
    assert found_layout(before, after, before.shape, 6) == Layout(1)


def test_layouts_by_the_shape_alone():
    assert default_layout((7, 1), 1) == Layout(1)
    assert default_layout((6,), 3) == Layout()
    assert default_layout((7, 5), 5) is None
    assert default_layout((), 1) is None
    assert is_clear((5, 7), 5, convolution=False)
    assert is_clear((5, 5), 5, convolution=True)
    assert not is_clear((5, 5), 5, convolution=False)
    assert not is_clear((8, 4), 4, convolution=True)


def test_another_probe_of_the_batch_comes_last():
    values, scale = np.array([[1], [2], [2]]), np.float32(3)
    made = exchanged({"x": values, "scale": scale}, 3)
    assert made is not None
    np.testing.assert_array_equal(made["x"], [[1], [2], [1]])
    assert made["scale"] is scale
    assert exchanged({"x": values[1:]}, 2) is None


WEIGHTS = {f"{name}.weight": graphs.random((3, 3), seed=i) for i, name in enumerate("abc")}
WEIGHTS |= {"flat": np.array([-1, 3]), "fc.weight": graphs.random((3, 2))}
NODES = [
    node("Transpose", "x", "t", perm=[1, 0, 2]),
    node("MatMul", "t a.weight", "a"),  # [L, n, D]
    node("Relu", "a", "ar"),
    node("Reshape", "ar flat", "f"),
    node("Gemm", "f b.weight", "b"),  # [L * n, D]
    node("Relu", "b", "br"),
    node("Shape", "a", "s"),
    node("Reshape", "br s", "r"),
    node("Transpose", "r", "back", perm=[1, 0, 2]),
    node("MatMul", "back c.weight", "c"),  # [n, L, D]
    node("MatMul", "c fc.weight", "y"),
]


def sequence_first(batch) -> bytes:
    return graphs.model(NODES, {"x": [batch, LENGTH, 3]}, ["y"], WEIGHTS)


@pytest.mark.parametrize("size", [1, 2, LENGTH, 8])
@pytest.mark.parametrize("fixed", [False, True])
def test_sequence_first_layers(size, fixed):
    """The same maps and fractions whatever the batch, also where it is fixed and filled up."""
    probes = graphs.random((10, LENGTH, 3))
    content = sequence_first(size if fixed else "n")
    measured = sparsight.analyze(content, probes, batch_size=size, device="cpu", shown=10)
    tokens = probes.astype(np.float64)
    for found, name in zip(measured, "abc", strict=True):
        linear = tokens @ WEIGHTS[f"{name}.weight"]
        wanted = reference.over_rfavs(reference.entropy, linear, -1)
        np.testing.assert_allclose(found.maps, wanted, atol=1e-5)
        if name != "c":
            zeros = (linear <= 0).mean()
            assert found.statistics["zero_fraction"] == pytest.approx(zeros, abs=1e-9)
            dead = (linear <= 0).all(axis=(0, 1)).mean()
            assert found.statistics["dead_fraction"] == dead
        tokens = np.maximum(linear, 0)


def test_first_probes_that_are_alike_do_not_mislead():
    """The first two, which tell how large a part may be, do not show where the probes are."""
    probes = graphs.random((8, LENGTH, 3))
    probes[1] = probes[0]
    found = sparsight.analyze(sequence_first("n"), probes, device="cpu", shown=8)[0]
    linear = probes.astype(np.float64) @ WEIGHTS["a.weight"]
    np.testing.assert_allclose(
        found.maps, reference.over_rfavs(reference.entropy, linear, -1), atol=1e-5
    )


def test_a_layer_that_sees_all_probes_at_once():
    nodes = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=0),
        node("MatMul", "m a.weight", "a"),
        node("Add", "x a", "s"),
        node("MatMul", "s fc.weight", "y"),
    ]
    content = graphs.model(nodes, {"x": ["n", 5, 3]}, ["y"], WEIGHTS, opset=13)
    with pytest.raises(
        ModelError, match=r"layer 'a' has positions \[5\] for 3 probes, none of whose axes counts"
    ):
        sparsight.analyze(content, graphs.random((3, 5, 3)), device="cpu")
