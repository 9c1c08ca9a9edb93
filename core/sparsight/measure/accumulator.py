"""The streaming accumulator that gathers what is measured of one layer, batch by batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UsageError
from ..maths.correlation import CorrelationSummary
from ..schema import COLUMNS, LayerInfo
from .batch import BatchStatistics, Counted
from .measurement import LayerMeasurement
from .results import RESULTS, Totals
from .states import STATES, added, merged

__all__ = ["LayerAccumulator"]


@dataclass
class LayerAccumulator:
    """Sums over batches, mergeable: how the probes are cut into batches or ranks changes nothing.

    What is added up is declared in `states`. Counts and the histogram are integers; sums are kept
    in float64.
    """

    layer: LayerInfo
    shown: tuple[int, ...] = ()
    _values: dict[str, Any] = field(default_factory=dict)

    def update(self, batch: BatchStatistics, first: int) -> None:
        """Add a batch whose probes are number `first` onwards of the probe set."""
        self._add(added(STATES, Counted(batch, self.layer, first, self.shown)))

    def merge(self, other: LayerAccumulator) -> None:
        """Add what another accumulator of the same layer gathered, on another rank, say."""
        if other.layer != self.layer:
            raise UsageError(f"cannot merge layer {other.layer.name!r} into {self.layer.name!r}")
        self._add(other._values)

    def result(self, correlation: CorrelationSummary | None = None) -> LayerMeasurement:
        """The measurement of everything added so far. Raises UsageError if that is nothing."""
        if not self._values:
            raise UsageError(f"layer {self.layer.name!r} was not measured on any probe")
        totals = Totals(self._values, self.layer, correlation)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_map = (self._values["map_sum"] / self._values["map_count"]).astype(np.float32)
        shown = tuple(sorted(self._values["maps"]))
        maps = [self._values["maps"][probe] for probe in shown]
        return LayerMeasurement(
            layer=dataclasses.replace(self.layer, map_shape=mean_map.shape),
            statistics={column.name: RESULTS[column.name](totals) for column in COLUMNS},
            maps=np.stack(maps) if maps else np.zeros((0, *mean_map.shape), np.float32),
            shown=shown,
            mean_map=mean_map,
            correlation=correlation,
        )

    def _add(self, values: dict[str, Any]) -> None:
        if self._values and values:
            ours, theirs = self._values["map_sum"].shape, values["map_sum"].shape
            if ours != theirs:
                raise UsageError(
                    f"layer {self.layer.name!r}: got a map of shape {theirs} after one of "
                    f"shape {ours}; expected the same shape for all probes"
                )
        self._values = merged(STATES, self._values, values)
