"""Whether the entropy of the layers says anything of overfitting that their RMS does not.

Rules: reproduction/evidence_rules.md, "Detector study".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .detector_study import bootstrapped
from .detectors import DETECTORS, History, event_of, rules
from .tables import NOT_RUN, Table, written

__all__ = ["area_under_curve", "entropy_tables", "partial_correlation", "probabilities"]

_AHEAD = 5  # epochs: what the validation loss does in these is to be told
_RIDGE = 1e-3

_Numbers = NDArray[np.float64]
_Item = TypeVar("_Item")

_FEATURES = {
    "the epoch alone": ("clock",),
    "RMS": ("rms",),
    "entropy": ("minimum-entropy",),
    "RMS and entropy": ("rms", "minimum-entropy"),
    "RMS and scale-free entropy": ("rms", "pattern-part"),
    "validation over training loss": ("loss-ratio",),
    "validation over training loss, RMS and entropy": ("loss-ratio", "rms", "minimum-entropy"),
}
"""Models by title: the detectors whose signals they are given."""

_LOGARITHMIC = ("rms", "loss-ratio")


@dataclass(frozen=True)
class _Epochs:
    """What is known of the epochs of one run."""

    group: str
    cluster: str
    signals: dict[str, _Numbers]
    is_past: NDArray[np.bool_]
    """Whether each lies after the onset."""
    rise: _Numbers
    """ln of the validation loss five epochs later over that now; NaN at the end."""


def entropy_tables(runs: Sequence[History]) -> list[Table]:
    """AUC of models with and without entropy, and partial correlations, with 95% intervals."""
    found = [_epochs(run) for run in runs if run.layers]
    groups = {each.group for each in found}
    return [_auc_table(found), _correlation_table(found)] if len(groups) > 1 else []


def _epochs(run: History) -> _Epochs:
    event = event_of(run)
    number = len(run.validation_loss)
    first = int(rules()["alarm"]["first"])
    names = {name for features in _FEATURES.values() for name in features}
    signals = {}
    for name in sorted(names):
        signal = DETECTORS[name].signal(run)
        values = np.full(number, np.nan) if signal is None else signal
        signals[name] = (np.log(values) if name in _LOGARITHMIC else values)[first:]
    losses = np.log(run.validation_loss)
    rise = np.full(number, np.nan)
    rise[:-_AHEAD] = losses[_AHEAD:] - losses[:-_AHEAD]
    past = np.arange(number) > (number if event is None else event.epoch)
    return _Epochs(run.group, run.cluster, signals, past[first:], rise[first:])


def _auc_table(runs: Sequence[_Epochs]) -> Table:
    rows = []
    for title, features in _FEATURES.items():
        usable = [run for run in runs if _is_known(run, features)]
        if len({run.group for run in usable}) < 2:
            rows.append((title, NOT_RUN))
            continue
        scores = _left_out(usable, features)
        clusters: dict[str, list[tuple[_Numbers, NDArray[np.bool_]]]] = {}
        for run, values in zip(usable, scores, strict=True):
            clusters.setdefault(run.cluster, []).append((values, run.is_past))
        rows.append((title, _with_interval(list(clusters.values()), _pooled_area)))
    header = ("logistic regression on", "AUC [95%]")
    title = "Telling epochs past the onset from those before, on groups left out"
    return Table(title, header, tuple(rows))


def _is_known(run: _Epochs, features: Sequence[str]) -> bool:
    return all(np.isfinite(run.signals[name]).all() for name in features)


def _left_out(runs: Sequence[_Epochs], features: Sequence[str]) -> list[_Numbers]:
    """Each run's scores, of the regression on the runs of all other groups."""
    inputs = [np.column_stack([run.signals[name] for name in features]) for run in runs]
    scores = []
    for run, values in zip(runs, inputs, strict=True):
        others = [at for at, other in enumerate(runs) if other.group != run.group]
        known = np.concatenate([inputs[at] for at in others])
        labels = np.concatenate([runs[at].is_past for at in others])
        scores.append(probabilities(known, labels, values))
    return scores


