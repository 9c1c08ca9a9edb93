"""Filter correlations: against numpy.corrcoef, a loop, and their laws."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsight.errors import UsageError
from sparsight.maths import correlation
from sparsight.maths.correlation import BINS, Centre, correlation_summary, filter_correlations

weights = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 4)),
    elements=st.integers(-64, 64).map(lambda n: n / 8),
)
centres = st.sampled_from(["own", "filters"])


def looped(filters: np.ndarray, centre: Centre) -> np.ndarray:
    """Eq. 6, in loops; NaN where a filter has no variance."""
    rows = filters.reshape(len(filters), -1).astype(np.float64)
    rows = rows - rows.mean(axis=1 if centre == "own" else 0, keepdims=True)
    result = np.full((len(rows), len(rows)), np.nan)
    for d, one in enumerate(rows):
        for e, other in enumerate(rows):
            lengths = np.linalg.norm(one), np.linalg.norm(other)
            if min(lengths) > 1e-9:
                result[d, e] = one @ other / (lengths[0] * lengths[1])
    return result


@given(weights, centres)
def test_coefficients_are_those_of_the_loop(filters: np.ndarray, centre: Centre) -> None:
    found = filter_correlations(filters, centre)
    np.testing.assert_allclose(found, looped(filters, centre), atol=1e-12)


def test_coefficients_are_numpys() -> None:
    filters = np.random.default_rng(0).normal(1, 2, (40, 3, 5, 5)).astype(np.float32)
    expected = np.corrcoef(filters.reshape(40, -1).astype(np.float64))
    np.testing.assert_allclose(filter_correlations(filters), expected, atol=1e-12)


@given(weights, centres)
def test_the_summary_is_that_of_the_coefficients(filters: np.ndarray, centre: Centre) -> None:
    matrix = filter_correlations(filters, centre)
    below = matrix[np.tril_indices(len(matrix), -1)]
    below = below[np.isfinite(below)]
    summary = correlation_summary(filters, centre)
    assert summary.counts.sum() == below.size
    assert summary.constant_filters == np.isnan(np.diag(matrix)).sum()
    if below.size:
        assert summary.mean == pytest.approx(below.mean(), abs=1e-12)
        assert summary.mean_absolute == pytest.approx(np.abs(below).mean(), abs=1e-12)
        assert summary.largest == pytest.approx(below.max(), abs=1e-12)
        edges = np.abs((below * 100) % 1 - 0.5) < 1e-9  # between two bins rounding decides
        inside = np.bincount(np.rint(below[~edges] * 100).astype(int) + 100, minlength=BINS)
        assert (summary.counts >= inside).all()
        assert summary.counts.sum() - inside.sum() == edges.sum()
    else:
        assert np.isnan([summary.mean, summary.mean_absolute, summary.largest]).all()


def test_bins_are_centred_on_hundredths() -> None:
    # Two filters of two centred coordinates at an angle whose cosine is the coefficient.
    for wanted in (-1, -0.994, -0.5, -0.0051, -0.0049, 0, 0.0049, 0.0051, 0.25, 0.9951, 1):
        angle = np.arccos(wanted)
        plane = np.array([[1, -1, 0, 0], [0, 0, 1, -1]])
        filters = np.array([[1, 0], [np.cos(angle), np.sin(angle)]]) @ plane
        counts = correlation_summary(filters).counts
        assert counts.shape == (201,)
        assert np.flatnonzero(counts).tolist() == [100 + round(wanted * 100)]


def pair(coefficient: float) -> np.ndarray:
    """Two filters whose coefficient this is."""
    plane = np.array([[1, -1, 0, 0], [0, 0, 1, -1]])
    return np.array([[1, 0], [coefficient, np.sqrt(1 - coefficient**2)]]) @ plane


@pytest.mark.parametrize("coefficient", [1 / 8, 3 / 8, 5 / 8, 7 / 8])
def test_between_two_bins_rounding_does_not_choose(coefficient: float) -> None:
    """Half a bin beyond a bin's centre, give or take what a matrix product rounds: away from 0."""
    away = round(100 * coefficient + 0.5)
    for error in (-2e-15, 0, 2e-15):
        counts = correlation_summary(pair(coefficient + error)).counts
        assert np.flatnonzero(counts).tolist() == [100 + away]
        counts = correlation_summary(pair(-coefficient - error)).counts
        assert np.flatnonzero(counts).tolist() == [100 - away]


def test_no_coefficient_is_beyond_one() -> None:
    """However a product of equal or opposite filters is rounded."""
    filters = np.random.default_rng(0).normal(size=(60, 7))
    both = np.concatenate([filters, filters, -filters])
    coefficients = filter_correlations(both)
    assert (coefficients.min(), coefficients.max()) == (-1, 1)
    assert correlation_summary(both).largest == 1


def test_equal_and_opposite_filters() -> None:
    filters = np.random.default_rng(0).normal(size=(1, 27)).astype(np.float32)
    summary = correlation_summary(np.concatenate([filters, 3 * filters + 1, -filters]))
    assert summary.counts[200] == 1
    assert summary.counts[0] == 2
    assert summary.counts.sum() == 3
    assert summary.largest == pytest.approx(1)
    assert summary.mean == pytest.approx(-1 / 3)
    assert summary.mean_absolute == pytest.approx(1)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, 1e-30, np.nan, np.inf])
