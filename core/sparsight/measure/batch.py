"""What a backend computes of one layer on one batch, and which of its RFAVs count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import LayerInfo

__all__ = ["BatchStatistics", "Counted", "Floats"]

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class BatchStatistics:
    """What a backend computes of one layer on one batch of N probes; only `entropy` is required."""

    entropy: Floats
    """H in nats, [N, *map]; NaN where the RFAV holds a NaN or an infinity."""
    companions: Mapping[str, Floats] = field(default_factory=dict)
    """By what is measured (`schema.Statistic.measured`), where the table averages it over RFAVs:
    its value for each, [N, *map], or [N, *map, K] where it is a vector."""
    channel_sums: Floats | None = None
    """[D], sum of each channel over the RFAVs that count and have an entropy."""
    rfavs: Floats | None = None
    """[N, *map, D], the activations themselves: instead, where the backend cannot tell which of
    them count."""
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
class Counted:
    """A batch, and which of its RFAVs count."""

    batch: BatchStatistics
    layer: LayerInfo
    first: int
    """Number of its first probe in the probe set."""
    shown: Sequence[int]
    """The probes whose maps are kept."""

    @property
    def highest(self) -> float:
        """ln D"""
        return float(np.log(self.layer.channels))

    @cached_property
    def entropy(self) -> Floats:
        """H, [N, *map]; NaN where a position does not count."""
        batch = self.batch
        return batch.entropy if batch.counted is None else _where(batch.counted, batch.entropy)

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """[N, *map]: the positions that count and have an entropy."""
        return np.isfinite(self.entropy)

    @cached_property
    def positions(self) -> int:
        """How many count."""
        counted = self.batch.counted
        return self.batch.entropy.size if counted is None else int(counted.sum())

    @cached_property
    def entropies(self) -> NDArray[np.float64]:
        """H of the R RFAVs that count and have one, [R]."""
        return self.entropy[self.finite].astype(np.float64)

    @cached_property
    def deficit(self) -> NDArray[np.float64]:
        """ln D - H, [R]: exact where H is close to ln D."""
        return self.highest - self.entropies

    def companion(self, measured: str, squared: bool) -> Any:
        """Sum over RFAVs of what is measured of each, or of its square: a number, or [K]."""
        if measured not in self.batch.companions:
            return None
        values = self.batch.companions[measured][self.finite].astype(np.float64)
        return (np.square(values) if squared else values).sum(axis=0)

    @cached_property
    def channel_sums(self) -> NDArray[np.float64] | None:
        """[D]"""
        if self.batch.rfavs is not None:
            return np.asarray(self.batch.rfavs[self.finite].sum(axis=0, dtype=np.float64))
        sums = self.batch.channel_sums
        return None if sums is None else sums.astype(np.float64)

    @cached_property
    def maps(self) -> dict[int, NDArray[np.float32]]:
        """Entropy maps of its shown probes, by their number in the probe set."""
        here = range(self.first, self.first + len(self.entropy))
        return {n: self.entropy[n - self.first].astype(np.float32) for n in self.shown if n in here}

    @cached_property
    def relu(self) -> tuple[Floats | None, int | None, int | None]:
        """Largest ReLU input of each channel, or how often it is > 0; how many inputs are <= 0; and
        how many are no NaN."""
        batch = self.batch
        if batch.relu_at_most_zero is None or batch.relu_above_zero is None:
            maximum, zeros, numbers = batch.relu_maximum, batch.relu_zeros, batch.relu_numbers
            if numbers is None and zeros is not None and maximum is not None:
                numbers = batch.entropy.size * len(maximum)
            return None if maximum is None else maximum.copy(), zeros, numbers
        at_most_zero, above_zero = (
            _rows(values, batch.counted).sum(axis=0, dtype=np.int64)
            for values in (batch.relu_at_most_zero, batch.relu_above_zero)
        )
        either = at_most_zero + above_zero
        maximum = np.where(either > 0, above_zero, np.nan)
        return maximum, int(at_most_zero.sum()), int(either.sum())


def _where(counted: NDArray[np.bool_], entropy: Floats) -> Floats:
    return np.asarray(np.where(counted, entropy, np.nan))


def _rows(values: NDArray[Any], counted: NDArray[np.bool_] | None) -> NDArray[Any]:
    """[positions, D] of [N, *map, D]: all of them, or those that count."""
    return values.reshape(-1, values.shape[-1]) if counted is None else values[counted]
