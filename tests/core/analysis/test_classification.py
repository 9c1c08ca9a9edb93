from __future__ import annotations

import numpy as np
import pytest

from sparsight.analysis.classification import Evaluation
from sparsight.maths.calibration import calibrate
from sparsight.schema.evaluation import evaluation_scalars


@pytest.mark.parametrize("shape", [(60,), (60, 4)])
def test_batches_change_nothing(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(60, 5, *shape[1:])).astype(np.float32) * 3
    labels = (logits + random.normal(size=logits.shape) * 3).argmax(axis=1)
    labels[:20:3] = -100
    evaluation = Evaluation(labels)
    for first in range(0, 60, 7):
        evaluation.update(logits[first : first + 7], first)
    whole = calibrate(logits, labels)
    expected = evaluation_scalars(whole, whole.loss, whole.accuracy)
    assert len(expected) == 6
    assert evaluation.scalars() == pytest.approx(expected)
