"""The conclusion from a run: sentences with numbers, the kind of overfitting, what to do next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import RunError
from ..maths.onset import Turn, find_onset, find_turn, onset_interval, smooth
from ..runs.logdir import NamedRun, Scalar, find_runs
from ..schema.evaluation import CALIBRATED_LOSS, TEMPERATURE
from .layers import LayerChange, layer_changes

__all__ = ["Diagnosis", "Kind", "diagnose", "diagnose_all"]

CALIBRATED_RISE = 0.02
"""Relative rise of V_T that is called a turn: what `find_onset` asks of the loss."""
ACCURACY_FALL = 0.05
"""Absolute. In the reproduction's 45 runs accuracy rose on after the onset of the loss, and then
fell for good by .025 at most (reproduction/onset_facts.py)."""
FEW_EPOCHS = 10
"""Epochs after the onset under which confidence is low. Provisional."""
WIDE = 8
"""Epochs of the onset's interval above which confidence is low: five of the 45 runs are wider."""

Kind = Literal["overconfidence", "memorising", "both", "none", "cannot tell"]


@dataclass(frozen=True)
class Diagnosis:
    """What the records of a run say, and what they do not."""

    run: str
    kind: Kind
    onset: tuple[float, float] | None
    """First and last epoch at which the validation loss may have turned."""
    sentences: tuple[str, ...]
    next_step: str
    confidence: Literal["low", "usual"]
    reasons: tuple[str, ...]
    """Why confidence is low, and what could not be told."""
    layers: tuple[LayerChange, ...]
    """Those that changed most first."""


def diagnose(run: str | Path | NamedRun) -> Diagnosis:
    """The diagnosis of one run: its directory, or what `runs.logdir.find_runs` gives.

    Raises RunError where the directory holds no run, or several.
    """
    if isinstance(run, NamedRun):
        return _diagnosis(run)
    found = diagnose_all(Path(run))
    if len(found) > 1:
        names = ", ".join(diagnosis.run for diagnosis in found)
        raise RunError(f"{run} holds several runs ({names}); give the directory of one")
    return found[0]


def diagnose_all(logdir: Path) -> list[Diagnosis]:
    """The diagnoses of the runs in and below a directory. Raises RunError where there is none."""
    runs = find_runs(logdir, without=("maps", "correlation", "probes"))
    here = logdir.resolve().name
    return [_diagnosis(replace(run, name=here) if run.name == "." else run) for run in runs]


def _diagnosis(run: NamedRun) -> Diagnosis:
    layers = layer_changes(run)
    if run.loss is None or np.isfinite(run.loss.values).sum() < 4:
        return _without_losses(run, layers)
    interval = onset_interval(run.loss.epochs, run.loss.values)
    calibrated, accuracy = _calibrated_turn(run), _accuracy_turn(run)
    kind = _kind(run, interval is not None, calibrated, accuracy)
    reasons = _reasons(run, interval)
    return Diagnosis(
        run=run.name,
        kind=kind,
        onset=interval,
        sentences=(
            *_loss_sentences(run, interval, calibrated, accuracy),
            *_layer_sentences(layers),
        ),
        next_step=_NEXT[kind],
        confidence="low" if any(low for low, _ in reasons) else "usual",
        reasons=tuple(text for _, text in reasons),
        layers=layers,
    )


def _without_losses(run: NamedRun, layers: tuple[LayerChange, ...]) -> Diagnosis:
    count = 0 if run.loss is None else int(np.isfinite(run.loss.values).sum())
    why = f"{count} validation losses are recorded; 4 are the least that can show a turn"
    how = (
        "record(epoch, validation_logits=..., validation_labels=...), or sparsight analyze --labels"
    )
    return Diagnosis(
        run.name,
        "cannot tell",
        None,
        (f"Cannot tell whether it overfits: {why}.", *_layer_sentences(layers)),
        f"Record the validation loss: {how}.",
        "low",
        (why,),
        layers,
    )


def _kind(run: NamedRun, onset: bool, calibrated: Turn | None, accuracy: Turn | None) -> Kind:
    worse = calibrated is not None or accuracy is not None
    if worse:
        return "both" if onset and calibrated is not None and _overconfident(run) else "memorising"
    if not onset:
        return "none"
    known = CALIBRATED_LOSS in run.run.scalars
    return "overconfidence" if known else "cannot tell"


def _overconfident(run: NamedRun) -> bool:
    """Whether the last known best temperature is above 1."""
    points = run.run.scalars.get(TEMPERATURE, {})
    return bool(points) and points[max(points)] > 1


def _calibrated_turn(run: NamedRun) -> Turn | None:
    points = run.run.scalars.get(CALIBRATED_LOSS, {})
    values = np.array([*points.values()], np.float64)
    finite = values[np.isfinite(values)]
    margin = CALIBRATED_RISE * float(abs(finite).min()) if finite.size else 0.0
    return find_turn([*points], values, margin)


