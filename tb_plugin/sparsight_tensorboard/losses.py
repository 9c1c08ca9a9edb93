"""The user's own loss curves: which one is the validation loss, and at which epochs its points lie.

Pure functions; nothing here reads a log directory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsight.onset import SIGMA, Onset, find_onset, smooth

from .records import Record, survivors
from .tables import Tables

__all__ = ["Curve", "aligned", "curve_names", "find_validation_loss"]

_HELD_OUT = (
    {"val", "valid", "validation", "valloss"},
    {"eval", "evaluation", "dev", "holdout"},
    {"test", "testing", "testloss"},
)
_LOSS = {"loss", "losses", "nll", "xent", "crossentropy", "valloss", "testloss"}
_OTHER = {"penalty", "penalties", "regularization", "regularisation", "sparsity", "decorr", "total"}

Names = Mapping[str, tuple[str, str]]
"""What a curve is called, and the run and tag that it is."""


def curve_names(run: str, scalars: Mapping[str, Collection[str]]) -> Names:
    """The scalars of a run and of the runs that share its directory, own ones first.

    A curve of another run is called "tag (run)".
    """
    names = {tag: (run, tag) for tag in sorted(scalars.get(run, ()))}
    for other in sorted(scalars):
        if other != run and _related(run, other):
            for tag in sorted(scalars[other]):
                names.setdefault(f"{tag} ({other})", (other, tag))
    return names


def _related(run: str, other: str) -> bool:
    """Whether two runs share a directory below the log directory, or one lies in the other's."""
    parent = run.rpartition("/")[0]
    shared = bool(parent) and other.rpartition("/")[0] == parent
    return shared or other == parent or other.startswith(f"{run}/")


def find_validation_loss(run: str, names: Names, measured: Collection[str]) -> str | None:
    """The curve that is most likely the validation loss, by its name; None where none looks so.

    Other runs that hold Sparsight data (`measured`) are other experiments: theirs is never taken.
    """
    ranked = []
    for name, (owner, tag) in names.items():
        if owner == run or owner not in measured:
            words = _words(tag if owner == run else f"{owner.rpartition('/')[2]}/{tag}")
            rank = next((i for i, known in enumerate(_HELD_OUT) if known & words), None)
            if rank is not None and words & _LOSS:
                ranked.append((bool(words & _OTHER), owner != run, rank, len(name), name))
    return min(ranked)[-1] if ranked else None


def _words(text: str) -> set[str]:
    """Words of a name in any of the usual spellings: val_loss, valLoss, VAL/LOSS."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)}


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
        return "global_step", _interpolated(steps, counts, epochs[known])
    ours = np.array(tables.wall_times)
    theirs = np.array([point.wall_time for point in points])
    if len(ours) > 1 and (np.diff(ours) > 0).all():
        pause = float(np.median(np.diff(ours)))
        if theirs[-1] >= ours[0] - pause and theirs[0] <= ours[-1] + pause:
            return "wall_time", _interpolated(theirs, ours, epochs)
    return None, np.full(len(points), np.nan)


def _steps_are_epochs(points: Sequence[Record], tables: Tables) -> bool:
    """Written in our own events, or at no step beyond our epochs (and the one under way)."""
    ours = set(tables.events)
    if any((point.step, point.wall_time) in ours for point in points):
        return True
    return points[-1].step <= tables.steps[-1] + 1


def _interpolated(
    at: NDArray[np.float64], known: NDArray[np.float64], epochs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Epochs at the points `at`; after the last record at the pace of the last interval."""
    result = np.interp(at, known, epochs)
    pace = (epochs[-1] - epochs[-2]) / (known[-1] - known[-2])
    return np.where(at > known[-1], epochs[-1] + (at - known[-1]) * pace, result).round(4)
