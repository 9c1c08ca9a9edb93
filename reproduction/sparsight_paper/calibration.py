"""How well held-out logits are calibrated: one temperature, calibrated loss, calibration error.

Source: Guo, Pleiss, Sun, Weinberger, arXiv 1706.04599 (temperature scaling; ECE over equal bins).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["calibrated_loss", "calibration_error", "cross_entropy", "fitted_temperature"]

_WIDEST = 12.0  # ln T stays within this of 0: hotter or colder changes no loss that is printed
_BINS = 15


def cross_entropy(
    logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0
) -> float:
    """Mean negative log-likelihood of softmax(logits / temperature), in nats.

    `logits` is [N, classes], `labels` [N].
    """
    shifted = _shifted(logits) / temperature
    right = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - right))


def fitted_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature T with the lowest cross-entropy of softmax(logits / T).

    The loss is convex in 1 / T, and its derivative, the mean of E[z] - z[label], grows with 1 / T:
    its zero is found by bisection of ln T, to 1e-6. Where no T within exp(±12) is best (all answers
    right, or worse than chance) the nearer end is given.
    """
    shifted = _shifted(logits)
    target = shifted[np.arange(len(labels)), labels].mean()
    low, high = -_WIDEST, _WIDEST
    while high - low > 1e-6:
        middle = (low + high) / 2
        weights = np.exp(shifted * np.exp(-middle))
        expected = ((weights * shifted).sum(1) / weights.sum(1)).mean()
        if expected > target:  # too sure: hotter
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def calibrated_loss(
    logits: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[float, float]:
    """V_T, the loss with one temperature cross-fitted over two fixed halves; and that temperature.

    Samples of even position are scored with the temperature fitted to those of odd position and
    the other way round, so that no sample is scored with what was fitted to it. The temperature
    given is the geometric mean of the two. Needs two samples.
    """
    halves = [slice(0, None, 2), slice(1, None, 2)]
    temperatures = [fitted_temperature(logits[half], labels[half]) for half in halves]
    total = 0.0
    for half, temperature in zip(halves, reversed(temperatures), strict=True):
        total += cross_entropy(logits[half], labels[half], temperature) * len(labels[half])
    return total / len(labels), float(np.sqrt(temperatures[0] * temperatures[1]))


def calibration_error(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Expected calibration error, between 0 and 1: 15 bins of equal width of the top probability.

    The mean over samples of abs(accuracy - mean confidence) of the bin that each falls into.
    """
    weights = np.exp(_shifted(logits))
    confidence = 1 / weights.sum(1)  # the largest weight is 1
    gap = (np.argmax(logits, 1) == labels) - confidence
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return float(np.abs(np.bincount(bins, gap)).sum() / len(labels))


def _shifted(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(logits, np.float64)
    shifted: NDArray[np.float64] = values - values.max(1, keepdims=True)
    return shifted