def _accuracy_turn(run: NamedRun) -> Turn | None:
    found = run.accuracy
    if found is None:
        return None
    turn = find_turn(found.epochs, found.values, ACCURACY_FALL, higher_is_better=True)
    return None if turn is None or turn.epoch < 0 else turn  # it never learned


def _loss_sentences(
    run: NamedRun,
    interval: tuple[float, float] | None,
    calibrated: Turn | None,
    accuracy: Turn | None,
) -> list[str]:
    assert run.loss is not None
    onset = find_onset(run.loss.epochs, run.loss.values)
    if onset is None or interval is None:
        said = [f"Validation loss has not turned by epoch {run.loss.epochs[-1]:g}."]
    else:
        first, last = interval
        end = float(run.loss.smoothed[np.isfinite(run.loss.smoothed)][-1])
        said = [
            f"Validation loss turned at epoch {onset.epoch} ({first:g} to {last:g}): "
            f"{onset.loss:.2f} then, {end:.2f} at the end ({end / onset.loss - 1:+.0%})."
        ]
    if calibrated is not None:
        said.append(
            f"The calibrated loss turned too, at epoch {calibrated.epoch}: {calibrated.best:.2f} "
            f"then, {calibrated.settled:.2f} at the end."
        )
    elif points := run.run.scalars.get(CALIBRATED_LOSS):
        said.append(f"At the best temperature the loss has not turned: {points[max(points)]:.2f}.")
    if accuracy is not None:
        said.append(
            f"Accuracy fell from {accuracy.best:.1%} at epoch {accuracy.epoch} to "
            f"{accuracy.settled:.1%}."
        )
    elif onset is not None and run.accuracy is not None:
        said += _accuracy_since(run.accuracy, onset.epoch)
    return said


def _accuracy_since(accuracy: Scalar, epoch: int) -> list[str]:
    smoothed = smooth(accuracy.epochs, accuracy.values)
    then = smoothed[np.abs(accuracy.epochs - epoch).argmin()]
    known = smoothed[np.isfinite(smoothed)]
    if not known.size or not np.isfinite(then):
        return []
    return [f"Accuracy went from {then:.1%} at epoch {epoch} to {known[-1]:.1%} at the end."]


def _layer_sentences(layers: tuple[LayerChange, ...]) -> list[str]:
    said = []
    for layer in [found for found in layers if found.cause != "none"][:3]:
        if not math.isfinite(layer.change):
            continue
        said.append(
            f"{layer.name}: entropy {layer.start:.2f} to {layer.end:.2f} of ln D, "
            f"RMS x {layer.rms_ratio:.2g}; {_cause_said(layer)}."
        )
    return said


def _cause_said(layer: LayerChange) -> str:
    if layer.cause == "dead":
        return f"{layer.dead:.0%} of its channels are dead"
    if layer.split is None:
        return "scale or pattern: cannot tell, no entropy ladder is recorded"
    if layer.cause == "cannot tell":
        return "scale or pattern: cannot tell, the change of scale is outside the ladder"
    split = layer.split
    orders = f"{split.pattern_at_the_old_scale:+.2f} and {split.pattern_at_todays_scale:+.2f}"
    return f"cause {layer.cause} (scale {split.scale:+.2f}, pattern {split.pattern:+.2f}: {orders})"


def _reasons(run: NamedRun, interval: tuple[float, float] | None) -> list[tuple[bool, str]]:
    """Whether each lowers confidence, and the reason."""
    assert run.loss is not None
    found = [(False, "one run: seeds differ by 2 to 11 epochs in their onsets")]
    if interval is not None:
        after = run.loss.epochs[-1] - interval[1]
        if after < FEW_EPOCHS:
            found.append((True, f"only {after:g} epochs follow the onset"))
        if interval[1] - interval[0] > WIDE:
            found.append((True, f"the onset lies anywhere in {interval[0]:g} to {interval[1]:g}"))
    if CALIBRATED_LOSS not in run.run.scalars:
        text = "no calibrated loss is recorded, so that overconfidence cannot be told apart"
        found.append((interval is not None, text))
    if run.accuracy is None:
        found.append((True, "no accuracy is recorded"))
    return found


_NEXT: dict[Kind, str] = {
    "overconfidence": "Divide the logits by the best temperature before using them as "
    "probabilities; choose the epoch by accuracy, not by loss.",
    "memorising": "Keep the epoch before the turn, and try augmentation first; then train again "
    "and compare.",
    "both": "Keep the epoch before the calibrated loss turned, and divide its logits by the best "
    "temperature; try augmentation first.",
    "none": "Nothing to do; train on if the loss still falls.",
    "cannot tell": "Record validation_logits and validation_labels, so that the loss at the best "
    "temperature is known.",
}
