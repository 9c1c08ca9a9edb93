from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight.onset import Onset, find_onset, smooth

losses = st.lists(st.floats(0.01, 100), min_size=1, max_size=40)


@given(losses, st.floats(0.5, 5))
def test_smoothing_is_the_weighted_mean(values: list[float], sigma: float) -> None:
    expected = []
    for at in range(len(values)):
        weights = [np.exp(-((other - at) ** 2) / (2 * sigma**2)) for other in range(len(values))]
        expected.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    np.testing.assert_allclose(smooth(range(len(values)), values, sigma), expected, rtol=1e-10)


@given(losses)
def test_smoothing_stays_between_the_extremes(values: list[float]) -> None:
    smoothed = smooth(range(len(values)), values)
    assert min(values) * (1 - 1e-12) <= smoothed.min()
    assert smoothed.max() <= max(values) * (1 + 1e-12)


@given(losses, st.floats(0.01, 100))
def test_the_onset_does_not_depend_on_the_unit_of_the_loss(
    values: list[float], scale: float
) -> None:
    here = find_onset(range(len(values)), values)
    there = find_onset(range(len(values)), [value * scale for value in values])
    if here is None or there is None:  # at 2% exactly, rounding decides
        smoothed = smooth(range(len(values)), values)
        rise = smoothed[-1] / smoothed.min() - 1
        assert here == there or rise == pytest.approx(0.02, abs=1e-6)
    else:
        assert there.loss == pytest.approx(here.loss * scale)


def test_a_curve_that_turns() -> None:
    values = [abs(epoch - 12) / 10 + 1 for epoch in range(-1, 40)]
    assert find_onset(range(-1, 40), values, sigma=0) == Onset(12, 1.0)
    onset = find_onset(range(-1, 40), values)
    assert onset is not None
    assert onset.epoch == 12
    assert onset.loss > 1


def test_a_curve_that_falls_has_no_onset() -> None:
    assert find_onset(range(40), np.linspace(2, 1, 40)) is None


@pytest.mark.parametrize(("after", "found"), [(2, False), (3, True)])
def test_three_epochs_must_follow(after: int, found: bool) -> None:
    values = [*np.linspace(2, 1, 10), *np.linspace(1.5, 2, after)]
    onset = find_onset(range(len(values)), values, sigma=0)
    assert (onset == Onset(9, 1.0)) is found


def test_epochs_count_and_not_records() -> None:
    values = [2, 1, 1.2, 1.3, 1.4, 1.5]
    assert find_onset([0, 0.2, 0.4, 0.6, 0.8, 1], values, sigma=0) is None
    assert find_onset([0, 1.8, 2, 3, 4, 5], values, sigma=0) == Onset(2, 1.0)
    assert find_onset([0, 5, 10], [2, 1, 2], sigma=0) == Onset(5, 1.0)


@pytest.mark.parametrize(("last", "found"), [(1.0199, False), (1.0201, True)])
def test_the_last_value_must_exceed_the_minimum_by_two_percent(last: float, found: bool) -> None:
    assert (find_onset(range(6), [2, 1, 1, 1, 1, last], sigma=0) is not None) is found


def test_losses_that_are_no_numbers_weigh_nothing() -> None:
    values = [3, 2, np.nan, 1, 2, np.inf, 3, 4, np.nan]
    smoothed = smooth(range(9), values, 1)
    assert np.isnan(smoothed).tolist() == (~np.isfinite(values)).tolist()
    assert find_onset(range(9), values, sigma=0) == Onset(3, 1.0)
    assert find_onset([0, 1], [np.nan, np.nan]) is None
    assert find_onset([], []) is None
    np.testing.assert_array_equal(smooth([0, 10_000], [1, np.nan]), [1, np.nan])


def test_a_long_curve_takes_little_memory() -> None:
    values = np.sin(np.arange(5000) / 50)
    smoothed = smooth(range(5000), values)
    at = np.arange(5000)
    weights = np.exp(-0.5 * ((at - 4000) / 2) ** 2)
    assert smoothed[4000] == pytest.approx((weights * values).sum() / weights.sum())
