from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight.errors import UsageError
from sparsight.maths.calibration import (
    best_temperature,
    calibrate,
    expected_calibration_error,
    flat_logits,
    loss_at,
    sampled,
    to_logits,
)


def example(seed: int, count: int = 200, classes: int = 4, sharper: float = 3.0):
    """Logits that are `sharper` times too sure, with labels drawn by the right ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, classes)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (shares.cumsum(1) < random.random((count, 1))).sum(1)
    return logits * sharper, labels


def slow_loss(logits, labels) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        total += math.log(sum(math.exp(value - row[label]) for value in row))
    return total / len(labels)


seeds = st.integers(0, 10_000)


@given(seeds)
def test_the_loss_is_the_mean_cross_entropy(seed: int) -> None:
    logits, labels = example(seed, 20)
    assert loss_at(2.0, logits, labels) == pytest.approx(slow_loss(logits / 2, labels))


@given(seeds)
def test_no_other_temperature_is_better(seed: int) -> None:
    logits, labels = example(seed)
    best = best_temperature(logits, labels)
    least = loss_at(best, logits, labels)
    assert least <= loss_at(1.0, logits, labels)
    for factor in (0.5, 0.99, 0.999, 1.001, 1.01, 2):
        assert least <= loss_at(best * factor, logits, labels) + 1e-12


@given(seeds, st.floats(1e-6, 1e6))
def test_temperature_scales_with_the_logits(seed: int, factor: float) -> None:
    logits, labels = example(seed)
    best = best_temperature(logits, labels)
    assert best_temperature(logits * factor, labels) == pytest.approx(best * factor, rel=1e-6)
    assert calibrate(logits * factor, labels).calibrated_loss == pytest.approx(
        calibrate(logits, labels).calibrated_loss
    )


@given(seeds)
def test_a_constant_a_sample_and_the_order_change_nothing(seed: int) -> None:
    logits, labels = example(seed)
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    moved = (logits + random.normal(size=(len(labels), 1)) * 10)[order]
    assert best_temperature(moved, labels[order]) == pytest.approx(
        best_temperature(logits, labels), rel=1e-6
    )


def test_overconfidence_is_found_and_removed() -> None:
    logits, labels = example(1, 20_000, sharper=5.0)
    found = calibrate(logits, labels)
    assert found.temperature == pytest.approx(5, rel=0.03)
    assert found.calibrated_loss == pytest.approx(slow_loss(logits / 5, labels), rel=0.002)
    assert found.loss > 2 * found.calibrated_loss
    assert found.error > 0.2
    assert calibrate(logits / 5, labels).error < 0.02


def test_each_half_is_judged_by_the_other() -> None:
    logits, labels = example(3)
    order = np.random.default_rng(0).permutation(200)
    one, two = order[::2], order[1::2]
    expected = (
        loss_at(best_temperature(logits[one], labels[one]), logits[two], labels[two])
        + loss_at(best_temperature(logits[two], labels[two]), logits[one], labels[one])
    ) / 2
    assert calibrate(logits, labels).calibrated_loss == pytest.approx(expected)


def test_the_limits() -> None:
    logits, labels = example(4)
    assert best_temperature(-logits, logits.argmax(1)) == math.inf
    assert best_temperature(np.zeros((5, 3)), np.arange(5) % 3) == math.inf
    assert best_temperature(logits, logits.argmax(1)) == 0
    assert math.isnan(calibrate(logits, logits.argmax(1)).calibrated_loss)
    assert calibrate(np.zeros((6, 3)), np.arange(6) % 3).calibrated_loss == pytest.approx(
        math.log(3)
    )
    assert math.isnan(best_temperature(logits[:0], labels[:0]))
    assert calibrate(logits[:0], labels[:0]).count == 0


def test_the_calibration_error_by_hand() -> None:
    shares = np.array([[0.9, 0.1], [0.92, 0.08], [0.55, 0.45]])
    # .9 and .92 share the last but one bin, (.8667, .9333]: .91 sure, half of them right
    expected = (2 * abs(0.5 - 0.91) + abs(1 - 0.55)) / 3
    error = expected_calibration_error(np.log(shares), np.array([0, 1, 0]))
    assert error == pytest.approx(expected)


def test_probabilities_count_as_their_logarithms() -> None:
    logits, labels = example(5)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert calibrate(shares, labels).loss == pytest.approx(calibrate(logits, labels).loss)
    assert to_logits(np.array([[1.0, 0.0]]))[0, 1] == pytest.approx(math.log(1e-30))
    assert (to_logits(np.array([[2.0, 0.0]])) == [[2, 0]]).all()


def test_a_class_at_minus_infinity_is_none() -> None:
    logits, labels = example(6)
    wider = np.concatenate([logits, np.full((len(logits), 1), -np.inf)], axis=1)
    assert best_temperature(wider, labels) == pytest.approx(best_temperature(logits, labels))
    assert calibrate(wider, labels) == pytest.approx(calibrate(logits, labels))


def test_a_nan_leaves_the_accuracy() -> None:
    logits, labels = example(7)
    logits[0, 0] = np.nan
    found = calibrate(logits, labels)
    assert math.isnan(found.loss)
    assert math.isnan(found.calibrated_loss)
    assert 0 < found.accuracy < 1


def test_positions_are_samples_and_ignored_labels_are_none() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(3, 5, 4)), random.integers(0, 5, (3, 4))
    labels[0, 1] = -100
    rows, known = flat_logits(logits, labels)
    assert rows.shape == (11, 5)
    np.testing.assert_array_equal(rows[1], logits[0, :, 2])
    assert known[1] == labels[0, 2]


@pytest.mark.parametrize(
    ("shape", "labels", "said"),
    [
        ((3, 4, 5), np.zeros((3, 4), int), "move the classes to axis 1"),
        ((3, 5), np.zeros(4, int), r"logits have shape \[3, 5\] and labels \[4\]"),
        ((3, 5), np.zeros(3), "labels are float64"),
        ((3, 5), np.array([0, 1, 5]), "labels range from 0 to 5"),
        ((3, 5), np.array([0, 1, -1]), "labels range from -1"),
    ],
)
def test_what_does_not_fit_is_said(shape, labels, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        calibrate(np.random.default_rng(0).normal(size=shape), labels)


def test_of_many_samples_the_same_ones_are_drawn() -> None:
    assert len(sampled(10, 10)) == 10
    drawn = sampled(10_000, 10, most=1000)
    assert len(set(drawn.tolist())) == 100
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, sampled(10_000, 10, most=1000))
