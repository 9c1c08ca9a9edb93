"""What is measured of one layer, and the streaming accumulator that gathers it batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..maths.correlation import CorrelationSummary
from ..maths.entropy import relative_entropy
from ..schema import LayerInfo

__all__ = ["BatchStatistics", "LayerAccumulator", "LayerMeasurement"]

_LEVELS = 4096  # bins of H / ln D: a percentile is exact to 1 / 4096 of ln D

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class BatchStatistics:
    """What a backend computes of one layer on one batch of N probes; only `entropy` is required."""

    entropy: Floats
    """H in nats, [N, *map]; NaN where the RFAV holds a NaN or an infinity."""
    scale_free_entropy: Floats | None = None
    """[N, *map], between 0 and 1."""
    rms: Floats | None = None
    """RMS of each RFAV, [N, *map]."""
    relu_maximum: Floats | None = None
    """[D], largest ReLU input of each channel that is no NaN, or any number of the same sign; NaN
    where all are NaN; None where no ReLU is reached from the layer."""
    relu_zeros: int | None = None
    """ReLU inputs <= 0 in this batch, all channels and positions together."""
    relu_numbers: int | None = None
    """ReLU inputs that are no NaN; None for all of them."""
    relu_at_most_zero: NDArray[np.bool_] | None = None
    relu_above_zero: NDArray[np.bool_] | None = None
    """[N, *map, D], whether a ReLU input is <= 0, and whether it is > 0: instead of the three where
    not all positions count."""
    counted: NDArray[np.bool_] | None = None
    """[N, *map]: the positions that count; None for all. Others, as of padding, are NaN in maps."""


@dataclass(frozen=True)
class LayerMeasurement:
    """One layer measured on a whole probe set."""

    layer: LayerInfo
    statistics: Mapping[str, float]
    """By the names of `schema.COLUMNS`; NaN where not measured."""
    maps: NDArray[np.float32]
    """H in nats of the shown probes, [shown, *map]."""
    shown: tuple[int, ...]
    """Positions of the shown probes in the probe set."""
    mean_map: NDArray[np.float32]
    """Mean of H over all probes, [*map]; NaN where it is NaN for all of them."""
    correlation: CorrelationSummary | None = None

    @property
    def relative_entropy(self) -> float:
        """Mean of H / ln D, between 0 (sparse) and 1 (dense); NaN for D = 1."""
        mean = np.asarray(self.statistics["entropy"], np.float64)
        return float(relative_entropy(mean, self.layer.channels))


@dataclass
class LayerAccumulator:
    """Sums over batches, mergeable: how the probes are cut into batches or ranks changes nothing.

    Counts and the histogram are integers; sums are kept in float64.
    """

    layer: LayerInfo
    shown: tuple[int, ...] = ()
    _finite: int = 0
    _nan: int = 0
    _deficit: float = 0.0  # sum of ln D - H: exact where H is close to ln D
    _deficit_squares: float = 0.0
    _scale_free: float | None = None
    _mean_squares: float | None = None
    _relu_maximum: Floats | None = None
    _relu_zeros: int | None = None
    _relu_numbers: int | None = None
    _levels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_LEVELS, np.int64))
    _map_sum: NDArray[np.float64] | None = None
    _map_count: NDArray[np.int64] | None = None
    _maps: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def update(self, batch: BatchStatistics, first: int) -> None:
        """Add a batch whose probes are number `first` onwards of the probe set."""
        entropy, positions = batch.entropy, batch.entropy.size
        if batch.counted is not None:
            entropy = np.where(batch.counted, entropy, np.nan)
            positions = int(batch.counted.sum())
        finite = np.isfinite(entropy)
        values = entropy[finite].astype(np.float64)
        highest = float(np.log(self.layer.channels))
        deficit = highest - values
        self._finite += values.size
        self._nan += positions - values.size
        self._deficit += float(deficit.sum())
        self._deficit_squares += float(np.square(deficit).sum())
        self._levels += _levels(values, highest)
        if batch.scale_free_entropy is not None:
            chosen = batch.scale_free_entropy[finite]
            self._scale_free = (self._scale_free or 0.0) + float(chosen.sum(dtype=np.float64))
        if batch.rms is not None:
            squares = np.square(batch.rms[finite].astype(np.float64))
            self._mean_squares = (self._mean_squares or 0.0) + float(squares.sum())
        self._add_relu(*_relu(batch))
        map_sum = np.where(finite, entropy, 0).sum(axis=0, dtype=np.float64)
        self._add_maps(map_sum, finite.sum(axis=0, dtype=np.int64))
        for probe in self.shown:
            if first <= probe < first + len(entropy):
                self._maps[probe] = entropy[probe - first].astype(np.float32)

    def merge(self, other: LayerAccumulator) -> None:
        """Add what another accumulator of the same layer gathered, on another rank, say."""
        if other.layer != self.layer:
            raise UsageError(f"cannot merge layer {other.layer.name!r} into {self.layer.name!r}")
        self._finite += other._finite
        self._nan += other._nan
        self._deficit += other._deficit
        self._deficit_squares += other._deficit_squares
        self._levels += other._levels
        self._scale_free = _sum(self._scale_free, other._scale_free)
        self._mean_squares = _sum(self._mean_squares, other._mean_squares)
        self._add_relu(other._relu_maximum, other._relu_zeros, other._relu_numbers)
        if other._map_sum is not None and other._map_count is not None:
            self._add_maps(other._map_sum, other._map_count)
        self._maps.update(other._maps)

    def result(self, correlation: CorrelationSummary | None = None) -> LayerMeasurement:
        """The measurement of everything added so far. Raises UsageError if that is nothing."""
        if self._map_sum is None or self._map_count is None:
            raise UsageError(f"layer {self.layer.name!r} was measured on no probe")
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_map = (self._map_sum / self._map_count).astype(np.float32)
        shown = tuple(sorted(self._maps))
        maps = [self._maps[probe] for probe in shown]
        return LayerMeasurement(
            layer=dataclasses.replace(self.layer, map_shape=mean_map.shape),
            statistics=self._statistics(correlation),
            maps=np.stack(maps) if maps else np.zeros((0, *mean_map.shape), np.float32),
            shown=shown,
            mean_map=mean_map,
            correlation=correlation,
        )

    def _add_relu(self, maximum: Floats | None, zeros: int | None, numbers: int | None) -> None:
        if maximum is not None:
            ours = self._relu_maximum
            # of a number and a NaN fmax takes the number
            self._relu_maximum = maximum.copy() if ours is None else np.fmax(ours, maximum)
        self._relu_zeros = _sum(self._relu_zeros, zeros)
        self._relu_numbers = _sum(self._relu_numbers, numbers)

    def _add_maps(self, map_sum: NDArray[np.float64], map_count: NDArray[np.int64]) -> None:
        if self._map_sum is None or self._map_count is None:
            self._map_sum, self._map_count = map_sum, map_count
        elif self._map_sum.shape != map_sum.shape:
            raise UsageError(
                f"layer {self.layer.name!r}: a map of shape {map_sum.shape} after one of "
                f"shape {self._map_sum.shape}; all probes must have one shape"
            )
        else:
            self._map_sum = self._map_sum + map_sum
            self._map_count = self._map_count + map_count

    def _statistics(self, correlation: CorrelationSummary | None) -> dict[str, float]:
        positions = self._finite + self._nan
        highest = float(np.log(self.layer.channels))
        deficit = _ratio(self._deficit, self._finite)
        variance = _ratio(self._deficit_squares, self._finite) - deficit**2
        percentiles = _percentiles(self._levels, highest, (5, 50, 95))
        # The maximum of a channel without a number is NaN, which is not <= 0: it is not dead.
        dead = None if self._relu_maximum is None else self._relu_maximum <= 0
        return {
            "entropy": highest - deficit,
            "entropy_std": float(np.sqrt(np.fmax(variance, 0))) if self._finite else np.nan,
            "entropy_p5": percentiles[0],
            "entropy_p50": percentiles[1],
            "entropy_p95": percentiles[2],
            "scale_free_entropy": _ratio(self._scale_free, self._finite),
            "rms": float(np.sqrt(_ratio(self._mean_squares, self._finite))),
            "dead_fraction": np.nan if dead is None else float(dead.mean()),
            "zero_fraction": _ratio(self._relu_zeros, self._relu_numbers or 0),
            "nan_share": _ratio(self._nan, positions),
            "correlation_mean": correlation.mean if correlation else np.nan,
            "correlation_mean_absolute": correlation.mean_absolute if correlation else np.nan,
            "correlation_largest": correlation.largest if correlation else np.nan,
            "constant_filters": correlation.constant_filters if correlation else np.nan,
        }


def _relu(batch: BatchStatistics) -> tuple[Floats | None, int | None, int | None]:
    """Largest ReLU input of each channel, or how often it is > 0; how many inputs are <= 0; and how
    many are no NaN."""
    if batch.relu_at_most_zero is None or batch.relu_above_zero is None:
        maximum, zeros, numbers = batch.relu_maximum, batch.relu_zeros, batch.relu_numbers
        if numbers is None and zeros is not None and maximum is not None:
            numbers = batch.entropy.size * len(maximum)
        return maximum, zeros, numbers
    at_most_zero, above_zero = (
        _rows(values, batch.counted).sum(axis=0, dtype=np.int64)
        for values in (batch.relu_at_most_zero, batch.relu_above_zero)
    )
    either = at_most_zero + above_zero
    return np.where(either > 0, above_zero, np.nan), int(at_most_zero.sum()), int(either.sum())


def _rows(values: NDArray[Any], counted: NDArray[np.bool_] | None) -> NDArray[Any]:
    """[positions, D] of [N, *map, D]: all of them, or those that count."""
    return values.reshape(-1, values.shape[-1]) if counted is None else values[counted]


def _levels(values: NDArray[np.float64], highest: float) -> NDArray[np.int64]:
    if highest == 0:  # D = 1: every H is 0
        return np.bincount(np.zeros(values.size, np.intp), minlength=_LEVELS).astype(np.int64)
    levels = np.clip(values * (_LEVELS / highest), 0, _LEVELS - 1).astype(np.intp)
    return np.bincount(levels, minlength=_LEVELS).astype(np.int64)


def _percentiles(levels: NDArray[np.int64], highest: float, wanted: Iterable[float]) -> list[float]:
    """Percentiles in nats, linear within a bin."""
    cumulative = np.cumsum(levels)
    total = int(cumulative[-1])
    results = []
    for percent in wanted:
        if not total:
            results.append(float("nan"))
            continue
        rank = percent / 100 * total
        level = int(np.searchsorted(cumulative, rank))  # rank > 0, so this level holds a value
        within = 1 - (cumulative[level] - rank) / levels[level]
        results.append(float((level + within) / _LEVELS * highest))
    return results


def _sum(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return right if left is None else left
    return left + right


def _ratio(total: float | None, count: int) -> float:
    return float("nan") if total is None or not count else total / count
