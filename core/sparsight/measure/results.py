"""What statistics come of what was added up of a layer.

What the table of the schema averages over RFAVs needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..maths.correlation import CorrelationSummary
from ..maths.variance import share_of_channel_means
from ..schema import STATISTICS, LayerInfo, Statistic
from .states import LEVELS, Values

__all__ = ["RESULTS", "Result", "Totals", "averaged"]


@dataclass(frozen=True)
class Totals:
    """The values of all states over a whole probe set, and what else statistics are made of."""

    values: Values
    layer: LayerInfo
    correlation: CorrelationSummary | None = None

    def mean(self, state: str, over: str = "finite") -> Any:
        """A sum divided by a count, of RFAVs unless another is named; NaN where nothing is
        known."""
        total, count = self.values.get(state), self.values.get(over, 0)
        return float("nan") if total is None or not count else total / count

    @property
    def highest(self) -> float:
        """ln D"""
        return float(np.log(self.layer.channels))


Result = Callable[[Totals], float]


def averaged(table: Iterable[Statistic]) -> dict[str, Result]:
    """Of what the table averages over RFAVs."""
    return {s.name: _mean_of(s) for s in table if s.averaged is not None}


def _mean_of(statistic: Statistic) -> Result:
    def result(totals: Totals) -> float:
        mean = totals.mean(statistic.measured)
        value = mean[statistic.part] if np.ndim(mean) else mean
        return float(np.sqrt(value) if statistic.averaged == "squares" else value)

    return result


def _of_correlation(name: str) -> Result:
    return lambda totals: float(getattr(totals.correlation, name, np.nan))


def _percentile_of(percent: int) -> Result:
    return lambda totals: _percentile(totals.values["levels"], totals.highest, percent)


def _percentile(levels: NDArray[np.int64], highest: float, percent: float) -> float:
    """In nats, linear within a bin."""
    cumulative = np.cumsum(levels)
    total = int(cumulative[-1])
    if not total:
        return float("nan")
    rank = percent / 100 * total
    level = int(np.searchsorted(cumulative, rank))  # rank > 0, so this level holds a value
    within = 1 - (cumulative[level] - rank) / levels[level]
    return float((level + within) / LEVELS * highest)


def _deviation(totals: Totals) -> float:
    variance = totals.mean("deficit_squares") - totals.mean("deficit") ** 2
    return float(np.sqrt(np.maximum(variance, 0)))  # NaN stays NaN


def _channel_mean_share(totals: Totals) -> float:
    sums, mean_squares = totals.values.get("channel_sums"), totals.values.get("rms")
    if sums is None or mean_squares is None:
        return float("nan")
    return share_of_channel_means(totals.values["finite"], sums, len(sums) * mean_squares)


def _dead_fraction(totals: Totals) -> float:
    maximum = totals.values.get("relu_maximum")
    # The maximum of a channel without a number is NaN, which is not <= 0: it is not dead.
    return float("nan") if maximum is None else float((maximum <= 0).mean())


def _nan_share(totals: Totals) -> float:
    count, others = totals.values["nan"], totals.values["finite"]
    return count / (count + others) if count + others else float("nan")


RESULTS: Mapping[str, Result] = {
    **averaged(STATISTICS.values()),
    "entropy": lambda totals: totals.highest - totals.mean("deficit"),
    "entropy_std": _deviation,
    **{f"entropy_p{percent}": _percentile_of(percent) for percent in (5, 50, 95)},
    "channel_mean_share": _channel_mean_share,
    "dead_fraction": _dead_fraction,
    "zero_fraction": lambda totals: totals.mean("relu_zeros", over="relu_numbers"),
    "nan_share": _nan_share,
    "correlation_mean": _of_correlation("mean"),
    "correlation_mean_absolute": _of_correlation("mean_absolute"),
    "correlation_largest": _of_correlation("largest"),
    "constant_filters": _of_correlation("constant_filters"),
}
"""The value of each column of the schema; NaN where it was not measured."""
