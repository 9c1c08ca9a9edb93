"""The share of variance between the means of channels: the loop, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.core import reference

from sparsight.maths.variance import channel_mean_share, share_of_channel_means

rows = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    elements=st.integers(-20, 20).map(float),
)


@given(rows)
def test_it_is_that_of_the_loop_and_within_0_and_1(values: np.ndarray) -> None:
    found = channel_mean_share(values)
    assert found == pytest.approx(reference.channel_mean_share(values), abs=1e-9, nan_ok=True)
    assert np.isnan(found) or 0 <= found <= 1


@given(rows, st.sampled_from([-1.0, 3.0, 1e-200, 1e200]))
def test_a_factor_changes_nothing(values: np.ndarray, factor: float) -> None:
    expected = pytest.approx(channel_mean_share(values), abs=1e-9, nan_ok=True)
    assert channel_mean_share(values * factor) == expected


@given(rows, st.integers(0, 6))
def test_sums_merge(values: np.ndarray, cut: int) -> None:
    sums = values[:cut].sum(axis=0) + values[cut:].sum(axis=0)
    squares = np.square(values[:cut]).sum() + np.square(values[cut:]).sum()
    found = share_of_channel_means(len(values), sums, float(squares))
    assert found == pytest.approx(channel_mean_share(values), abs=1e-9, nan_ok=True)


def test_an_offset_common_to_all_values_changes_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(50, 8)) + np.arange(8)
    assert channel_mean_share(values + 30) == pytest.approx(channel_mean_share(values), abs=1e-9)


def test_at_the_ends() -> None:
    random = np.random.default_rng(0)
    same = np.tile(random.normal(size=8), (50, 1))
    assert channel_mean_share(same) == pytest.approx(1)
    centred = random.normal(size=(50, 8))
    centred -= centred.mean(axis=0)
    assert channel_mean_share(centred) == pytest.approx(0, abs=1e-12)
    assert channel_mean_share(random.normal(size=(5000, 8))) < 1e-3


def test_what_says_nothing_is_nan() -> None:
    assert np.isnan(channel_mean_share(np.full((4, 3), 7.3, np.float32)))  # no variance
    assert np.isnan(channel_mean_share(np.zeros((4, 3))))
    assert np.isnan(channel_mean_share(np.float32([[1], [2]])))  # one channel
    assert np.isnan(channel_mean_share(np.full((2, 3), np.nan)))
    values = np.float32([[1, 2, 3], [2, 1, 5], [np.nan, 9, 9], [9, np.inf, 9]])
    assert channel_mean_share(values) == pytest.approx(channel_mean_share(values[:2]))


def test_axes() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3, 4)) + np.arange(5)[:, None, None]
    flat = np.moveaxis(values, 1, -1).reshape(-1, 5)
    assert channel_mean_share(values) == pytest.approx(channel_mean_share(flat))