def probabilities(known: _Numbers, labels: NDArray[np.bool_], values: _Numbers) -> _Numbers:
    """Logistic regression on `known` [N, F] and `labels` [N], asked of `values` [M, F]: [M].

    Features are standardised by `known`; Newton's method, a ridge of .001 keeps weights finite
    where the classes can be separated.
    """
    mean, scale = known.mean(0), known.std(0)
    scale = np.where(scale > 0, scale, 1)
    inputs, asked = (
        np.column_stack([np.ones(len(x)), (x - mean) / scale]) for x in (known, values)
    )
    weights = np.zeros(inputs.shape[1])
    for _ in range(30):
        chance = _logistic(inputs @ weights)
        gradient = inputs.T @ (chance - labels) / len(labels) + _RIDGE * weights
        curvature = (inputs.T * (chance * (1 - chance))) @ inputs / len(labels)
        weights = weights - np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
    return _logistic(asked @ weights)


def _logistic(values: _Numbers) -> _Numbers:
    chance: _Numbers = 0.5 * (1 + np.tanh(0.5 * values))
    return chance


def _pooled_area(clusters: Sequence[Sequence[tuple[_Numbers, NDArray[np.bool_]]]]) -> float:
    runs = [run for cluster in clusters for run in cluster]
    scores, labels = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    return area_under_curve(scores, labels.astype(bool))


def area_under_curve(scores: _Numbers, labels: NDArray[np.bool_]) -> float:
    """The chance that a positive scores higher than a negative, ties counting half.

    NaN where all labels are alike.
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _correlation_table(runs: Sequence[_Epochs]) -> Table:
    pairs = (
        ("entropy", "minimum-entropy", ()),
        ("RMS", "rms", ()),
        ("entropy, given RMS", "minimum-entropy", ("rms",)),
        ("RMS, given entropy", "rms", ("minimum-entropy",)),
        ("entropy, given RMS and the epoch", "minimum-entropy", ("rms", "clock")),
    )
    rows = []
    for title, name, given in pairs:
        clusters: dict[str, list[float]] = {}
        for run in runs:
            value = _correlation(run, name, given)
            if np.isfinite(value):
                clusters.setdefault(run.cluster, []).append(value)
        text = _with_interval(list(clusters.values()), _mean_of_all) if clusters else NOT_RUN
        rows.append((title, text))
    header = ("correlation with", "mean over runs [95%]")
    title = f"What the validation loss does in the next {_AHEAD} epochs, within a run"
    return Table(title, header, tuple(rows))


def _correlation(run: _Epochs, name: str, given: Sequence[str]) -> float:
    columns = [run.rise, run.signals[name], *(run.signals[other] for other in given)]
    values = np.column_stack(columns)
    known = values[np.isfinite(values).all(1)]
    return partial_correlation(known[:, 0], known[:, 1], known[:, 2:])


def partial_correlation(x: _Numbers, y: _Numbers, given: _Numbers) -> float:
    """Pearson's correlation of what is left of x and y after regressing both on `given`, [N, K].

    NaN where nothing varies, or where there are no more than K + 2 values.
    """
    if len(x) <= given.shape[1] + 2:
        return float("nan")
    regressors = np.column_stack([np.ones(len(x)), given])
    both = np.column_stack([x, y])
    rest = both - regressors @ np.linalg.lstsq(regressors, both, rcond=None)[0]
    lengths = np.linalg.norm(rest, axis=0)
    if (lengths <= 1e-9 * np.linalg.norm(both, axis=0)).any():
        return float("nan")
    return float(rest[:, 0] @ rest[:, 1] / lengths.prod())


def _mean_of_all(clusters: Sequence[Sequence[float]]) -> float:
    return float(np.mean([value for cluster in clusters for value in cluster]))


def _with_interval(clusters: Sequence[_Item], of: Callable[[Sequence[_Item]], float]) -> str:
    low, high = bootstrapped(clusters, of)
    return f"{written(of(clusters), 3)} [{written(low, 3)}, {written(high, 3)}]"
