"""Pearson correlation between the filters of one layer, and its histogram, in numpy.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

__all__ = [
    "BINS",
    "PER_UNIT",
    "BlockSummary",
    "Centre",
    "CorrelationSummary",
    "Summarise",
    "correlation_summary",
    "filter_correlations",
]

Centre = Literal["own", "filters"]

Floats = NDArray[np.float64]

BINS = 201
"""Bins of the correlation histogram, centred on -1.00, -0.99 ... 1.00."""

PER_UNIT = 100 * (1 + 1e-9)
"""Bins a unit. The last digit moves the edges from where coefficients of simple fractions lie (1/8
is 12.5 bins), so that the rounding of a matrix product, 1e-15, does not choose between two bins."""

_BLOCK = 512  # filters: a block of the Gram matrix is 2 MB, and stays in the cache
_STRIP = 64  # rows of a block that are counted at once: what is held beside it stays small
_HELD = 2**26  # bytes of filters of length 1; of a larger layer they are made anew block by block


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


@dataclass(frozen=True)
class BlockSummary:
    """What is gathered of a block of the matrix of coefficients."""

    counts: NDArray[np.int64]
    total: float
    absolute: float
    largest: float
    """-inf where the block holds no pair."""


Summarise = Callable[[Floats, Floats, int], BlockSummary]
"""Summary of the coefficients of two blocks of filters of length 1, [m, K] and [n, K]: of those
pairs (d, e) for which e < d + the third argument."""


def filter_correlations(weights: NDArray[Any], centre: Centre = "own") -> Floats:
    """Pearson coefficients c[d, e] between all filters of one layer: [D, D], between -1 and 1.

    `weights` is [D, ...], one filter a row. `centre="own"` subtracts from each filter the mean over
    its own weights (textbook Pearson, as `numpy.corrcoef`); `centre="filters"` subtracts the mean
    filter, the literal wording of the paper. NaN in the rows and columns of filters without
    variance, or with a weight that is not finite.
    """
    filters, mean = _filters(weights, centre)
    rows, constant = _unit_rows(filters, mean)
    coefficients: Floats = np.clip(rows @ rows.T, -1, 1)
    coefficients[constant] = np.nan
    coefficients[:, constant] = np.nan
    return coefficients


def correlation_summary(
    weights: NDArray[Any], centre: Centre = "own", summarise: Summarise | None = None
) -> CorrelationSummary:
    """Histogram and summary of `filter_correlations` below its diagonal, in O(block) extra memory.

    The D x D matrix is never held: blocks of 512 x 512 are multiplied, rounded and counted, by
    numpy or by `summarise` on another device.
    """
    filters, mean = _filters(weights, centre)
    count = min(_BLOCK, len(filters))
    held = max(2, _HELD // (count * int(filters.shape[1]) * 8))

    @lru_cache(maxsize=held)
    def unit_rows(low: int) -> tuple[Floats, NDArray[np.bool_]]:
        return _unit_rows(filters[low : low + _BLOCK], mean)

    lows = range(0, len(filters), _BLOCK)
    constant = np.concatenate([unit_rows(low)[1] for low in lows])
    if constant.any():
        filters = filters[~constant]
        lows = range(0, len(filters), _BLOCK)
        unit_rows.cache_clear()
    summarise = _Summariser(count) if summarise is None else summarise
    parts = []
    for low in lows:
        # The other way round each time: what was used last is at hand still.
        for left in sorted(range(0, low + 1, _BLOCK), reverse=low // _BLOCK % 2 == 1):
            parts.append(summarise(unit_rows(low)[0], unit_rows(left)[0], low - left))
    return _merged(parts, int(constant.sum()))


def _merged(parts: Sequence[BlockSummary], constant_filters: int) -> CorrelationSummary:
    counts = sum((part.counts for part in parts), np.zeros(BINS, np.int64))
    number = int(counts.sum())

    def mean(totals: list[float]) -> float:
        return sum(totals) / number if number else np.nan

    return CorrelationSummary(
        counts=counts,
        mean=mean([part.total for part in parts]),
        mean_absolute=mean([part.absolute for part in parts]),
        largest=min(max(part.largest for part in parts), 1.0) if number else np.nan,
        constant_filters=constant_filters,
    )


class _Summariser:
    """`Summarise` in numpy, with buffers that are used again."""

    def __init__(self, block: int) -> None:
        self._products = np.empty(block**2)
        self._scaled = np.empty(_STRIP * block)

    def __call__(self, rows: Floats, columns: Floats, offset: int) -> BlockSummary:
        products = self._products[: len(rows) * len(columns)].reshape(len(rows), len(columns))
        np.matmul(rows, columns.T, out=products)
        counts = np.zeros(BINS, np.int64)
        total, absolute, largest = 0.0, 0.0, -np.inf
        for first in range(0, len(rows), _STRIP):
            strip, before = products[first : first + _STRIP], offset + first
            pairs = strip.reshape(-1)
            if before < len(columns):  # the diagonal runs through it
                pairs = strip[np.tri(len(strip), len(columns), before - 1, dtype=np.bool_)]
            counts += self._counts(pairs)
            total += float(pairs.sum())
            largest = float(pairs.max(initial=largest))
            absolute += float(np.abs(pairs, out=pairs).sum())
        return BlockSummary(counts, total, absolute, largest)

    def _counts(self, pairs: Floats) -> NDArray[np.int64]:
        """Counts by bin. Added to 1.5 * 2^52 a number is rounded to a whole one, half to even, and
        that stands in its lowest bits: cheaper than rounding and converting."""
        scaled = np.multiply(pairs, PER_UNIT, out=self._scaled[: pairs.size])
        scaled += 1.5 * 2**52 + 100
        bins = scaled.view(np.int64)
        bins &= 255
        return np.bincount(bins, minlength=BINS)


def _filters(weights: NDArray[Any], centre: Centre) -> tuple[NDArray[Any], Floats | None]:
    """[D, K], and the mean filter where it is to be subtracted."""
    if centre not in ("own", "filters"):
        raise UsageError(f"centre={centre!r}: expected 'own' or 'filters'")
    array = np.asarray(weights)
    if array.ndim < 1 or not array.size:
        raise UsageError(f"weights of shape {array.shape} hold no filters")
    filters = array.reshape(len(array), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        return filters, None if centre == "own" else filters.mean(axis=0, dtype=np.float64)


def _unit_rows(filters: NDArray[Any], mean: Floats | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Centred filters of length 1, and which of them have no variance: those are 0.

    In float64 throughout: a coefficient near the edge of a bin must not depend on the machine.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        own = filters.mean(axis=1, keepdims=True, dtype=np.float64) if mean is None else mean
        rows: Floats = np.subtract(filters, own, dtype=np.float64)
        squares = _squares(rows)
        if mean is None:  # by Pythagoras
            before = squares + filters.shape[1] * np.square(own[:, 0])
        else:
            before = _squares(filters.astype(np.float64, copy=False))
        norms = np.sqrt(squares)
        # What rounding leaves of a constant filter is no variance.
        constant = ~((norms > 1e-7 * np.sqrt(before)) & np.isfinite(norms))
        rows *= (1 / np.where(norms > 0, norms, 1))[:, None]
    rows[constant] = 0
    return rows, constant


def _squares(rows: Floats) -> Floats:
    """The square of each row's length; a third of the time that numpy.einsum takes."""
    return np.asarray(np.matmul(rows[:, None], rows[..., None])[:, 0, 0])
