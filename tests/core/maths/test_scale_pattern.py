from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight.maths.entropy import centred_rms, entropy_ladder, rfav_entropy
from sparsight.maths.scale_pattern import FACTORS, at_factor, split_change


def activations(seed: int, scale: float, channels: int = 32, tail: float = 1.0):
    """Gaussian for `tail` = 1; a few large channels for more."""
    random = np.random.default_rng(seed)
    normal = random.normal(size=(40, channels))
    return scale * np.sign(normal) * np.abs(normal) ** tail


def ladder(values):
    return entropy_ladder(values, FACTORS).mean(axis=1)


def mean_entropy(values) -> float:
    return float(rfav_entropy(values).mean())


@given(st.integers(0, 1000), st.floats(0.05, 20), st.floats(0.05, 20), st.floats(0.5, 3))
def test_the_split_is_what_direct_computation_gives(
    seed: int, before: float, after: float, tail: float
) -> None:
    old, new = activations(seed, before), activations(seed + 1, after, tail=tail)
    ratio = float(centred_rms(new).mean() / centred_rms(old).mean())
    found = split_change(ladder(old), ladder(new), ratio)
    if not FACTORS[0] <= ratio <= FACTORS[-1]:
        assert math.isnan(found.scale)
        return
    assert found.change == pytest.approx(mean_entropy(new) - mean_entropy(old), abs=1e-9)
    assert found.pattern_at_the_old_scale == pytest.approx(
        mean_entropy(new / ratio) - mean_entropy(old), abs=0.04 * math.log(32)
    )
    assert found.pattern_at_todays_scale == pytest.approx(
        mean_entropy(new) - mean_entropy(ratio * old), abs=0.04 * math.log(32)
    )
    assert found.scale + found.pattern == pytest.approx(found.change)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_activations_that_only_grow_have_no_pattern_part(seed: int, factor: float) -> None:
    old = activations(seed, 0.5)
    found = split_change(ladder(old), ladder(old * factor), factor)
    assert found.pattern == pytest.approx(0, abs=0.04 * math.log(32))


def test_a_pattern_that_thins_out_at_equal_scale_is_pattern() -> None:
    old = activations(0, 3.0)
    new = activations(0, 1.0, tail=4.0)
    new *= centred_rms(old).mean() / centred_rms(new).mean()
    found = split_change(ladder(old), ladder(new), 1.0)
    assert found.scale == 0
    assert found.pattern == found.change


@given(st.integers(0, 1000), st.floats(-4.8, 4.8))
def test_interpolation_is_monotone_and_meets_the_knots(seed: int, logarithm: float) -> None:
    curve = ladder(activations(seed, 1.0))
    here, there = (
        at_factor(curve, math.exp(logarithm)),
        at_factor(curve, math.exp(logarithm) * 1.02),
    )
    assert there <= here + 1e-12
    for factor, value in zip(FACTORS, curve, strict=True):
        assert at_factor(curve, factor) == pytest.approx(value, abs=1e-12)


def test_what_nobody_can_tell_is_nan() -> None:
    curve = ladder(activations(0, 1.0))
    assert math.isnan(at_factor(curve, 1025))
    assert math.isnan(at_factor(curve, 1 / 1025))
    assert math.isnan(at_factor(np.where(np.arange(21) == 3, np.nan, curve), 1.0))
    for ratio in (math.nan, 0.0, -1.0, math.inf, 2000.0):
        found = split_change(curve, curve, ratio)
        assert found.change == 0
        assert math.isnan(found.pattern)


@given(st.integers(0, 1000), st.floats(-100, 100))
def test_the_centred_rms_does_not_see_an_offset(seed: int, offset: float) -> None:
    values = activations(seed, 1.0)
    expected = [math.sqrt(sum((x - row.mean()) ** 2 for x in row) / len(row)) for row in values]
    np.testing.assert_allclose(centred_rms(values + offset), expected, rtol=1e-9)


def test_the_centred_rms_of_extremes() -> None:
    values = np.array([[1e300, -1e300], [0, 0], [np.nan, 1], [np.inf, 1], [5, 5]])
    np.testing.assert_allclose(centred_rms(values), [1e300, 0, np.nan, np.nan, 0])
