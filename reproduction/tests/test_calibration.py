"""Temperature, calibrated loss and calibration error, beside the slow and obvious versions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight_paper.calibration import (
    calibrated_loss,
    calibration_error,
    cross_entropy,
    fitted_temperature,
)


def sampled(count=60, classes=4, scale=3.0, seed=0):
    """Logits that know something of their labels, and err now and then."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(0, scale, (count, classes))
    logits[np.arange(count), labels] += scale
    return logits, labels


@given(st.integers(0, 1000), st.floats(0.2, 20))
@settings(max_examples=25, deadline=None)
def test_cross_entropy_is_pytorchs(seed, temperature):
    logits, labels = sampled(seed=seed)
    theirs = F.cross_entropy(torch.tensor(logits) / temperature, torch.tensor(labels))
    assert cross_entropy(logits, labels, temperature) == pytest.approx(float(theirs), rel=1e-12)


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_no_temperature_of_a_grid_does_better(seed):
    logits, labels = sampled(seed=seed)
    best = cross_entropy(logits, labels, fitted_temperature(logits, labels))
    for temperature in np.geomspace(1e-2, 1e2, 200):
        assert best <= cross_entropy(logits, labels, temperature) + 1e-9


@given(st.integers(0, 1000), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_scaled_logits_have_a_scaled_temperature_and_the_same_calibrated_loss(seed, factor):
    logits, labels = sampled(seed=seed)
    loss, temperature = calibrated_loss(logits, labels)
    scaled_loss, scaled_temperature = calibrated_loss(logits * factor, labels)
    assert scaled_temperature == pytest.approx(temperature * factor, rel=1e-4)
    assert scaled_loss == pytest.approx(loss, abs=1e-5)


def test_each_half_is_scored_with_the_temperature_of_the_other():
    logits, labels = sampled(count=31)  # halves of 16 and 15
    even, odd = (fitted_temperature(logits[at::2], labels[at::2]) for at in (0, 1))
    total = 16 * cross_entropy(logits[::2], labels[::2], odd)
    total += 15 * cross_entropy(logits[1::2], labels[1::2], even)
    loss, temperature = calibrated_loss(logits, labels)
    assert loss == pytest.approx(total / 31, rel=1e-12)
    assert temperature == pytest.approx(math.sqrt(even * odd), rel=1e-12)
    assert even != pytest.approx(odd, rel=1e-3)


def test_where_nothing_errs_the_temperature_is_as_low_as_it_goes():
    assert fitted_temperature(np.eye(4), np.arange(4)) == pytest.approx(math.exp(-12), rel=1e-5)
    assert fitted_temperature(np.eye(4), np.array([1, 2, 3, 0])) == pytest.approx(
        math.exp(12), rel=1e-5
    )


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_calibration_error_bin_by_bin(seed):
    logits, labels = sampled(seed=seed)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = 0.0
    for at in range(15):
        confident = chances.max(1)
        chosen = (confident >= at / 15) & (confident < (at + 1) / 15)
        if chosen.any():
            right = (chances[chosen].argmax(1) == labels[chosen]).mean()
            total += chosen.sum() * abs(right - confident[chosen].mean())
    assert calibration_error(logits, labels) == pytest.approx(total / len(labels), abs=1e-12)


def test_certainty_falls_into_the_last_bin():
    logits = np.array([[0.0, 1000.0], [1000.0, 0.0]])
    assert calibration_error(logits, np.array([1, 1])) == 0.5