def test_filters_without_variance_are_left_out(constant: float) -> None:
    filters = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    expected = correlation_summary(filters[[0, 1, 3]])
    filters[[2, 4]] = constant
    found = correlation_summary(filters)
    assert found.constant_filters == 2
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.mean == pytest.approx(expected.mean)
    assert np.isnan(filter_correlations(filters)[2]).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(-40, 40), st.booleans())
def test_variance_is_judged_by_the_filters_own_weights(
    number: int, length: int, power: int, varies: bool
) -> None:
    """A filter varies by more than 1e-7 of what its weights are: whatever their unit, however many
    they are, and however many filters there are."""
    filters = np.ones((number, 2 * length))
    filters[:, ::2] += 2.2e-7 if varies else 1.8e-7  # a deviation of half of it
    summary = correlation_summary(filters * 10.0**power)
    assert summary.constant_filters == (0 if varies else number)


def test_one_broken_weight_spoils_only_its_own_filter() -> None:
    filters = np.random.default_rng(0).normal(size=(5, 9))
    filters[3, 4] = np.nan
    assert np.isnan(filter_correlations(filters)).sum() == 9
    assert correlation_summary(filters).constant_filters == 1


@given(weights, st.permutations(range(9)), centres)
def test_the_order_of_filters_changes_nothing(
    filters: np.ndarray, order: list[int], centre: Centre
) -> None:
    shuffled = filters[[at for at in order if at < len(filters)]]
    here, there = correlation_summary(filters, centre), correlation_summary(shuffled, centre)
    assert here.constant_filters == there.constant_filters
    assert here.mean == pytest.approx(there.mean, abs=1e-12, nan_ok=True)
    assert here.counts.sum() == there.counts.sum()


@given(weights, st.sampled_from([0.25, 2.0, 1024.0]), st.integers(-8, 8))
def test_scale_and_offset_of_filters_change_nothing(
    filters: np.ndarray, scale: float, offset: int
) -> None:
    moved = filters * np.float32(scale) + np.float32(offset)
    np.testing.assert_allclose(filter_correlations(moved), filter_correlations(filters), atol=1e-9)


def test_the_literal_centre_makes_the_sum_almost_constant() -> None:
    filters = np.random.default_rng(0).normal(size=(64, 27))
    pairs = 64 * 63 / 2
    assert correlation_summary(filters, "filters").mean * pairs == pytest.approx(-32, abs=3)
    assert abs(correlation_summary(filters, "own").mean * pairs) < 32


@pytest.mark.parametrize("block", [1, 2, 7, 100])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    filters = np.random.default_rng(0).normal(size=(37, 20))
    filters[11] = 2
    whole = correlation_summary(filters)
    monkeypatch.setattr(correlation, "_BLOCK", block)
    cut = correlation_summary(filters)
    np.testing.assert_array_equal(cut.counts, whole.counts)
    assert cut.mean == pytest.approx(whole.mean, abs=1e-12)
    assert (cut.largest, cut.constant_filters) == (pytest.approx(whole.largest), 1)


@pytest.mark.parametrize(("held", "made"), [(2, 16), (3, 13), (6, 0)])
def test_filters_are_made_anew_no_more_often_than_memory_asks_for(
    held: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of filters of length 1 are kept while there is room, what was used last first."""
    filters = np.random.default_rng(0).normal(size=(24, 5))
    expected = correlation_summary(filters)
    sizes: list[int] = []

    def counting(rows: np.ndarray, mean: np.ndarray | None) -> Any:
        sizes.append(len(rows))
        return unit_rows(rows, mean)

    unit_rows = correlation._unit_rows
    monkeypatch.setattr(correlation, "_unit_rows", counting)
    monkeypatch.setattr(correlation, "_BLOCK", 4)
    monkeypatch.setattr(correlation, "_HELD", held * 4 * 5 * 8)
    found = correlation_summary(filters)
    assert sizes == [4] * (6 + made)
    np.testing.assert_array_equal(found.counts, expected.counts)


def test_many_filters_take_little_memory() -> None:
    filters = np.random.default_rng(0).normal(size=(4096, 8))
    tracemalloc.start()
    summary = correlation_summary(filters)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.counts.sum() == 4096 * 4095 // 2
    assert peak < 4096 * 4096 * 8 / 4  # a quarter of the matrix that is never held


def test_a_summary_cannot_be_changed() -> None:
    block = correlation.BlockSummary(np.zeros(BINS, np.int64), 0.0, 0.0, -np.inf)
    for value in (correlation_summary(np.eye(4)), block):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.largest = 0.0


def test_dense_layers_and_single_weights() -> None:
    assert correlation_summary(np.eye(4)).counts.sum() == 6
    assert correlation_summary(np.ones((3, 1))).constant_filters == 3
    assert correlation_summary(np.arange(5.0)).constant_filters == 5


@pytest.mark.parametrize(
    ("filters", "centre", "sentence"),
    [
        (np.zeros((0, 3)), "own", "weights of shape (0, 3) hold no filter"),
        (np.zeros(()), "own", "weights of shape () hold no filter"),
        (np.zeros((2, 3)), "mean", "centre='mean': expected 'own' or 'filters'"),
    ],
)
def test_slips_get_a_sentence(filters: np.ndarray, centre: Centre, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        correlation_summary(filters, centre)
    assert sentence in str(caught.value)
