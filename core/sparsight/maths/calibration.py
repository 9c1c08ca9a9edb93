"""How far a classifier's loss is mere over- or underconfidence: temperature scaling. numpy only.

One temperature T divides all logits: it changes how sure a network is and never what it answers.
The loss at the best T is what is left of the loss once confidence is put right. Source: Guo,
Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, arXiv 1706.04599.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

__all__ = [
    "BINS",
    "IGNORED",
    "MOST_VALUES",
    "Calibration",
    "best_temperature",
    "calibrate",
    "expected_calibration_error",
    "flat_logits",
    "loss_at",
    "sampled",
    "to_logits",
]

BINS = 15
"""Of equal width, from 0 to 1, that `expected_calibration_error` sorts confidences into."""

IGNORED = -100
"""The label of what does not count, as in PyTorch."""

MOST_VALUES = 2**23
"""Logits that `sampled` leaves: fitting takes about ten passes over them, a second together."""

_ROWS_AT_ONCE = 2**20  # logits: 8 MB of float64, and a few copies
_STEPS = 100  # halvings of a bracket; Newton needs about 5
_PRECISION = 1e-10  # relative, of 1 / T
_LEAST_PROBABILITY = 1e-30
_SEED = 0  # of which samples are drawn, and which half each belongs to

Logits = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Calibration:
    """What a classifier's logits say of its held-out samples; losses in nats a sample."""

    count: int
    """Samples that count; of a language model, tokens."""
    accuracy: float
    loss: float
    """Mean cross-entropy at T = 1."""
    temperature: float
    """The best T, fitted on all samples; see `best_temperature`."""
    calibrated_loss: float
    """V_T: mean cross-entropy of each half of the samples at the T that suits the *other* half
    best. NaN where that T is 0 (all of a half is right, so that it says nothing of T) or a half is
    empty."""
    error: float
    """Expected calibration error at T = 1, between 0 and 1."""


def to_logits(scores: NDArray[Any]) -> Logits:
    """Scores, [N, classes, ...], as logits in float64.

    Those that are shares (none below 0, each sum 1 along the classes) are taken for probabilities,
    whose logarithm they become, at least ln 1e-30; others for logits.
    """
    values = np.asarray(scores).astype(np.float64)
    if values.size and values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-3):
        return np.log(np.maximum(values, _LEAST_PROBABILITY))
    return values


def flat_logits(logits: NDArray[Any], labels: NDArray[Any]) -> tuple[Logits, Labels]:
    """Logits, [N, classes] or [N, classes, ...], and labels, [N] or [N, ...], of what counts.

    Returns [samples, classes] and [samples]: every position is a sample, and where the label is
    -100 it is left out. Raises UsageError where shapes, types or labels do not fit.
    """
    given, known = to_logits(logits), np.asarray(labels)
    if known.dtype.kind not in "iu":
        raise UsageError(f"labels are {known.dtype}; expected whole numbers, one class each")
    if given.ndim < 2 or given.shape[:1] + given.shape[2:] != known.shape:
        moved = given.ndim > 2 and given.shape[:-1] == known.shape
        hint = "; move the classes to axis 1, as cross_entropy has them" if moved else ""
        raise UsageError(
            f"logits have shape {list(given.shape)} and labels {list(known.shape)}; expected "
            f"[N, classes, ...] and [N, ...]{hint}"
        )
    classes = given.shape[1]
    rows, flat = np.moveaxis(given, 1, -1).reshape(-1, classes), known.reshape(-1)
    counted = flat != IGNORED
    rows, flat = rows[counted], flat[counted].astype(np.intp)
    if flat.size and (flat.min() < 0 or flat.max() >= classes):
        raise UsageError(
            f"labels range from {flat.min()} to {flat.max()}, but the model has classes 0 to "
            f"{classes - 1} ({IGNORED} marks samples to ignore)"
        )
    return rows, flat


