"""Loss and accuracy of a classifier, so that checkpoints alone show when a run overfits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError

__all__ = ["Evaluation"]


@dataclass
class Evaluation:
    """Cross-entropy and accuracy, batch by batch."""

    labels: NDArray[Any]
    """The class of each probe, [N], or of each of its positions, [N, ...]."""
    output: str = ""
    """Name of the output that holds the classes; the model's first unless given."""
    _loss: float = field(default=0.0, init=False)
    _right: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.labels.dtype.kind not in "iu" or not self.labels.ndim:
            raise ProbeError(
                f"labels are {self.labels.dtype} {list(self.labels.shape)}; expected whole "
                "numbers, one per probe"
            )

    def update(self, scores: NDArray[Any], first: int) -> None:
        """Add a batch of scores, [n, classes, ...], whose probes are number `first` onwards.

        Scores that are shares (none below 0, each sum 1) are taken for probabilities, others for
        logits. Raises ProbeError where they do not fit the labels.
        """
        labels = self.labels[first : first + len(scores)]
        if scores.ndim < 2 or scores.shape[:1] + scores.shape[2:] != labels.shape:
            raise ProbeError(
                f"output {self.output!r} has shape {list(scores.shape)} and the labels of "
                f"these probes have {list(labels.shape)}; expected [{len(scores)}, classes] "
                f"and [{len(scores)}]"
            )
        classes = scores.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise ProbeError(
                f"labels range from {labels.min()} to {labels.max()}, but the model has "
                f"classes 0 to {classes - 1}"
            )
        logarithms = _log_probabilities(scores.astype(np.float64))
        chosen = np.take_along_axis(logarithms, labels[:, None].astype(np.intp), axis=1)
        self._loss -= float(chosen.sum())
        self._right += int((scores.argmax(axis=1) == labels).sum())
        self._count += labels.size

    def scalars(self) -> dict[str, float]:
        """Mean cross-entropy in nats and share of right answers, by the tags they get."""
        if not self._count:
            return {}
        return {
            "loss/validation": self._loss / self._count,
            "accuracy/validation": self._right / self._count,
        }


def _log_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
            return np.log(np.maximum(scores, 1e-30))
        shifted = scores - scores.max(axis=1, keepdims=True)
        logarithms: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logarithms
