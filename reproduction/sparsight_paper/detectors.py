"""Detectors of overfitting on the history of a run, and what their alarms are worth.

A detector looks at no epoch beyond the one it speaks of. Rules: reproduction/evidence_rules.md,
"Detector study"; thresholds: thresholds.toml beside this file.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparsight.maths.onset import find_onset, smooth

__all__ = [
    "DETECTORS",
    "Detector",
    "Event",
    "History",
    "Outcome",
    "alarm_of",
    "epochs_since_best",
    "event_of",
    "exponential_mean",
    "histories",
    "outcome_of",
    "rules",
]

Curve = NDArray[np.float64]
Outcome = Literal["hit", "early", "late", "missed", "false alarm", "quiet"]
"""Of a run with an onset the first four, of one without the last two."""


@dataclass(frozen=True)
class History:
    """What a detector may see of a run, from epoch 0 on: curves [E], NaN where unknown."""

    name: str
    group: str
    """What is left out together when thresholds are chosen: a data set, or a network."""
    cluster: str
    """Runs that differ in the seed only share it; intervals draw clusters."""
    training_loss: Curve
    validation_loss: Curve
    start_loss: float
    """Validation loss before training; NaN where it was not recorded."""
    calibrated_loss: Curve | None = None
    layers: Mapping[str, Mapping[str, Curve]] | None = None
    """By layer and statistic, [E + 1]: the first record is of before training."""


@dataclass(frozen=True)
class Event:
    """An onset: the minimum of the smoothed loss, and the epochs that it cannot be told from."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True)
class Detector:
    """A number an epoch, and the direction in which it crosses its threshold."""

    title: str
    signal: Callable[[History], Curve | None]
    """[E]; None where the history lacks what it is computed from."""
    rises: bool = True


@cache
def rules() -> Mapping[str, Mapping[str, Any]]:
    """thresholds.toml."""
    text = files(__package__).joinpath("thresholds.toml").read_text("utf-8")
    return tomllib.loads(text)


def event_of(
    history: History, loss: Literal["validation", "calibrated"] = "validation"
) -> Event | None:
    """The onset of a loss curve and its interval; None without an onset, or without the curve.

    The interval: the run of epochs around the minimum whose smoothed loss is within 2% of it.
    """
    curve = history.validation_loss if loss == "validation" else history.calibrated_loss
    if curve is None:
        return None
    start = history.start_loss if loss == "validation" else math.nan
    losses = np.concatenate([[start], curve])
    epochs = np.arange(-1, len(curve))
    onset = find_onset(epochs, losses)
    if onset is None:
        return None
    smoothed = smooth(epochs, losses)
    near = smoothed <= onset.loss + rules()["event"]["interval"] * abs(onset.loss)
    first = last = int(np.flatnonzero(epochs == onset.epoch)[0])
    while first > 0 and near[first - 1]:
        first -= 1
    while last + 1 < len(near) and near[last + 1]:
        last += 1
    return Event(onset.epoch, int(epochs[first]), int(epochs[last]))


def alarm_of(detector: str, history: History, threshold: float) -> int | None:
    """The epoch at which a detector speaks first; None: never.

    From epoch 3 on, and once the threshold was crossed in 2 epochs in a row.
    """
    signal = DETECTORS[detector].signal(history)
    if signal is None:
        return None
    crossed = signal >= threshold if DETECTORS[detector].rises else signal <= threshold
    rule = rules()["alarm"]
    needed = 1 if detector in _COUNTERS else rule["records"]
    in_a_row = 0
    for epoch, is_crossed in enumerate(crossed):
        in_a_row = in_a_row + 1 if is_crossed else 0
        if in_a_row >= needed and epoch >= rule["first"]:
            return epoch
    return None


def outcome_of(alarm: int | None, event: Event | None) -> Outcome:
    """What an alarm was worth: a hit lies within 5 epochs of the onset's interval."""
    if event is None:
        return "quiet" if alarm is None else "false alarm"
    if alarm is None:
        return "missed"
    tolerance = rules()["event"]["tolerance"]
    if alarm < event.first - tolerance:
        return "early"
    return "late" if alarm > event.last + tolerance else "hit"


def exponential_mean(values: Curve) -> Curve:
    """Mean of all epochs so far, the newest of weight .4; NaN leaves it as it was."""
    share = rules()["alarm"]["smoothing"]
    found, mean = [], math.nan
    for value in values:
        if math.isfinite(value):
            mean = value if math.isnan(mean) else share * value + (1 - share) * mean
        found.append(mean)
    return np.array(found)


def _loss_ratio(history: History) -> Curve:
    return exponential_mean(history.validation_loss) / exponential_mean(history.training_loss)


