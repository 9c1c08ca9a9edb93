"""RFAV entropy in numpy: against a float64 loop, and its laws."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tests.core import reference

from sparsight.errors import UsageError
from sparsight.maths.entropy import relative_entropy, rfav_entropy, rfav_rms, scale_free_entropy

shapes = array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6)


def activations(bound: float, dtype: Any = np.float32) -> st.SearchStrategy[np.ndarray]:
    width = 8 * np.dtype(dtype).itemsize
    limit = float(np.dtype(dtype).type(bound))
    return arrays(dtype, shapes, elements=st.floats(-limit, limit, width=width))


@given(activations(50))
def test_entropy_is_that_of_the_loop(values: np.ndarray) -> None:
    expected = reference.over_rfavs(reference.entropy, values)
    np.testing.assert_allclose(rfav_entropy(values), expected, atol=3e-6)


@given(activations(1e4, np.float64))
def test_entropy_in_double_precision(values: np.ndarray) -> None:
    found = rfav_entropy(values)
    assert found.dtype == np.float64
    expected = reference.over_rfavs(reference.entropy, values)
    np.testing.assert_allclose(found, expected, atol=1e-11)


@given(activations(1e4))
def test_entropy_of_large_logits(values: np.ndarray) -> None:
    expected = reference.over_rfavs(reference.entropy, values)
    np.testing.assert_allclose(rfav_entropy(values), expected, atol=1e-5)


def test_logits_further_apart_than_their_type_reaches_have_no_entropy() -> None:
    assert np.isnan(rfav_entropy(np.array([[-3e38, 3e38]], np.float32))).all()
    assert rfav_entropy(np.array([[-3e38, 3e38]], np.float64)) == [0]


@given(activations(2.0**126))
def test_entropy_is_finite_and_bounded_for_all_other_finite_logits(values: np.ndarray) -> None:
    found = rfav_entropy(values)
    assert (found >= 0).all()
    assert (found <= np.float32(np.log(values.shape[1]))).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_computed_in_single(dtype: Any) -> None:
    values = np.random.default_rng(0).normal(0, 4, (3, 16, 5)).astype(dtype)
    found = rfav_entropy(values)
    assert found.dtype == np.float32
    expected = reference.over_rfavs(reference.entropy, values.astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=3e-6)
    for statistic in (rfav_rms, scale_free_entropy):
        assert statistic(values).dtype == np.float32
    assert relative_entropy(found.astype(dtype), 16).dtype == np.float32


def test_integers_and_truth_values_are_numbers() -> None:
    values = np.array([[1, 2, 3], [0, 0, 70_000]])
    expected = reference.over_rfavs(reference.entropy, values)
    for dtype in (np.int64, np.int32, np.uint32):
        found = rfav_entropy(values.astype(dtype))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert rfav_entropy(values.astype(np.int16)).dtype == np.float32
    assert rfav_entropy(np.array([[True, True]]))[0] == pytest.approx(math.log(2))


@given(
    arrays(np.float32, shapes, elements=st.integers(-320, 320).map(lambda n: n / 16)),
    st.integers(-1000, 1000),
)
def test_a_shift_of_all_channels_changes_nothing(values: np.ndarray, shift: int) -> None:
    # Sixteenths: adding a whole number to them is exact.
    np.testing.assert_array_equal(rfav_entropy(values + np.float32(shift)), rfav_entropy(values))


@given(activations(50), st.randoms())
def test_the_order_of_channels_changes_nothing(values: np.ndarray, random: Any) -> None:
    order = list(range(values.shape[1]))
    random.shuffle(order)
    np.testing.assert_allclose(rfav_entropy(values[:, order]), rfav_entropy(values), atol=3e-6)
    np.testing.assert_allclose(
        scale_free_entropy(values[:, order]), scale_free_entropy(values), atol=3e-6
    )


@given(shapes, st.floats(-1e4, 1e4, width=32))
def test_equal_channels_are_as_dense_as_can_be(shape: tuple[int, ...], value: float) -> None:
    values = np.full(shape, value, np.float32)
    np.testing.assert_allclose(rfav_entropy(values), np.log(shape[1]), atol=1e-6)


def test_one_channel_far_above_the_rest_is_as_sparse_as_can_be() -> None:
    values = np.zeros((1, 256), np.float32)
    values[0, 7] = 1e4
    assert rfav_entropy(values) == 0
    assert relative_entropy(rfav_entropy(values), 256) == 0


def test_one_channel_says_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)
    assert (rfav_entropy(values) == 0).all()
    assert np.isnan(relative_entropy(rfav_entropy(values), 1)).all()
    assert np.isnan(scale_free_entropy(values)).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("statistic", [rfav_entropy, rfav_rms, scale_free_entropy])
def test_what_is_not_finite_gives_nan_there_and_nowhere_else(statistic: Any, wrong: float) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype(np.float32)
    clean = statistic(values)
    values[1, 2, 0, 3] = wrong
    found = statistic(values)
    assert np.isnan(found[1, 0, 3])
    clean[1, 0, 3] = np.nan
    np.testing.assert_array_equal(found, clean)
    values[1, :, 0, 3] = wrong
    assert np.isnan(statistic(values)[1, 0, 3])


@given(arrays(np.float32, shapes, elements=st.floats(-(2.0**127), 2.0**127, width=32)))
def test_rms_is_that_of_the_loop(values: np.ndarray) -> None:
    expected = reference.over_rfavs(reference.rms, values)
    # Twice the smallest normal number: below, float32 has fewer digits.
    np.testing.assert_allclose(rfav_rms(values), expected, rtol=1e-6, atol=3e-38)


@given(activations(1e4))
def test_scale_free_entropy_is_that_of_the_loop(values: np.ndarray) -> None:
    values[np.abs(values) < 1e-30] = 0
    expected = reference.over_rfavs(reference.scale_free, values)
    np.testing.assert_allclose(scale_free_entropy(values), expected, atol=1e-5)


@given(activations(100), st.integers(-60, 60))
def test_scale_free_entropy_does_not_see_the_scale(values: np.ndarray, power: int) -> None:
    values[np.abs(values) < 1e-10] = 0
    scaled = values * np.float32(2.0**power)
    np.testing.assert_allclose(scale_free_entropy(scaled), scale_free_entropy(values), atol=1e-6)


def test_scale_free_entropy_at_the_ends() -> None:
    assert scale_free_entropy(np.zeros((1, 8), np.float32)) == 1
    assert scale_free_entropy(np.full((1, 8), -3, np.float32)) == pytest.approx(1)
    one_hot = np.eye(1, 256, dtype=np.float32)
    assert scale_free_entropy(one_hot) < 0.01


@given(activations(50), st.data())
def test_channels_along_any_axis(values: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, values.ndim - 1))
    moved = np.moveaxis(values, 1, axis)
    for at in (axis, axis - values.ndim):
        for statistic in (rfav_entropy, rfav_rms, scale_free_entropy):
            np.testing.assert_allclose(statistic(moved, at), statistic(values), atol=3e-6)


def test_the_input_is_not_changed() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    before = values.copy()
    for statistic in (rfav_entropy, rfav_rms, scale_free_entropy):
        statistic(values)
    np.testing.assert_array_equal(values, before)


def test_no_probes_at_all() -> None:
    empty = np.zeros((0, 4, 2, 2), np.float32)
    for statistic in (rfav_entropy, rfav_rms, scale_free_entropy):
        assert statistic(empty).shape == (0, 2, 2)


def test_the_numbers_of_the_design() -> None:
    rng = np.random.default_rng(0)
    found = [
        float(relative_entropy(rfav_entropy(rng.normal(0, sigma, (2000, 256))), 256).mean())
        for sigma in (0.5, 1, 2, 4, 8)
    ]
    assert found == pytest.approx([0.98, 0.91, 0.68, 0.32, 0.13], abs=0.01)


@pytest.mark.parametrize(
    ("values", "axis", "sentence"),
    [
        (np.zeros((2, 3)), 2, "channel axis 2 does not exist in an array of shape (2, 3)"),
        (np.zeros((2, 3)), -3, "channel axis -3 does not exist"),
        (np.zeros(()), 0, "channel axis 0 does not exist in an array of shape ()"),
        (np.zeros((2, 0, 3)), 1, "has no channels along axis 1"),
        (np.zeros((2, 3), complex), 1, "complex activations"),
    ],
)
def test_slips_get_a_sentence(values: np.ndarray, axis: int, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        rfav_entropy(values, axis)
    assert sentence in str(caught.value)
