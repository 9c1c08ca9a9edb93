"""What is added up of a layer, batch by batch.

A state is declared: what a batch adds to it, and how two of its values merge. A value is a number,
a vector or a mapping. What the table of the schema averages over RFAVs needs no line here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import STATISTICS, Statistic
from .batch import Counted

__all__ = ["LEVELS", "STATES", "State", "Values", "added", "averages", "merged"]

LEVELS = 4096
"""Bins of H / ln D: a percentile is exact to 1 / 4096 of ln D."""

Values = Mapping[str, Any]
"""Of states, by name; one is absent where no backend told anything of it."""


@dataclass(frozen=True)
class State:
    """Something that is added up over batches and ranks, in any order."""

    name: str
    of: Callable[[Counted], Any]
    """What a batch adds; None where the backend told nothing of it. What a backend may use again is
    copied."""
    merge: Callable[[Any, Any], Any] = operator.add
    """Two of its values as one. It changes neither, and is associative and commutative."""


def merged(states: Iterable[State], one: Values, other: Values) -> dict[str, Any]:
    """The values of two batches, ranks or sums of such as one."""
    result = dict(one)
    for state in states:
        if state.name in other:
            value = other[state.name]
            known = state.name in one
            result[state.name] = state.merge(one[state.name], value) if known else value
    return result


def added(states: Iterable[State], batch: Counted) -> dict[str, Any]:
    """What a batch adds to each state that its backend told something of."""
    found = {state.name: state.of(batch) for state in states}
    return {name: value for name, value in found.items() if value is not None}


def averages(table: Iterable[Statistic]) -> tuple[State, ...]:
    """The states of what the table averages over RFAVs, named after what is measured."""
    squared = {s.measured: s.averaged == "squares" for s in table if s.averaged is not None}
    return tuple(
        State(name, operator.methodcaller("companion", name, square))
        for name, square in squared.items()
    )


def _levels(entropies: NDArray[np.float64], highest: float) -> NDArray[np.int64]:
    if highest == 0:  # D = 1: every H is 0
        levels = np.zeros(entropies.size, np.intp)
    else:
        levels = np.clip(entropies * (LEVELS / highest), 0, LEVELS - 1).astype(np.intp)
    return np.bincount(levels, minlength=LEVELS).astype(np.int64)


STATES: tuple[State, ...] = (
    State("finite", lambda batch: batch.entropies.size),
    State("nan", lambda batch: batch.positions - batch.entropies.size),
    State("deficit", lambda batch: float(batch.deficit.sum())),
    State("deficit_squares", lambda batch: float(np.square(batch.deficit).sum())),
    State("levels", lambda batch: _levels(batch.entropies, batch.highest)),
    *averages(STATISTICS.values()),
    State("channel_sums", lambda batch: batch.channel_sums),
    # of a number and a NaN fmax takes the number
    State("relu_maximum", lambda batch: batch.relu[0], np.fmax),
    State("relu_zeros", lambda batch: batch.relu[1]),
    State("relu_numbers", lambda batch: batch.relu[2]),
    State("map_sum", lambda b: np.where(b.finite, b.entropy, 0).sum(axis=0, dtype=np.float64)),
    State("map_count", lambda batch: batch.finite.sum(axis=0, dtype=np.int64)),
    State("maps", lambda batch: batch.maps, operator.or_),
)
