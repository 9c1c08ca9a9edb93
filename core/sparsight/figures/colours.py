"""Colours that tell values, layers and runs apart with any common colour vision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize
from numpy.typing import NDArray

__all__ = [
    "DASHES",
    "NOTHING",
    "Scale",
    "dash_of",
    "diverging",
    "layer_colours",
    "linear_counts",
    "logarithmic_counts",
    "sequential",
]

NOTHING: dict[str, Any] = {
    "facecolor": "#ececec",
    "edgecolor": "#8a8a8a",
    "hatch": "//////",
    "linewidth": 0.0,
}
"""How a place without a value looks: grey and hatched, as no value does."""

_APART = ("#0072b2", "#d55e00", "#009e73", "#b0508c", "#946c00", "#3ba1d9", "#5b4bb5", "#4d4d4d")
"""After Okabe and Ito; the tab's colours."""
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.6)),
    (0, (1, 1.2)),
    (0, (6, 1.4, 1, 1.4)),
    (0, (8, 2)),
    (0, (4, 1.4, 1, 1.4, 1, 1.4)),
)

DASHES = len(_DASHES)
"""How many runs can be told apart by line style."""


@dataclass(frozen=True)
class Scale:
    """Which colour stands for which value; what is not a number lets through what is behind it."""

    norm: Normalize
    colours: Colormap
    extend: Literal["neither", "min", "max", "both"] = "neither"
    """Where values lie beyond the range, and take the colour at its end."""

    def mappable(self) -> ScalarMappable:
        """What a colour bar is drawn from."""
        return ScalarMappable(self.norm, self.colours)


def dash_of(number: int) -> Any:
    """Line style of a run; after `DASHES` of them they repeat."""
    return _DASHES[number % len(_DASHES)]


def layer_colours(count: int) -> list[Any]:
    """A colour a layer: up to 8 that differ clearly, for more a scale from first to last."""
    if count <= len(_APART):
        return list(_APART[:count])
    table = matplotlib.colormaps["viridis"]  # its yellow end does not show on white
    return [table(0.92 * at / (count - 1)) for at in range(count)]


Values = Sequence[NDArray[Any]]
Limits = tuple[float, float]


def sequential(values: Values, logarithmic: bool = False, limits: Limits | None = None) -> Scale:
    """viridis over all finite values of several arrays, or over a fixed range; by their logarithm
    where that is asked for and all of it is above 0."""
    low, high = limits or _extent(values)
    norm = LogNorm(low, high) if logarithmic and 0 < low < high else Normalize(low, high)
    return Scale(norm, _transparent("viridis"), _beyond(values, low, high))


def diverging(values: Values, limits: Limits | None = None) -> Scale:
    """Red below 0, white at 0, blue above, as far on either side: as far as the values reach, or
    as wide as a fixed range is."""
    reach = limits[1] - limits[0] if limits else max(map(abs, _extent(values))) or 1.0
    return Scale(Normalize(-reach, reach), _transparent("RdBu"), _beyond(values, -reach, reach))


def _beyond(values: Values, low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    finite = [part[np.isfinite(part)] for part in values]
    below = any((part < low).any() for part in finite)
    above = any((part > high).any() for part in finite)
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


def logarithmic_counts(values: Iterable[NDArray[Any]]) -> Scale:
    """cividis over the logarithm of the values above 0; those at 0 are white."""
    low, high = _extent([np.where(part > 0, part, np.nan) for part in values])
    table = _transparent("cividis").with_extremes(under="white", bad=(0, 0, 0, 0))
    return Scale(LogNorm(low, high if high > low else low * 10), table)


def linear_counts(values: Iterable[NDArray[Any]]) -> Scale:
    """cividis from 0 to the largest value."""
    return Scale(Normalize(0, _extent(values)[1]), _transparent("cividis"))


def _transparent(name: str) -> Colormap:
    """What is not a number lets through what is behind it."""
    return matplotlib.colormaps[name].with_extremes(bad=(0, 0, 0, 0))


def _extent(values: Iterable[NDArray[Any]]) -> tuple[float, float]:
    finite: Sequence[NDArray[Any]] = [part[np.isfinite(part)] for part in values]
    joined = np.concatenate(finite) if finite else np.zeros(0)
    if not joined.size:
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    return (low, high) if high > low else (low, low + (abs(low) or 1.0) * 1e-3)
