"""Inputs whose samples are counted by another axis than the first, or by none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core import graphs, reference

import sparsight
from sparsight.analysis.analyze import input_specs, match_model
from sparsight.cli import main
from sparsight.errors import ProbeError, UsageError
from sparsight.graph.model import open_model
from sparsight.inference.batch_axis import exchanged
from sparsight.probes.probe_set import InputSpec, ProbeSet, rows_of
from sparsight.probes.sample_axes import parse_axes, with_axes
from sparsight.runs.reader import read_run

node = graphs.node
WEIGHTS = {"in.weight": graphs.random((4, 5)), "out.weight": graphs.random((5, 3))}


def recurrent(x=("n", 4), h=(2, "?", 5), shift=(5,)) -> bytes:
    """One step: x W plus the sum of a state [2, N, 5] over its layers, plus a constant [5]."""
    nodes = [
        node("MatMul", "x in.weight", "in"),
        node("ReduceMean", "h", "state", axes=[0], keepdims=0),
        node("Add", "in state", "shiftless"),
        node("Add", "shiftless shift", "sum"),
        node("MatMul", "sum out.weight", "y"),
    ]
    sides = {"x": x, "h": [None if s == "?" else s for s in h], "shift": shift}
    return graphs.model(nodes, sides, ["y"], WEIGHTS, 13)


PROBES = {"x": graphs.random((7, 4)), "h": graphs.random((2, 7, 5)), "shift": graphs.random((5,))}


def wanted(probes=PROBES) -> np.ndarray:
    tensor = (probes["x"] @ WEIGHTS["in.weight"] + probes["h"].mean(0) + probes["shift"]) @ (
        WEIGHTS["out.weight"]
    )
    return reference.over_rfavs(reference.entropy, tensor)


def specs(**shapes) -> list[InputSpec]:
    return [InputSpec(name, np.dtype(np.float32), shape) for name, shape in shapes.items()]


def axes(**shapes) -> dict[str, int | None]:
    return {spec.name: spec.axis for spec in with_axes(specs(**shapes), {})}


def test_axes_that_names_of_dimensions_tell():
    assert axes(x=("batch", 16), h=(2, "batch", 64)) == {"x": 0, "h": 1}
    assert axes(x=("seq", "Batch_Size", 16), h=(2, "batch_size", 64)) == {"x": 1, "h": 1}
    assert axes(x=("s0", 16), h=(2, "s0", 64)) == {"x": 0, "h": 1}
    assert axes(x=("L", "N", 16)) == {"x": 1}
    assert axes(x=("N", "points", 3), p=("batch", "N")) == {"x": 0, "p": 0}
    assert axes(x=("?", 16), h=(2, "?", 64)) == {"x": 0, "h": 0}
    assert axes(x=("a", "b"), y=("b", "c")) == {"x": 1, "y": 0}
    assert axes(x=("rows", "columns"), y=("columns", 4)) == {"x": 0, "y": 0}
    assert axes(x=(1, 3, 8, 8), scalar=(), unknown=None) == {"x": 0, "scalar": 0, "unknown": 0}
    assert axes(x=("s0", 16), square=(2, "s0", "s0")) == {"x": 0, "square": 0}


def test_axes_that_the_user_gives():
    given_axes = with_axes(specs(x=("n", 4), h=(2, 1, 5), c=(3,), u=None), {"h": -2, "c": None})
    assert [spec.axis for spec in given_axes] == [0, 1, None, 0]
    assert [spec.fixed_batch for spec in given_axes] == [None, 1, None, None]
    for wrong, sentence in (
        ({"g": 1}, "the model has no input 'g'; there are: x, h"),
        ({"h": 3}, r"input 'h' is float32 \[2, n, 5\]: it has no axis 3 .*; it has axes 0 to 2"),
        ({"h": -4}, "it has no axis -4"),
        ({"s": 0}, "input 's' is a single number"),
    ):
        with pytest.raises(UsageError, match=sentence):
            with_axes(specs(x=("n", 4), h=(2, "n", 5), s=()), wrong)
    assert parse_axes(["h=1", "a=b=-1", "sr=None"]) == {"h": 1, "a=b": -1, "sr": None}
    for entry in ("h", "=1", "h=", "h=x", "h=1.5"):
        with pytest.raises(UsageError, match="such as h=1, or NAME=none"):
            parse_axes([entry])


@given(st.integers(1, 9), st.integers(1, 12), st.sampled_from([None, 3, 8]))
def test_batches_hold_every_sample_once(count, size, fixed):
    arrays = {
        "x": np.arange(count),
        "h": np.arange(2 * count * 3).reshape(2, count, 3),
        "last": np.arange(4 * count).reshape(4, count),
        "c": np.arange(count),
        "s": np.array(7),
    }
    probes = ProbeSet(arrays, fixed, {"h": 1, "last": -1, "c": None})
    assert len(probes) == count
    assert list(probes.by_sample) == ["x", "h", "last"]
    assert [len(array) for array in probes.samples] == [count] * 3
    assert len(probes.same_for_all) == 2
    parts: dict[str, list[np.ndarray]] = {"x": [], "h": [], "last": []}
    for first, number, fed in probes.batches(size):
        full = fixed or number
        assert (len(fed["x"]), fed["h"].shape, fed["last"].shape) == (full, (2, full, 3), (4, full))
        np.testing.assert_array_equal(fed["h"][:, number:], arrays["h"][:, [-1] * (full - number)])
        assert fed["c"] is arrays["c"]
        assert first == sum(part.shape[0] for part in parts["x"])
        kept = rows_of(fed, probes.axes, slice(number))
        for name in parts:
            parts[name].append(kept[name])
    for name, axis in (("x", 0), ("h", 1), ("last", 1)):
        np.testing.assert_array_equal(np.concatenate(parts[name], axis), arrays[name])


def test_chosen_samples_are_the_same_of_every_input():
    arrays = {"x": np.arange(20), "h": np.arange(40).reshape(2, 20), "c": np.arange(20)}
    chosen = ProbeSet(arrays, None, {"h": 1, "c": None}).chosen(6, seed=1)
    rows = chosen.arrays["x"]
    assert len(chosen) == len(rows) == 6
    np.testing.assert_array_equal(chosen.arrays["h"], arrays["h"][:, rows])
    np.testing.assert_array_equal(chosen.arrays["c"], arrays["c"])


def test_a_probe_is_exchanged_on_its_own_axis():
    """Two samples, and an axis of two layers that must not be taken for them."""
    feeds = {"x": np.array([1, 1]), "h": np.array([[1, 2], [3, 4]])}
    made = exchanged(feeds, 2, {"h": 1})
    assert made is not None
    assert made["h"].tolist() == [[1, 1], [3, 3]]
    assert exchanged({"x": np.array([1, 1]), "c": np.arange(2)}, 2, {"c": None}) is None


AXES = {"h": 1, "shift": None}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("sides", [{}, {"x": (3, 4), "h": (2, 3, 5)}, {"h": (2, "k", 5)}])
def test_states_and_constants(sides, batch_size):
    found = sparsight.analyze(
        recurrent(**sides),
        PROBES,
        layers=["*"],
        device="cpu",
        batch_size=batch_size,
        shown=7,
        input_axes=AXES,
    )
    np.testing.assert_allclose(found[-1].maps.ravel(), wanted(), atol=1e-5)


def test_states_by_the_names_of_dimensions():
    content = recurrent(x=("batch", 4), h=(2, "batch", 5))
    found = sparsight.analyze(
        content, PROBES, layers=["*"], device="cpu", shown=7, input_axes={"shift": None}
    )
    np.testing.assert_allclose(found[-1].maps.ravel(), wanted(), atol=1e-5)


def test_large_batches_in_parts():
    """On a CPU the first two samples run alone; a state goes along."""
    many = {"x": graphs.random((40, 4)), "h": graphs.random((2, 40, 5)), "shift": PROBES["shift"]}
    found = sparsight.analyze(
        recurrent(), many, layers=["*"], device="cpu", batch_size=40, shown=40, input_axes=AXES
    )
    np.testing.assert_allclose(found[-1].maps.ravel(), wanted(many), atol=1e-5)


def test_a_mask_whose_second_axis_counts_the_samples():
    nodes = [
        node("Transpose", "tokens", "rows", perm=[1, 0, 2]),
        node("MatMul", "rows in.weight", "a"),
        node("Relu", "a", "r"),
        node("MatMul", "r out.weight", "b"),
        node("Transpose", "mask", "turned", perm=[1, 0]),
        node("Unsqueeze", "turned two", "m"),
        node("Mul", "b m", "y"),
    ]
    weights = WEIGHTS | {"two": np.array([2])}
    content = graphs.model(
        nodes, {"tokens": ["t", "batch", 4], "mask": ["t", "batch"]}, ["y"], weights
    )
    tokens, mask = graphs.random((6, 3, 4)), np.ones((6, 3), np.float32)
    mask[4:, 1] = mask[1:, 2] = 0
    found = sparsight.analyze(
        content, {"tokens": tokens, "mask": mask}, layers=["in"], device="cpu", mask="mask"
    )[0]
    inputs = tokens @ WEIGHTS["in.weight"]
    entropy = reference.over_rfavs(reference.entropy, inputs, -1)
    assert found.statistics["entropy"] == pytest.approx(entropy[mask == 1].mean(), abs=1e-5)
    assert found.statistics["zero_fraction"] == pytest.approx((inputs[mask == 1] <= 0).mean())


def test_sentences():
    model = open_model(recurrent())
    with pytest.raises(ProbeError, match=r"'h' \[2, 7, 5\] \(2 on axis 0\).*--input-axis NAME=1"):
        match_model(model, PROBES)
    fixed = open_model(recurrent(x=(1, 4), h=(2, 1, 5)))
    with pytest.raises(ProbeError, match=r"length 1 along axis 1, not 7.*--input-axis h=1"):
        match_model(fixed, PROBES)
    with pytest.raises(ProbeError, match=r"different numbers of samples: .*\(2 on axis 0\)"):
        match_model(
            fixed,
            PROBES | {"x": PROBES["x"][:2], "h": PROBES["h"][:, :1]},
            {"shift": None},
        )
    with pytest.raises(ProbeError, match="at least one: 'x'"):
        match_model(model, PROBES, {"x": None, "h": None, "shift": None})
    with pytest.raises(UsageError, match="the mask 'shift' is not an input with positions"):
        sparsight.analyze(recurrent(), PROBES, mask="shift", input_axes=AXES, layers=["*"])
    assert [spec.axis for spec in input_specs(model, {"h": 1})] == [0, 1, 0]


def test_from_the_command_line(tmp_path, capsys):
    (tmp_path / "epoch_1.onnx").write_bytes(recurrent())
    np.savez(tmp_path / "probes.npz", **PROBES)
    command = ["analyze", str(tmp_path), "--probes", str(tmp_path / "probes.npz"), "--layers", "*"]
    command += ["--device", "cpu", "--logdir", str(tmp_path / "run"), "--max-probes", "5"]
    assert main(command) == 2
    assert "--input-axis" in capsys.readouterr().err
    command += ["--input-axis", "h=1", "--input-axis", "shift=none"]
    assert main(command) == 0, capsys.readouterr().err
    probes = read_run(tmp_path / "run").probes
    assert probes.count == 5
    # another constant is another probe set
    np.savez(tmp_path / "probes.npz", **{**PROBES, "shift": PROBES["shift"] + 1})
    assert main(command) == 2
    assert "was measured on other probes" in capsys.readouterr().err
