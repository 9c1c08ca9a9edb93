"""Loss and accuracy of a classifier's outputs."""

import numpy as np
import pytest
from tests.core import graphs

from sparsight.analysis.classification import Evaluation
from sparsight.errors import ProbeError
from sparsight.maths.calibration import calibrate
from sparsight.schema.evaluation import evaluation_scalars


def test_probabilities_are_taken_as_they_are():
    scores = np.array([[0.5, 0.25, 0.25], [0.1, 0.9, 0.0]])
    evaluation = Evaluation(np.array([0, 1]))
    evaluation.update(scores, 0)
    wanted = -(np.log(0.5) + np.log(0.9)) / 2
    assert evaluation.scalars()["loss/validation"] == pytest.approx(wanted)


def test_labels_of_positions():
    scores = graphs.random((2, 3, 4, 4))
    evaluation = Evaluation(scores.argmax(axis=1))
    evaluation.update(scores[:1], 0)
    evaluation.update(scores[1:], 1)
    assert evaluation.scalars()["accuracy/validation"] == 1
    with pytest.raises(ProbeError, match=r"expected \[N, classes"):
        Evaluation(np.zeros(2, int)).update(scores, 0)


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
