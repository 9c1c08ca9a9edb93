"""When a run began to overfit, and by which of its loss curves. numpy only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SIGMA",
    "AlignedBy",
    "Clock",
    "Names",
    "Onset",
    "Turn",
    "curve_names",
    "epochs_at",
    "find_accuracy",
    "find_onset",
    "find_training_loss",
    "find_turn",
    "find_validation_loss",
    "is_score",
    "line_up",
    "onset_interval",
    "related",
    "smooth",
]

SIGMA = 2.0
"""Width of the Gaussian that smooths the validation loss, in epochs."""

Numbers = Sequence[float] | NDArray[Any]

_EPOCHS_AFTER = 3
_RISE = 0.02
_SETTLED = 5  # epochs
_ROWS = 1024  # of the matrix of weights: one of 8 MB for a curve of 1,000 points

_HELD_OUT = (
    {"val", "valid", "validation", "valloss"},
    {"eval", "evaluation", "dev", "holdout"},
    {"test", "testing", "testloss"},
)
_LOSS = {"loss", "losses", "nll", "xent", "crossentropy", "valloss", "testloss"}
_TRAINING = ({"train", "training", "trainloss"},)
_ACCURACY = {"accuracy", "acc", "valacc", "testacc"}
_OTHER = {"penalty", "penalties", "regularization", "regularisation", "sparsity", "decorr", "total"}
_SCORE = {
    *(
        "acc",
        "accuracy",
        "auc",
        "auroc",
        "bleu",
        "dice",
        "f",
        "iou",
        "lr",
        "map",
        "miou",
        "precision",
    ),
    *("psnr", "rate", "recall", "reward", "rouge", "score", "ssim", "top"),
}

Names = Mapping[str, tuple[str, str]]
"""What a curve is called, and the run and tag that it is."""


@dataclass(frozen=True)
class Onset:
    """The epoch after which validation loss only got worse."""

    epoch: int
    loss: float
    """Smoothed validation loss at that epoch."""


def smooth(epochs: Numbers, values: Numbers, sigma: float = SIGMA) -> NDArray[np.float64]:
    """`values` under a Gaussian of `sigma` epochs, [E]; for view and onset only.

    At the ends the kernel is cut off and normalised; values that are not finite weigh nothing, and
    the result is NaN at their own epochs.
    """
    at, raw = np.asarray(epochs, np.float64), np.asarray(values, np.float64)
    finite = np.isfinite(raw)
    result = np.where(finite, raw, np.nan)
    if sigma <= 0:
        return result
    at, raw, smoothed = at[finite], raw[finite], result[finite]
    for start in range(0, len(at), _ROWS):
        rows = slice(start, start + _ROWS)
        weights = np.exp(-0.5 * np.square((at[rows, None] - at) / sigma))
        smoothed[rows] = weights @ raw / weights.sum(axis=1)
    result[finite] = smoothed
    return result


def find_onset(epochs: Numbers, losses: Numbers, sigma: float = SIGMA) -> Onset | None:
    """Onset of overfitting: argmin of the smoothed validation loss over the epochs, ascending.

    None unless at least 3 epochs follow it and the last smoothed value exceeds the minimum by 2%.
    Epochs may be fractions, where losses are logged by batch.
    """
    at = np.asarray(epochs, np.float64)
    smoothed = smooth(epochs, losses, sigma)
    known = np.flatnonzero(np.isfinite(smoothed))
    if not known.size:
        return None
    best = known[np.argmin(smoothed[known])]
    lowest, last = smoothed[best], smoothed[known[-1]]
    if at[known[-1]] - at[best] < _EPOCHS_AFTER or last - lowest <= _RISE * abs(lowest):
        return None
    return Onset(round(at[best]), float(lowest))


def onset_interval(
    epochs: Numbers, losses: Numbers, sigma: float = SIGMA
) -> tuple[float, float] | None:
    """First and last epoch around the onset whose smoothed loss lies within 2% of the minimum.

    The epochs are contiguous, and the onset is one of them; None where `find_onset` finds none.
    Onsets of two seeds differ by about as much, so that no epoch in it is better than another.
    """
    if find_onset(epochs, losses, sigma) is None:
        return None
    smoothed = smooth(epochs, losses, sigma)
    known = np.isfinite(smoothed)
    at, values = np.asarray(epochs, np.float64)[known], smoothed[known]
    best = int(values.argmin())
    beyond = np.flatnonzero(values - values[best] > _RISE * abs(values[best]))
    first = int(beyond[beyond < best].max(initial=-1)) + 1
    last = int(beyond[beyond > best].min(initial=len(at))) - 1
    return float(at[first]), float(at[last])


@dataclass(frozen=True)
class Turn:
    """Where a curve was best, and how much worse it has become since, for good."""

    epoch: int
    best: float
    """Smoothed value at that epoch."""
    settled: float
    """Median of the last values."""


def find_turn(
    epochs: Numbers, values: Numbers, margin: float, *, higher_is_better: bool = False
) -> Turn | None:
    """The epoch at which a smoothed curve was best, if it became worse by more than `margin`.

    `margin` is in the curve's unit. Worse is the median of the last 5 epochs (of those after the
    best one, where these are fewer), so that one epoch that goes astray is no turn. At least 3
    epochs must follow the best one; else None.
    """
    smoothed = smooth(epochs, values)
    known = np.isfinite(smoothed)
    at, curve = np.asarray(epochs, np.float64)[known], smoothed[known]
    if not curve.size:
        return None
    losses = -curve if higher_is_better else curve
    best = int(losses.argmin())
    if at[-1] - at[best] < _EPOCHS_AFTER:
        return None
    late = (at > at[-1] - _SETTLED) & (at > at[best])
    raw = np.asarray(values, np.float64)[known]
    settled = float(np.median(-raw[late] if higher_is_better else raw[late]))
    if not settled - losses[best] > margin:
        return None
    return Turn(round(at[best]), float(curve[best]), -settled if higher_is_better else settled)


def curve_names(run: str, scalars: Mapping[str, Collection[str]]) -> Names:
    """The scalars of a run and of the runs that share its directory, own ones first.

    A curve of another run is called "tag (run)".
    """
    names = {tag: (run, tag) for tag in sorted(scalars.get(run, ()))}
    for other in sorted(scalars):
        if other != run and related(run, other):
            for tag in sorted(scalars[other]):
                names.setdefault(f"{tag} ({other})", (other, tag))
    return names


def related(run: str, other: str) -> bool:
    """Whether two runs share a directory below the log directory, or one lies in the other's."""
    parent = run.rpartition("/")[0]
    shared = bool(parent) and other.rpartition("/")[0] == parent
    return shared or other == parent or other.startswith(f"{run}/")


