"""Loss and accuracy of a classifier's outputs."""

import numpy as np
import pytest
from tests.core import graphs

from sparsight.analysis.classification import Evaluation
from sparsight.errors import ProbeError


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
    with pytest.raises(ProbeError, match="would fit"):
        Evaluation(np.zeros(2, int)).update(scores, 0)