def _training_loss(history: History) -> Curve:
    """Over that of the first epoch."""
    losses = exponential_mean(history.training_loss)
    share: Curve = losses / losses[0]
    return share


def _patience(history: History) -> Curve:
    return epochs_since_best(history.validation_loss)


def epochs_since_best(losses: Curve) -> Curve:
    """How many epochs ago the lowest loss so far was."""
    found, best, at = [], math.inf, 0
    for epoch, loss in enumerate(losses):
        if loss < best:
            best, at = loss, epoch
        found.append(epoch - at)
    return np.array(found, np.float64)


def _clock(history: History) -> Curve:
    return np.arange(len(history.validation_loss), dtype=np.float64)


def _over_layers(
    history: History, statistic: str, of: Callable[[Curve], Curve], least: bool
) -> Curve | None:
    """A number of each layer's curve, the least or the most over layers, [E]."""
    curves = [
        of(layer[statistic])[1:] for layer in (history.layers or {}).values() if statistic in layer
    ]
    known = [curve for curve in curves if np.isfinite(curve).any()]
    if not known:
        return None
    found: Curve = np.fmin.reduce(known) if least else np.fmax.reduce(known)
    return found


def _minimum_entropy(history: History) -> Curve | None:
    return _over_layers(history, "relative_entropy", lambda curve: curve, least=True)


def _rms(history: History) -> Curve | None:
    """Over that of before training."""
    return _over_layers(history, "rms", lambda curve: curve / curve[0], least=False)


def _pattern_part(history: History) -> Curve | None:
    """The fall of the scale-free entropy."""
    return _over_layers(history, "scale_free_entropy", lambda curve: curve[0] - curve, least=False)


def _scale_part(history: History) -> Curve | None:
    """The fall of the relative entropy beyond that of the scale-free entropy, in any layer."""
    layers = {
        name: {"scale": layer["relative_entropy"] - layer["scale_free_entropy"]}
        for name, layer in (history.layers or {}).items()
        if {"relative_entropy", "scale_free_entropy"} <= layer.keys()
    }
    split = dataclasses.replace(history, layers=layers)
    return _over_layers(split, "scale", lambda curve: curve[0] - curve, least=False)


def _overconfidence(history: History) -> Curve | None:
    if history.calibrated_loss is None:
        return None
    return exponential_mean(history.validation_loss) / exponential_mean(history.calibrated_loss)


def _calibrated_patience(history: History) -> Curve | None:
    return None if history.calibrated_loss is None else epochs_since_best(history.calibrated_loss)


DETECTORS = {
    "loss-ratio": Detector("validation over training loss", _loss_ratio),
    "training-loss": Detector("training loss over its first", _training_loss, rises=False),
    "patience": Detector("epochs since the best validation loss", _patience),
    "clock": Detector("a clock: the epoch", _clock),
    "minimum-entropy": Detector("lowest relative entropy", _minimum_entropy, rises=False),
    "rms": Detector("largest growth of a layer's RMS", _rms),
    "scale-part": Detector("largest fall of a layer by scale", _scale_part),
    "pattern-part": Detector("largest fall of a layer's scale-free entropy", _pattern_part),
    "overconfidence": Detector("validation loss over V_T", _overconfidence),
    "calibrated-patience": Detector("epochs since the best V_T", _calibrated_patience),
}
"""By the name of their table in thresholds.toml."""

_COUNTERS = ("patience", "clock", "calibrated-patience")  # they count epochs in a row by themselves


def histories(
    results: Sequence[Mapping[str, Any]], group: Callable[[Mapping[str, Any]], str]
) -> list[History]:
    """Histories from the contents of result files; `group` names what is left out together."""
    return [_history(result, group(result)) for result in results]


def _history(result: Mapping[str, Any], group: str) -> History:
    epochs = result["epochs"]
    calibrated = epochs.get("calibrated_loss/validation")
    start = result.get("start", {}).get("loss/validation")
    cell = {name: value for name, value in result["cell"].items() if name != "seed"}
    return History(
        name=f"{cell} seed {result['cell']['seed']}",
        group=group,
        cluster=str(cell),
        training_loss=_curve(epochs["loss/training"]),
        validation_loss=_curve(epochs["loss/validation"]),
        start_loss=math.nan if start is None else start,
        calibrated_loss=None if calibrated is None else _curve(calibrated),
        layers={
            layer: {name: _curve(curve) for name, curve in curves.items()}
            for layer, curves in result["layers"].items()
        },
    )


def _curve(values: Sequence[float | None]) -> Curve:
    return np.array([math.nan if value is None else value for value in values])
