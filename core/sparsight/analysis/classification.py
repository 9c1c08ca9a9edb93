"""Loss, accuracy and calibration of a classifier: checkpoints alone show when it overfits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError, UsageError
from ..maths.calibration import IGNORED, calibrate, flat_logits, loss_at, sampled
from ..schema.evaluation import evaluation_scalars

__all__ = ["Evaluation"]


@dataclass
class Evaluation:
    """Cross-entropy, accuracy and calibration, batch by batch."""

    labels: NDArray[Any]
    """The class of each probe, [N], or of each of its positions, [N, ...]; -100 counts for
    nothing."""
    output: str = ""
    """Name of the output that holds the classes; the model's first unless given."""
    _loss: float = field(default=0.0, init=False)
    _right: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)
    _kept: list[tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=list, init=False)
    """Logits, float32, and labels of what the temperature is fitted on."""

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
        try:
            rows, known = flat_logits(scores, labels)
        except UsageError as error:
            raise ProbeError(f"output {self.output!r}: {error}") from None
        if not len(known):
            return
        self._loss += loss_at(1.0, rows, known) * len(known)
        self._right += int((rows.argmax(axis=1) == known).sum())
        self._count += len(known)
        positions = labels.size // max(1, len(labels))
        chosen = sampled(len(self.labels), rows.shape[1] * positions)
        fitted = np.isin(np.arange(first, first + len(labels)), chosen)
        counted = np.repeat(fitted, positions)[labels.reshape(-1) != IGNORED]
        self._kept.append((rows[counted].astype(np.float32), known[counted]))

    def scalars(self) -> dict[str, float]:
        """What was gathered, by the tags it gets in a run; see `evaluation_scalars`."""
        if not self._count:
            return {}
        logits, labels = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        return evaluation_scalars(
            calibrate(logits, labels) if len(labels) else None,
            loss=self._loss / self._count,
            accuracy=self._right / self._count,
        )
