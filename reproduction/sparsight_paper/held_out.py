"""What a treated network does on labelled images that were held out: choosing, and reporting.

Strengths and epochs are chosen on the probes, whose labels training never sees ("selection"), and
reported on the validation images ("validation").
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparsight.errors import UsageError

from .calibration import calibrated_loss, calibration_error, cross_entropy
from .data import ExperimentData
from .results import end
from .training import logits_of

__all__ = ["archive", "judge", "outcomes", "scores"]

_JUDGED = ("accuracy", "loss", "calibrated_loss", "calibration_error")
"""What is said of a network at an epoch, by the name it has in results."""

_Logits = NDArray[np.float32]


def judge(model: nn.Module, data: ExperimentData) -> tuple[dict[str, float], torch.Tensor]:
    """Scores on both splits, by TensorBoard tag, and the validation logits, float16 [N, classes].

    The logits are kept minus their mean over classes, which no softmax sees.
    """
    if data.probe_labels is None:
        raise UsageError("the probes have no labels, which choosing strengths needs")
    found: dict[str, float] = {}
    splits = {
        "selection": (data.probes, data.probe_labels),
        "validation": (data.validation_images, data.validation_labels),
    }
    for split, (images, labels) in splits.items():
        logits = logits_of(model, images).cpu()
        found |= {
            f"{name}/{split}": value
            for name, value in scores(logits.numpy(), labels.cpu().numpy()).items()
        }
    return found, (logits - logits.mean(1, keepdim=True)).half()


def scores(logits: _Logits, labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, loss, V_T and its temperature, and ECE of logits [N, classes]."""
    calibrated, temperature = calibrated_loss(logits, labels)
    return {
        "loss": cross_entropy(logits, labels),
        "accuracy": float((logits.argmax(1) == labels).mean()),
        "calibrated_loss": calibrated,
        "temperature": temperature,
        "calibration_error": calibration_error(logits, labels),
    }


def archive(logits: Sequence[torch.Tensor]) -> bytes:
    """Validation logits of all records as an npz: `logits`, float16 [records, N, classes]."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, logits=torch.stack(list(logits)).numpy())
    return buffer.getvalue()


def outcomes(epochs: Mapping[str, Sequence[float | None]]) -> dict[str, dict[str, Any]]:
    """Validation scores of a run, as somebody would report it who stopped in each of these ways.

    "chosen": the epoch of the best accuracy on the selection images, the first of equals.
    "stopped early": that of their lowest loss. "last": the median of the last 10 epochs. "best":
    the epoch of the best validation accuracy itself, as in the paper, which is optimistic.
    """
    accuracies = _filled(epochs["accuracy/selection"], -np.inf)
    at = {
        "chosen": int(np.argmax(accuracies)),
        "stopped early": int(np.argmin(_filled(epochs["loss/selection"], np.inf))),
        "best": int(np.argmax(_filled(epochs["accuracy/validation"], -np.inf))),
    }
    found: dict[str, dict[str, Any]] = {
        way: {"epoch": epoch, **{name: epochs[f"{name}/validation"][epoch] for name in _JUDGED}}
        for way, epoch in at.items()
    }
    last = {name: [x for x in epochs[f"{name}/validation"] if x is not None] for name in _JUDGED}
    found["last"] = {name: end(curve) if curve else None for name, curve in last.items()}
    return found


def _filled(curve: Sequence[float | None], value: float) -> NDArray[np.float64]:
    return np.array([value if x is None else x for x in curve])
