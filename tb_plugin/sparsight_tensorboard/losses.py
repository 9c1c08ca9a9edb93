"""The user's own loss curves, and at which epochs their points lie.

Which of them is the validation loss, `sparsight.onset` guesses, for core's figures as well.

Pure functions; nothing here reads a log directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsight.onset import (
    SIGMA,
    Names,
    Onset,
    curve_names,
    epochs_at,
    find_onset,
    find_validation_loss,
    smooth,
)

from .records import Record, survivors
from .tables import Tables

__all__ = ["Curve", "Names", "aligned", "curve_names", "find_validation_loss"]


@dataclass(frozen=True)
class Curve:
    """A curve of the user's, lined up with our epochs."""

    aligned_by: Literal["step", "global_step", "wall_time"] | None
    """None where it cannot be lined up; the epochs are NaN then."""
    steps: tuple[int, ...]
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    onset: Onset | None


def aligned(points: Sequence[Record], tables: Tables, sigma: float = SIGMA) -> Curve:
    """The points of a curve (`content` is the value) at our epochs, smoothed, and its onset."""
    alive = survivors(points)
    aligned_by, epochs = _epochs(alive, tables)
    values = np.array([point.content for point in alive], np.float64)
    return Curve(
        aligned_by=aligned_by,
        steps=tuple(point.step for point in alive),
        epochs=epochs,
        values=values,
        smoothed=smooth(epochs, values, sigma) if aligned_by else values,
        onset=find_onset(epochs, values, sigma) if aligned_by else None,
    )


def _epochs(
    points: Sequence[Record], tables: Tables
) -> tuple[Literal["step", "global_step", "wall_time"] | None, NDArray[np.float64]]:
    steps = np.array([point.step for point in points], np.float64)
    if not points or not tables.steps:
        return None, np.full(len(points), np.nan)
    if _steps_are_epochs(points, tables):
        return "step", steps
    epochs = np.array(tables.steps, np.float64)
    known = np.isfinite(tables.global_steps)
    counts = np.array(tables.global_steps)[known]
    if len(counts) > 1 and (np.diff(counts) > 0).all():
        return "global_step", epochs_at(steps, counts, epochs[known])
    ours = np.array(tables.wall_times)
    theirs = np.array([point.wall_time for point in points])
    if len(ours) > 1 and (np.diff(ours) > 0).all():
        pause = float(np.median(np.diff(ours)))
        if theirs[-1] >= ours[0] - pause and theirs[0] <= ours[-1] + pause:
            return "wall_time", epochs_at(theirs, ours, epochs)
    return None, np.full(len(points), np.nan)


def _steps_are_epochs(points: Sequence[Record], tables: Tables) -> bool:
    """Written in our own events, or at no step beyond our epochs (and the one under way)."""
    ours = set(tables.events)
    if any((point.step, point.wall_time) in ours for point in points):
        return True
    return points[-1].step <= tables.steps[-1] + 1
