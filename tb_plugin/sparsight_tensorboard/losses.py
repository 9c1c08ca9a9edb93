"""The user's own loss curves, and at which epochs their points lie.

Which of them is the validation loss, `sparsight.onset` guesses, for core's figures as well.

Pure functions; nothing here reads a log directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.maths.onset import (
    SIGMA,
    AlignedBy,
    Clock,
    Names,
    curve_names,
    find_onset,
    find_validation_loss,
    is_score,
    line_up,
    onset_interval,
    smooth,
)

from .records import Record, survivors
from .tables import Tables

__all__ = [
    "Choice",
    "Curve",
    "Names",
    "Turn",
    "aligned",
    "curve_names",
    "find_validation_loss",
    "turn_of",
]


@dataclass(frozen=True)
class Choice:
    """Which curve stands for a run's validation loss, and how it is smoothed."""

    tag: str | None = None
    """Its name; the one that is guessed where this is None or the run has no such curve."""
    sigma: float = SIGMA
    lender: str | None = None
    """The run whose curve is borrowed by runs that have none of their own."""


@dataclass(frozen=True)
class Turn:
    """Where a validation loss turned."""

    epoch: int
    loss: float
    """Smoothed, at that epoch."""
    first: float
    last: float
    """The interval: the epochs around it whose smoothed loss lies within 2% of the lowest."""


@dataclass(frozen=True)
class Curve:
    """A curve of the user's, lined up with our epochs."""

    aligned_by: AlignedBy | None
    """None where it cannot be lined up; the epochs are NaN then."""
    steps: tuple[int, ...]
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    onset: Turn | None
    """None where it did not turn, or is no loss."""


def aligned(
    points: Sequence[Record], tables: Tables, sigma: float = SIGMA, name: str = "loss"
) -> Curve:
    """The points of a curve (`content` is the value) at our epochs, smoothed, and its onset.

    A curve whose `name` is that of a score, such as accuracy, has no onset.
    """
    alive = survivors(points)
    clock = Clock(*map(_numbers, (tables.steps, tables.global_steps, tables.wall_times)))
    steps, times = (p.step for p in alive), (p.wall_time for p in alive)
    aligned_by, epochs = line_up(_numbers(steps), _numbers(times), clock)
    values = _numbers(point.content for point in alive)
    return Curve(
        aligned_by=aligned_by,
        steps=tuple(point.step for point in alive),
        epochs=epochs,
        values=values,
        smoothed=smooth(epochs, values, sigma) if aligned_by else values,
        onset=turn_of(epochs, values, sigma) if aligned_by and not is_score(name) else None,
    )


def turn_of(
    epochs: NDArray[np.float64], losses: NDArray[np.float64], sigma: float = SIGMA
) -> Turn | None:
    """The onset of overfitting with its interval, given the losses, [E], at ascending epochs, [E].

    The interval holds the epochs without a gap around the onset whose smoothed loss is at most 2%
    above the lowest. None where the loss did not turn.
    """
    onset, interval = find_onset(epochs, losses, sigma), onset_interval(epochs, losses, sigma)
    if onset is None or interval is None:
        return None
    return Turn(onset.epoch, onset.loss, *interval)


def _numbers(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array([*values], np.float64)