def find_validation_loss(run: str, names: Names, measured: Collection[str]) -> str | None:
    """The curve that is most likely the validation loss, by its name; None where none looks so.

    Other runs that hold Sparsight data (`measured`) are other experiments: theirs is never taken.
    """
    return _named(run, names, measured, _HELD_OUT, _LOSS)


def find_training_loss(run: str, names: Names, measured: Collection[str]) -> str | None:
    """The curve that is most likely the training loss, as `find_validation_loss` finds its own."""
    return _named(run, names, measured, _TRAINING, _LOSS)


def find_accuracy(run: str, names: Names, measured: Collection[str]) -> str | None:
    """The curve that is most likely the accuracy on held-out samples."""
    return _named(run, names, measured, _HELD_OUT, _ACCURACY)


def _named(
    run: str,
    names: Names,
    measured: Collection[str],
    splits: Sequence[Collection[str]],
    quantity: Collection[str],
) -> str | None:
    ranked = []
    for name, (owner, tag) in names.items():
        if owner == run or owner not in measured:
            words = _words(tag if owner == run else f"{owner.rpartition('/')[2]}/{tag}")
            rank = next((i for i, known in enumerate(splits) if words & {*known}), None)
            if rank is not None and words & {*quantity}:
                ranked.append((bool(words & _OTHER), owner != run, rank, len(name), name))
    return min(ranked)[-1] if ranked else None


def is_score(name: str) -> bool:
    """Whether a curve, by its name, is no loss but a score such as accuracy, or a learning rate.

    Neither has an onset: that its lowest value comes early is no overfitting.
    """
    words = _words(name)
    return bool(words & _SCORE) and not words & _LOSS


def _words(text: str) -> set[str]:
    """Words of a name in any of the usual spellings: val_loss, valLoss, VAL/LOSS."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)}


def epochs_at(
    at: NDArray[np.float64], known: NDArray[np.float64], epochs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Epochs at the points `at` of a clock that stood at `known`, ascending, at `epochs`.

    All are [E], `at` of any length; at least two are known. After the last one it goes on at the
    pace of the last interval.
    """
    result = np.interp(at, known, epochs)
    pace = (epochs[-1] - epochs[-2]) / (known[-1] - known[-2])
    return np.where(at > known[-1], epochs[-1] + (at - known[-1]) * pace, result).round(4)


AlignedBy = Literal["step", "global_step", "wall_time"]
"""What tells at which epochs the points of a curve lie: its steps are epochs, the trainer's own
step count was recorded at each epoch, or points and epochs were written at the same times."""


@dataclass(frozen=True)
class Clock:
    """What each clock stood at when a run's epochs were recorded; all [epochs]."""

    epochs: NDArray[np.float64]
    """Ascending."""
    global_steps: NDArray[np.float64]
    """NaN where none was recorded."""
    wall_times: NDArray[np.float64]
    """Seconds since 1970."""


def line_up(
    steps: NDArray[np.float64], wall_times: NDArray[np.float64], clock: Clock
) -> tuple[AlignedBy | None, NDArray[np.float64]]:
    """The epochs at which the points of a curve lie, [points], and what tells it.

    None, and NaN, where nothing does.
    """
    nowhere = np.full(len(steps), np.nan)
    if not len(steps) or not len(clock.epochs):
        return None, nowhere
    if _steps_are_epochs(steps, wall_times, clock):
        return "step", steps
    known = np.isfinite(clock.global_steps)
    counts = clock.global_steps[known]
    if len(counts) > 1 and (np.diff(counts) > 0).all():
        return "global_step", epochs_at(steps, counts, clock.epochs[known])
    if _at_the_same_time(wall_times, clock.wall_times):
        return "wall_time", epochs_at(wall_times, clock.wall_times, clock.epochs)
    return None, nowhere


def _steps_are_epochs(
    steps: NDArray[np.float64], wall_times: NDArray[np.float64], clock: Clock
) -> bool:
    """Written in our own events, or at no step beyond our epochs (and the one under way)."""
    ours = {*zip(clock.epochs.tolist(), clock.wall_times.tolist(), strict=True)}
    if ours & {*zip(steps.tolist(), wall_times.tolist(), strict=True)}:
        return True
    return bool(steps[-1] <= clock.epochs[-1] + 1)


def _at_the_same_time(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> bool:
    """Whether points were written while the epochs were, give or take one epoch."""
    pauses = np.diff(ours)
    if not len(pauses) or not (pauses > 0).all():
        return False
    pause = float(np.median(pauses))
    return bool(theirs[-1] >= ours[0] - pause and theirs[0] <= ours[-1] + pause)
