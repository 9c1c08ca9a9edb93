"""Filter correlations counted by an ONNX graph: numpy's numbers, to the last count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsight.inference.correlation_graph import DeviceSummariser
from sparsight.maths import correlation
from sparsight.maths.correlation import correlation_summary, filter_correlations

PLAIN, BOUND = DeviceSummariser("cpu"), DeviceSummariser("cpu", bound=True)

# Small whole numbers: coefficients of simple fractions, constant and equal filters are frequent.
weights = arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 4)),
    elements=st.integers(-3, 3).map(float),
)
random = st.builds(
    lambda seed, shape: np.random.default_rng(seed).normal(1, 2, shape).astype(np.float32),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 40), st.integers(2, 30)),
)


def assert_equal(found, wanted):
    np.testing.assert_array_equal(found.counts, wanted.counts)
    assert found.counts.dtype == np.int64
    assert found.constant_filters == wanted.constant_filters
    for name in ("mean", "mean_absolute", "largest"):
        value = getattr(wanted, name)
        assert getattr(found, name) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(weights | random, st.sampled_from(["own", "filters"]), st.sampled_from([1, 2, 5, 7, 512]))
def test_counts_are_numpys(filters, centre, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlation, "_BLOCK", block)
        wanted = correlation_summary(filters, centre)
        for summarise in (PLAIN, BOUND):
            assert_equal(correlation_summary(filters, centre, summarise), wanted)


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1100])
def test_sizes_around_the_block(count):
    filters = np.random.default_rng(count).normal(size=(count, 12)).astype(np.float32)
    filters[:: 100 if count > 100 else 1000] = 0.5
    wanted = correlation_summary(filters)
    assert_equal(correlation_summary(filters, "own", PLAIN), wanted)
    pairs = count - wanted.constant_filters
    assert wanted.counts.sum() == pairs * (pairs - 1) // 2


def test_the_ends_of_the_histogram():
    filters = np.random.default_rng(0).normal(size=(1, 27)).astype(np.float32)
    both = np.concatenate([filters, 3 * filters + 1, -filters])
    found = correlation_summary(both, "own", PLAIN)
    assert (found.counts[0], found.counts[200], found.counts.sum()) == (2, 1, 3)
    assert found.largest == pytest.approx(1)


def test_coefficients_between_two_bins_are_in_the_outer_one():
    """1/8 and 3/8, and their opposites, whichever way a matrix product rounds them."""
    filters = []
    for cosine in (0.125, 0.375, -0.125, -0.375):
        filters.append(np.array([[1, -1, 0, 0], [cosine, -cosine, 0, 0]]))
        filters[-1][1, 2:] = np.array([1, -1]) * np.sqrt(1 - cosine**2)
    for pair, wanted in zip(filters, (13, 38, -13, -38), strict=True):
        assert filter_correlations(pair)[0, 1] == pytest.approx(wanted / 100, abs=0.006)
        for summarise in (None, PLAIN):
            counts = correlation_summary(pair, "own", summarise).counts
            assert np.flatnonzero(counts).tolist() == [100 + wanted]


def test_a_changed_weight_changes_the_counts():
    filters = np.random.default_rng(0).normal(size=(20, 9))
    changed = filters.copy()
    changed[3, 4] += 1
    with pytest.raises(AssertionError):
        assert_equal(correlation_summary(changed, "own", PLAIN), correlation_summary(filters))
