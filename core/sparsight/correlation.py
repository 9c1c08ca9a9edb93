"""Pearson correlation between the filters of one layer, and its histogram, in numpy.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

__all__ = ["BINS", "Centre", "CorrelationSummary", "correlation_summary", "filter_correlations"]

Centre = Literal["own", "filters"]

BINS = 201
"""Bins of the correlation histogram, centred on -1.00, -0.99 ... 1.00."""

_BLOCK = 512  # filters: a block of the Gram matrix is 2 MB, and stays in the cache


@dataclass(frozen=True)
class CorrelationSummary:
    """Distribution of the coefficients c[d, e], e < d, of one layer."""

    counts: NDArray[np.int64]
    """[201] pairs by coefficient, bins centred on -1.00, -0.99 ... 1.00."""
    mean: float
    mean_absolute: float
    largest: float
    """The largest coefficient; like the means, NaN where there is no pair."""
    constant_filters: int
    """Filters without variance, which have no coefficient and are left out."""


def filter_correlations(weights: NDArray[Any], centre: Centre = "own") -> NDArray[np.float64]:
    """Pearson coefficients c[d, e] between all filters of one layer: [D, D], between -1 and 1.

    `weights` is [D, ...], one filter a row. `centre="own"` subtracts from each filter the mean over
    its own weights (textbook Pearson, as `numpy.corrcoef`); `centre="filters"` subtracts the mean
    filter, the literal wording of the paper. NaN in the rows and columns of filters without
    variance, or with a weight that is not finite.
    """
    rows, constant = _unit_rows(weights, centre)
    coefficients = np.clip(rows @ rows.T, -1, 1)
    coefficients[constant] = np.nan
    coefficients[:, constant] = np.nan
    return coefficients


def correlation_summary(weights: NDArray[Any], centre: Centre = "own") -> CorrelationSummary:
    """Histogram and summary of `filter_correlations` below its diagonal, in O(block) extra memory.

    The D x D matrix is never held: blocks of 512 x 512 are multiplied, rounded and counted.
    """
    rows, constant = _unit_rows(weights, centre)
    rows = rows[~constant]
    counts = np.zeros(BINS, np.int64)
    total = absolute = 0.0
    largest = -np.inf
    for low in range(0, len(rows), _BLOCK):
        for left in range(0, low + 1, _BLOCK):
            block = rows[low : low + _BLOCK] @ rows[left : left + _BLOCK].T
            pairs = block[np.tril_indices(len(block), -1)] if left == low else block.ravel()
            if not pairs.size:
                continue
            np.clip(pairs, -1, 1, out=pairs)
            counts += np.bincount(np.rint(pairs * 100).astype(np.intp) + 100, minlength=BINS)
            total += float(pairs.sum())
            absolute += float(np.abs(pairs).sum())
            largest = max(largest, float(pairs.max()))
    number = int(counts.sum())
    return CorrelationSummary(
        counts=counts,
        mean=total / number if number else np.nan,
        mean_absolute=absolute / number if number else np.nan,
        largest=largest if number else np.nan,
        constant_filters=int(constant.sum()),
    )


def _unit_rows(
    weights: NDArray[Any], centre: Centre
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Centred filters of length 1, and which of them have no variance."""
    if centre not in ("own", "filters"):
        raise UsageError(f"centre={centre!r}: 'own' or 'filters' was wanted")
    array = np.asarray(weights)
    if array.ndim < 1 or not array.size:
        raise UsageError(f"weights of shape {array.shape} hold no filter")
    # float64 throughout: a coefficient near the edge of a bin must not depend on the machine.
    filters = array.reshape(len(array), -1).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = filters.mean(axis=1 if centre == "own" else 0, keepdims=True)
        centred = filters - mean
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        # What rounding leaves of a constant filter is no variance.
        lengths = np.linalg.norm(filters, axis=1, keepdims=True)
        constant = ~((norms > 1e-7 * lengths) & np.isfinite(norms))[:, 0]
        rows = centred / np.where(norms > 0, norms, 1)
    rows[constant] = 0
    return rows, constant
