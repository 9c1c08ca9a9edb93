"""The one table of statistics: what is recorded of a layer, and what follows from it.

Everything else that knows statistics reads this table: the columns of event files, the states of
the accumulator, the options and tables of the command line, the figures, and, by way of the files
that `frontend/scripts/statistics_table.py` writes, the tab and the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..maths.entropy import relative_entropy

__all__ = ["STATISTICS", "Bound", "Derivation", "Statistic", "recorded"]

Bound = float | Literal["ln D", "D"] | None
"""An end of a range: a number, what depends on the number of channels, or None for no end."""

Derivation = Literal["as recorded", "over ln D", "exponential"]


@dataclass(frozen=True)
class Statistic:
    """One number of a layer at one step."""

    name: str
    """In files, options and addresses."""
    title: str
    symbol: str
    """What stands before a number or above a column of numbers, where a title is too long."""
    sentence: str
    """What it is, for tooltips and documentation."""
    group: str
    """What the tab's selector lists it under."""
    unit: str = ""
    """Empty for pure numbers, and for activations, which have no unit that anybody knows."""
    range: tuple[Bound, Bound] = (0, None)
    """The smallest and the largest value that it can have."""
    healthy: Literal["high", "low"] | None = None
    """Which values a dense layer of working channels has; None where neither end tells."""
    logarithmic: bool = False
    """Whether it spans orders of magnitude: differences are counted in doublings."""
    column: str = ""
    """The recorded column that it is made of; its own unless given."""
    derived: Derivation = "as recorded"
    """How it follows from that column."""
    spread: tuple[str, str] | None = None
    """Columns of the 5th and 95th percentile over positions and probes, if any are recorded."""
    measured: str = ""
    """What a backend has to compute for it; its own name unless given."""
    averaged: Literal["values", "squares"] | None = None
    """Of what there is a value for each RFAV, what is recorded: the mean, or the root of the mean
    square. None where `measure.states` says how the value of a layer is put together."""
    part: int | None = None
    """Where what is measured is a vector at each position, the component that this one is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.name)
        object.__setattr__(self, "measured", self.measured or self.name)

    @property
    def heading(self) -> str:
        """Title and unit: "Dead channels [share of channels]"."""
        return _with_unit(self.title, self.unit)

    @property
    def label(self) -> str:
        """Symbol and unit, for axes: "H [nats]"."""
        return _with_unit(self.symbol, self.unit)

    def limits(self, channels: int) -> tuple[float | None, float | None]:
        """Its range for so many channels."""
        lowest, highest = (_bound(end, channels) for end in self.range)
        return lowest, highest

    def of(self, values: NDArray[Any], channels: int) -> NDArray[np.float64]:
        """Its values, given those of its column and D."""
        return np.asarray(_DERIVED[self.derived](values, channels), np.float64)


def _bound(end: Bound, channels: int) -> float | None:
    if end == "ln D":
        return float(np.log(channels))
    return float(channels) if end == "D" else end


def _with_unit(text: str, unit: str) -> str:
    return f"{text} [{unit}]" if unit else text


_DERIVED: Mapping[Derivation, Callable[[NDArray[Any], int], NDArray[Any]]] = {
    "as recorded": lambda values, channels: values,
    "over ln D": relative_entropy,
    "exponential": lambda values, channels: np.asarray(np.exp(values)),
}

_DENSITY, _ACTIVATIONS = "Dense or sparse", "Activations"
_FILTERS, _POSITIONS = "Correlations between filters", "Entropy over positions and probes"
_PERCENTILES = ("entropy_p5", "entropy_p95")

_TABLE = (
    Statistic(
        "relative_entropy",
        "Relative entropy",
        "H / ln D",
        "Mean entropy of the softmax of each RFAV as a share of ln D, its largest value; it also "
        "falls when activations merely grow.",
        _DENSITY,
        range=(0, 1),
        healthy="high",
        column="entropy",
        derived="over ln D",
        spread=_PERCENTILES,
        measured="entropy",
    ),
    Statistic(
        "entropy",
        "RFAV entropy",
        "H",
        "Mean entropy of the softmax of each RFAV.",
        _DENSITY,
        unit="nats",
        range=(0, "ln D"),
        healthy="high",
        spread=_PERCENTILES,
    ),
    Statistic(
        "perplexity",
        "Perplexity",
        "exp H",
        "Exponential of the mean entropy: as many channels, equally active, have this entropy.",
        _DENSITY,
        unit="channels",
        range=(1, "D"),
        healthy="high",
        column="entropy",
        derived="exponential",
        spread=_PERCENTILES,
        measured="entropy",
    ),
    Statistic(
        "scale_free_entropy",
        "Scale-free entropy",
        "scale-free",
        "Mean relative entropy of each RFAV divided by its own RMS: it falls only when the pattern "
        "grows sparse.",
        _DENSITY,
        range=(0, 1),
        healthy="high",
        averaged="values",
    ),
    Statistic(
        "hoyer_sparsity",
        "Hoyer sparsity",
        "Hoyer",
        "Mean Hoyer sparsity of the RFAVs, whatever their scale: 0 where all channels have the "
        "same magnitude, 1 where a single one is not zero.",
        _DENSITY,
        range=(0, 1),
        healthy="low",
        averaged="values",
    ),
    Statistic(
        "rms",
        "RMS of the activations",
        "RMS",
        "Root mean square of the activations: entropy falls when it grows, whatever the pattern.",
        _ACTIVATIONS,
        logarithmic=True,
        averaged="squares",
    ),
    Statistic(
        "channel_mean_share",
        "Channel means",
        "channel means",
        "Share of the activations' variance that lies between the means of the channels: 1 where "
        "all positions of all probes have the same RFAV.",
        _ACTIVATIONS,
        unit="share of variance",
        range=(0, 1),
    ),
    Statistic(
        "dead_fraction",
        "Dead channels",
        "dead",
        "Share of the channels that the next ReLU sets to zero at every position of every probe.",
        _ACTIVATIONS,
        unit="share of channels",
        range=(0, 1),
        healthy="low",
    ),
    Statistic(
        "zero_fraction",
        "Zeros after the ReLU",
        "zeros",
        "Share of the activations that the next ReLU sets to zero.",
        _ACTIVATIONS,
        unit="share of activations",
        range=(0, 1),
        healthy="low",
    ),
    Statistic(
        "nan_share",
        "NaN or infinity",
        "NaN",
        "Share of the positions whose RFAV holds a NaN or an infinity; they are left out of every "
        "mean.",
        _ACTIVATIONS,
        unit="share of positions",
        range=(0, 1),
        healthy="low",
        measured="entropy",
    ),
    Statistic(
        "correlation_mean_absolute",
        "Filter correlation, mean absolute",
        "mean |c|",
        "Mean absolute correlation coefficient of all pairs of filters.",
        _FILTERS,
        range=(0, 1),
        healthy="low",
        measured="correlation",
    ),
    Statistic(
        "correlation_mean",
        "Filter correlation, mean",
        "mean c",
        "Mean correlation coefficient of all pairs of filters; opposite pairs cancel alike ones.",
        _FILTERS,
        range=(-1, 1),
        measured="correlation",
    ),
    Statistic(
        "correlation_largest",
        "Filter correlation, largest",
        "largest c",
        "Correlation coefficient of the two filters that are most alike.",
        _FILTERS,
        range=(-1, 1),
        healthy="low",
        measured="correlation",
    ),
    Statistic(
        "constant_filters",
        "Filters without variance",
        "constant",
        "Number of filters whose weights are all the same, which have no correlation.",
        _FILTERS,
        unit="filters",
        range=(0, "D"),
        healthy="low",
        measured="correlation",
    ),
    Statistic(
        "entropy_std",
        "RFAV entropy, standard deviation",
        "std H",
        "Standard deviation of the RFAV entropy.",
        _POSITIONS,
        unit="nats",
        range=(0, "ln D"),
        measured="entropy",
    ),
    *(
        Statistic(
            f"entropy_p{percent}",
            f"RFAV entropy, {words}",
            symbol,
            f"RFAV entropy, {words}.",
            _POSITIONS,
            unit="nats",
            range=(0, "ln D"),
            healthy="high",
            measured="entropy",
        )
        for percent, words, symbol in (
            (5, "5th percentile", "H 5%"),
            (50, "median", "H 50%"),
            (95, "95th percentile", "H 95%"),
        )
    ),
)

STATISTICS: Mapping[str, Statistic] = {statistic.name: statistic for statistic in _TABLE}
"""By name, in the order in which they are listed everywhere."""


def recorded() -> tuple[Statistic, ...]:
    """Those that are columns of event files and tables; the others follow from these."""
    return tuple(s for s in STATISTICS.values() if s.column == s.name)
