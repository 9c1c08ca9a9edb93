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
    Onset,
    curve_names,
    find_onset,
    find_validation_loss,
    line_up,
    smooth,
)

from .records import Record, survivors
from .tables import Tables

__all__ = ["Curve", "Names", "aligned", "curve_names", "find_validation_loss"]


@dataclass(frozen=True)
class Curve:
    """A curve of the user's, lined up with our epochs."""

    aligned_by: AlignedBy | None
    """None where it cannot be lined up; the epochs are NaN then."""
    steps: tuple[int, ...]
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    onset: Onset | None


def aligned(points: Sequence[Record], tables: Tables, sigma: float = SIGMA) -> Curve:
    """The points of a curve (`content` is the value) at our epochs, smoothed, and its onset."""
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
        onset=find_onset(epochs, values, sigma) if aligned_by else None,
    )


def _numbers(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array([*values], np.float64)
