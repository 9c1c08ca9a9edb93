"""When a run began to overfit, and which layers moved. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIGMA", "Onset", "find_onset", "movement", "smooth"]

SIGMA = 2.0
"""Width of the Gaussian that smooths the validation loss, in epochs."""

Numbers = Sequence[float] | NDArray[Any]

_EPOCHS_AFTER = 3
_RISE = 0.02
_ROWS = 1024  # of the matrix of weights: one of 8 MB for a curve of 1,000 points


@dataclass(frozen=True)
class Onset:
    """The epoch after which validation loss only got worse."""

    epoch: int
    loss: float
    """Smoothed validation loss at that epoch."""


def smooth(epochs: Numbers, values: Numbers, sigma: float = SIGMA) -> NDArray[np.float64]:
    """`values` under a Gaussian of `sigma` epochs, [E]; for view and onset only.

    At the ends the kernel is cut off and normalised; values that are not finite weigh nothing, and
    the result is NaN at their own epochs.
    """
    at, raw = np.asarray(epochs, np.float64), np.asarray(values, np.float64)
    finite = np.isfinite(raw)
    result = np.where(finite, raw, np.nan)
    if sigma <= 0:
        return result
    at, raw, smoothed = at[finite], raw[finite], result[finite]
    for start in range(0, len(at), _ROWS):
        rows = slice(start, start + _ROWS)
        weights = np.exp(-0.5 * np.square((at[rows, None] - at) / sigma))
        smoothed[rows] = weights @ raw / weights.sum(axis=1)
    result[finite] = smoothed
    return result


def find_onset(epochs: Numbers, losses: Numbers, sigma: float = SIGMA) -> Onset | None:
    """Onset of overfitting: argmin of the smoothed validation loss over the epochs, ascending.

    None unless at least 3 epochs follow it and the last smoothed value exceeds the minimum by 2%.
    Epochs may be fractions, where losses are logged by batch.
    """
    at = np.asarray(epochs, np.float64)
    smoothed = smooth(epochs, losses, sigma)
    known = np.flatnonzero(np.isfinite(smoothed))
    if not known.size:
        return None
    best = known[np.argmin(smoothed[known])]
    lowest, last = smoothed[best], smoothed[known[-1]]
    if at[known[-1]] - at[best] < _EPOCHS_AFTER or last - lowest <= _RISE * abs(lowest):
        return None
    return Onset(round(at[best]), float(lowest))


def movement(values: NDArray[np.floating[Any]], last: int = 10) -> NDArray[np.float64]:
    """How far each layer's statistic moved: [layers] from [epochs, layers].

    The median over the `last` records less the first record ("before training", where epoch -1 was
    recorded); negative where it fell. The median, because single epochs swing.
    """
    table = np.asarray(values, np.float64)
    if not len(table):
        return np.full(table.shape[1], np.nan)
    result: NDArray[np.float64] = np.median(table[-last:], axis=0) - table[0]
    return result
