"""What a run leaves epoch by epoch, kept in its checkpoint: curves, seconds, and where it ran.

Plain containers of numbers and text, so that a checkpoint can be read without executing anything.
What a checkpoint of older code lacks is filled in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsight.maths.onset import Onset, find_onset
from sparsight.measure.measurement import LayerMeasurement

__all__ = [
    "changed",
    "epochs_in",
    "fresh_history",
    "note_epoch",
    "note_layers",
    "note_place",
    "note_start",
    "onset_of",
]

_STATISTICS = (
    "entropy",
    "scale_free_entropy",
    "rms",
    "dead_fraction",
    "correlation_mean",
    "correlation_mean_absolute",  # in the signed mean, opposite pairs cancel alike ones
)
_LOSS = "loss/validation"
_HARMLESS = ("device", "cpus", "system", "python")  # the arithmetic does not depend on them


def fresh_history() -> dict[str, Any]:
    """At the start, per epoch, and per layer before training and after each epoch."""
    return {"start": {}, "epochs": {}, "layers": {}, "seconds": [], "ran_on": []}


def epochs_in(history: Mapping[str, Any]) -> int:
    """How many epochs were trained."""
    return len(history["seconds"])


def note_start(history: dict[str, Any], scalars: Mapping[str, float]) -> None:
    """Add the scalars of before training."""
    history["start"] = {name: _number(value) for name, value in scalars.items()}


def note_epoch(history: dict[str, Any], scalars: Mapping[str, float], seconds: float) -> None:
    """Add an epoch's scalars, and how long it took."""
    for name, value in scalars.items():
        history["epochs"].setdefault(name, []).append(_number(value))
    history["seconds"].append(round(seconds, 3))


def note_layers(history: dict[str, Any], measured: Sequence[LayerMeasurement]) -> None:
    """Add a record of each layer; a statistic that earlier records lack is None in them."""
    for measurement in measured:
        curves = history["layers"].setdefault(measurement.layer.name, {})
        values = {"relative_entropy": measurement.relative_entropy}
        values |= {name: measurement.statistics[name] for name in _STATISTICS}
        earlier = len(curves.get("relative_entropy", ()))
        for name, value in values.items():
            curves.setdefault(name, [None] * earlier).append(_number(value))


def note_place(history: dict[str, Any], described: dict[str, Any]) -> None:
    """Add the hardware and versions that the next epochs run with: the last of `ran_on`."""
    others = [place for place in history.get("ran_on", []) if place != described]
    history["ran_on"] = [*others, described]


def changed(history: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    """What of the arithmetic is another than in the last epoch, in words; empty if nothing is."""
    before = next(reversed(history.get("ran_on", [])), described)
    parts = []
    for kind in ("hardware", "versions"):
        for name in {**before[kind], **described[kind]}:
            then, now = before[kind].get(name), described[kind].get(name)
            if then != now and name not in _HARMLESS:
                parts.append(f"{name}: {then}, now {now}")
    return "; ".join(parts)


def onset_of(history: Mapping[str, Any]) -> Onset | None:
    """Of the validation loss from before training on, as the tab and the figures have it."""
    losses = [history.get("start", {}).get(_LOSS), *history["epochs"][_LOSS]]
    values = [math.nan if loss is None else loss for loss in losses]
    return find_onset(range(-1, len(values) - 1), values)


def _number(value: float) -> float | None:
    """Five digits, or nothing for what is no number: JSON knows no NaN."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