def sampled(count: int, classes: int, most: int = MOST_VALUES) -> NDArray[np.intp]:
    """Which of `count` samples the temperature is fitted on, ascending: all, or as many as `most`
    logits allow (at least 2), the same ones each time."""
    kept = max(2, most // max(1, classes))
    if count <= kept:
        return np.arange(count)
    return np.sort(np.random.default_rng(_SEED).choice(count, kept, replace=False))


def calibrate(logits: NDArray[Any], labels: NDArray[Any]) -> Calibration:
    """Accuracy, loss, best temperature, calibrated loss and calibration error of held-out samples.

    Shapes and errors as in `flat_logits`. The calibrated loss is cross-fitted over two halves
    (which samples they hold depends on their number alone), so that fitting T does not flatter it.
    All is NaN without a sample, and all but the accuracy where a logit is NaN or +infinity.
    """
    rows, known = flat_logits(logits, labels)
    if not known.size:
        return Calibration(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    accuracy = float((rows.argmax(axis=1) == known).mean())
    if np.isnan(rows).any() or np.isposinf(rows).any():
        return Calibration(known.size, accuracy, math.nan, math.nan, math.nan, math.nan)
    return Calibration(
        count=known.size,
        accuracy=accuracy,
        loss=loss_at(1.0, rows, known),
        temperature=best_temperature(rows, known),
        calibrated_loss=_cross_fitted(rows, known),
        error=expected_calibration_error(rows, known),
    )


def best_temperature(logits: Logits, labels: Labels) -> float:
    """The T > 0 at which the mean cross-entropy of softmax(logits / T) is least.

    `logits` are [samples, classes], `labels` [samples]. The loss is convex in 1 / T: a bracket and
    Newton's steps inside it find the root of its slope, to 1e-10. The limits: infinity, where
    the logits say nothing of the labels (the loss is least at equal shares); 0, where the right
    class is the largest in every sample (the loss falls as long as T does).
    """
    if not len(labels):
        return math.nan
    centred = _below_the_largest(logits)
    if (_of(centred, labels) == 0).all() and (centred < 0).any():
        return 0.0
    slope, curvature = _slope(0.0, centred, labels)
    if not slope < 0:
        return math.inf
    low, high = 0.0, _upper(centred, labels)
    inverse = min(-slope / curvature, high) if curvature > 0 else high / 2
    for _ in range(_STEPS):
        slope, curvature = _slope(inverse, centred, labels)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else math.nan
        following = step if low < step < high else (low + high) / 2
        if abs(following - inverse) <= _PRECISION * inverse:
            break
        inverse = following
    return 1 / inverse


def loss_at(temperature: float, logits: Logits, labels: Labels) -> float:
    """Mean cross-entropy of softmax(logits / T), in nats; ln of the classes for T = infinity."""
    total = 0.0
    for rows in _parts(logits):
        centred = _below_the_largest(logits[rows])
        scaled = _scaled(1 / temperature, centred)
        chosen = _of(scaled, labels[rows])
        total += float((np.log(np.exp(scaled).sum(axis=1)) - chosen).sum())
    return total / len(labels)


def expected_calibration_error(logits: Logits, labels: Labels, bins: int = BINS) -> float:
    """How far confidence and accuracy lie apart, between 0 and 1 (Guo et al., Eq. 3).

    Samples are sorted by the largest probability into `bins` of equal width, each closed above;
    the result is the mean over samples of |accuracy - mean confidence| of their bin.
    """
    confidence = np.concatenate([_confidence(logits[rows]) for rows in _parts(logits)])
    right = logits.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(places, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _cross_fitted(logits: Logits, labels: Labels) -> float:
    order = np.random.default_rng(_SEED).permutation(len(labels))
    halves = order[::2], order[1::2]
    total = 0.0
    for fitted, evaluated in (halves, halves[::-1]):
        temperature = best_temperature(logits[fitted], labels[fitted])
        if not temperature > 0 or not len(evaluated):
            return math.nan
        loss = loss_at(temperature, logits[evaluated], labels[evaluated])
        total += loss * len(evaluated)
    return total / len(labels)


def _upper(centred: Logits, labels: Labels) -> float:
    """A 1 / T at which the loss rises. There is one, where a sample is wrong."""
    finite = centred[np.isfinite(centred)]
    high = 1 / float(-finite.min())
    while _slope(high, centred, labels)[0] <= 0 and high < 1e300:
        high *= 4
    return high


def _slope(inverse: float, centred: Logits, labels: Labels) -> tuple[float, float]:
    """First and second derivative of the mean cross-entropy by 1 / T."""
    first = second = 0.0
    for rows in _parts(centred):
        part = centred[rows]
        weights = np.exp(_scaled(inverse, part))
        weights /= weights.sum(axis=1, keepdims=True)
        values = np.where(np.isneginf(part), 0.0, part)  # of weight 0
        mean = (weights * values).sum(axis=1)
        first += float((mean - _of(part, labels[rows])).sum())
        second += float((weights * np.square(values - mean[:, None])).sum())
    return first / len(labels), second / len(labels)


def _scaled(inverse: float, centred: Logits) -> Logits:
    """Logits / T; a class at -infinity is none at any T."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.isneginf(centred), -np.inf, inverse * centred)


def _below_the_largest(logits: Logits) -> Logits:
    centred: Logits = logits - logits.max(axis=1, keepdims=True)
    return centred


def _confidence(logits: Logits) -> NDArray[np.float64]:
    """The largest probability of each sample: e^0 over the sum."""
    confidence: NDArray[np.float64] = 1 / np.exp(_below_the_largest(logits)).sum(axis=1)
    return confidence


def _of(values: Logits, labels: Labels) -> NDArray[np.float64]:
    chosen: NDArray[np.float64] = np.take_along_axis(values, labels[:, None].astype(np.intp), 1)
    return chosen[:, 0]


def _parts(logits: Logits) -> list[slice]:
    """Rows that are computed at once."""
    size = max(1, _ROWS_AT_ONCE // max(1, logits.shape[1]))
    return [slice(start, start + size) for start in range(0, len(logits), size)]
