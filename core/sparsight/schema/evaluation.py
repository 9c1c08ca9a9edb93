"""The tags of what an evaluation records, as TensorBoard's own scalars."""

from __future__ import annotations

import math

from ..maths.calibration import Calibration

__all__ = [
    "ACCURACY",
    "CALIBRATED_LOSS",
    "CALIBRATION_ERROR",
    "TEMPERATURE",
    "TRAINING_LOSS",
    "UNCALIBRATED_LOSS",
    "VALIDATION_LOSS",
    "evaluation_scalars",
]

TRAINING_LOSS = "loss/training"
"""Without penalties, which may be negative."""
VALIDATION_LOSS = "loss/validation"
ACCURACY = "accuracy/validation"
TEMPERATURE = "calibration/temperature"
CALIBRATED_LOSS = "calibration/loss"
"""V_T. Not called a validation loss: nobody must take it for one."""
UNCALIBRATED_LOSS = "calibration/uncalibrated_loss"
"""At T = 1, of the samples that V_T is of."""
CALIBRATION_ERROR = "calibration/error"


def evaluation_scalars(
    calibration: Calibration | None, loss: float, accuracy: float
) -> dict[str, float]:
    """An evaluation's scalars by their tags. A temperature or a loss that is not finite, as before
    training or where nothing is wrong, is left out, since no plot can show it."""
    found = {VALIDATION_LOSS: loss, ACCURACY: accuracy}
    if calibration is None:
        return found
    more = {
        TEMPERATURE: calibration.temperature,
        CALIBRATED_LOSS: calibration.calibrated_loss,
        UNCALIBRATED_LOSS: calibration.loss,
        CALIBRATION_ERROR: calibration.error,
    }
    return found | {tag: value for tag, value in more.items() if math.isfinite(value)}
