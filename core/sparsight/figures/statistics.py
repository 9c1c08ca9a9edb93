"""Statistics of layers over the epochs of a run, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, nearest
from ..runs.reader import Run, Table
from ..schema import STATISTICS, Statistic

__all__ = ["change", "difference", "grid", "label_of", "spread", "statistic_of"]

Numbers = NDArray[np.float64]


def statistic_of(name: str) -> Statistic:
    """The statistic of this name. Raises UsageError, with the nearest matches, for any other."""
    if name not in STATISTICS:
        raise UsageError(f"no statistic is called {name!r}: {nearest(name, STATISTICS, 20)}")
    return STATISTICS[name]


def label_of(statistic: Statistic, compared: bool = False) -> str:
    """What stands at an axis or a colour bar; `compared` for changes and differences."""
    return "doublings" if compared and statistic.logarithmic else statistic.label


def grid(run: Run, layers: Sequence[str], statistic: Statistic) -> Numbers:
    """The statistic of these layers at each of the run's steps, [layers, steps]; NaN where it was
    not recorded or is not finite."""
    return _grid(run, layers, statistic, statistic.column)


def spread(run: Run, layers: Sequence[str], statistic: Statistic) -> tuple[Numbers, Numbers] | None:
    """Its 5th and 95th percentile, each [layers, steps]; None where none are recorded."""
    if statistic.spread is None:
        return None
    low, high = (_grid(run, layers, statistic, column) for column in statistic.spread)
    return low, high


def difference(run: Run, other: Run, layers: Sequence[str], statistic: Statistic) -> Numbers:
    """The statistic less that of another run at the same epochs, [layers, steps]; doublings where
    it is logarithmic, NaN where one of the two was not recorded."""
    ours, theirs = grid(run, layers, statistic), grid(other, layers, statistic)
    matched = np.full_like(ours, np.nan)
    position = {step: at for at, step in enumerate(other.steps)}
    for at, step in enumerate(run.steps):
        if step in position:
            matched[:, at] = theirs[:, position[step]]
    return _less(ours, matched, statistic)


def change(run: Run, layers: Sequence[str], statistic: Statistic) -> Numbers:
    """The statistic less that of the layer's own first record, [layers, steps]; doublings where
    it is logarithmic."""
    values = grid(run, layers, statistic)
    if not values.size:
        return values
    first = np.isfinite(values).argmax(axis=1)[:, None]
    return _less(values, np.take_along_axis(values, first, axis=1), statistic)


def _less(values: Numbers, base: Numbers, statistic: Statistic) -> Numbers:
    if not statistic.logarithmic:
        return values - base
    with np.errstate(divide="ignore", invalid="ignore"):
        return _finite(np.log2(values / base))


def _grid(run: Run, layers: Sequence[str], statistic: Statistic, column: str) -> Numbers:
    result = np.full((len(layers), len(run.steps)), np.nan)
    for at, table in enumerate(run.tables.values()):
        rows = {layer.name: row for row, layer in reversed([*enumerate(table.layers)])}
        values = _column(table, column)
        for row, name in enumerate(layers):
            if name in rows:
                source = rows[name]
                channels = table.layers[source].channels
                result[row, at] = statistic.of(values[source : source + 1], channels)[0]
    return _finite(result)


def _column(table: Table, name: str) -> Numbers:
    names = [column.name for column in table.columns]
    if name not in names:
        return np.full(len(table.layers), np.nan)
    return table.values[:, names.index(name)].astype(np.float64)


def _finite(values: NDArray[Any]) -> Numbers:
    return np.where(np.isfinite(values), values, np.nan)
