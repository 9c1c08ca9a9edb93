"""What is measured of one layer on a whole probe set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..maths.correlation import CorrelationSummary
from ..maths.entropy import relative_entropy
from ..schema import LayerInfo

__all__ = ["LayerMeasurement"]


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
