"""Hoyer sparsity: the loop, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.core import reference

from sparsight.errors import UsageError
from sparsight.maths.hoyer import hoyer_sparsity

rfavs = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.one_of(
        st.floats(-100, 100, width=32), st.sampled_from([0.0, 1e30, -1e-30, np.nan, np.inf])
    ),
)


@given(rfavs)
def test_it_is_that_of_the_loop(values: np.ndarray) -> None:
    expected = reference.over_rfavs(reference.hoyer, values)
    np.testing.assert_allclose(hoyer_sparsity(values), expected, atol=1e-5)


@given(rfavs, st.randoms())
def test_order_sign_and_scale_change_nothing(values: np.ndarray, random: st.DataObject) -> None:
    values = np.where(np.abs(values) < 1e-3, 0, np.clip(values, -1e3, 1e3))  # room for the factor
    order = list(range(values.shape[1]))
    random.shuffle(order)
    found = hoyer_sparsity(values)
    np.testing.assert_allclose(hoyer_sparsity(values[:, order]), found, atol=1e-6)
    for factor in (-1, 2.0**-80, 3e30):
        scaled = values * np.float32(factor)
        np.testing.assert_allclose(hoyer_sparsity(scaled), found, atol=1e-6)
    finite = found[np.isfinite(found)]
    assert ((finite >= 0) & (finite <= 1)).all()


def test_at_the_ends() -> None:
    assert hoyer_sparsity(np.float32([[3, -3, 3, 3]])) == pytest.approx(0, abs=1e-7)
    assert hoyer_sparsity(np.float32([[0, 0, -7, 0]])) == 1
    assert hoyer_sparsity(np.zeros((1, 4))) == 0
    assert np.isnan(hoyer_sparsity(np.float32([[2], [0]]))).all()
    largest, smallest = np.finfo(np.float32).max, np.float32(1e-45)
    for value in (largest, smallest):
        assert hoyer_sparsity(np.float32([[value, 0]])) == 1
        assert hoyer_sparsity(np.float32([[value, value]])) == pytest.approx(0, abs=1e-6)


def test_axes_and_types() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    assert hoyer_sparsity(values).shape == (2, 3, 4)
    assert hoyer_sparsity(values).dtype == np.float64
    assert hoyer_sparsity(values.astype(np.float16)).dtype == np.float32
    np.testing.assert_array_equal(
        hoyer_sparsity(np.moveaxis(values, 1, -1), axis=-1), hoyer_sparsity(values)
    )
    with pytest.raises(UsageError, match="channel axis 4 does not exist"):
        hoyer_sparsity(values, 4)
