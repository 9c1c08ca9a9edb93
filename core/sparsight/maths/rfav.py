"""Receptive field activation vectors as rows: the channels last, their peak and their RMS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

__all__ = ["Floats", "as_float", "channels_last", "peak_and_rms", "scaled_by"]

Floats = NDArray[np.floating[Any]]


def peak_and_rms(rfavs: Floats) -> tuple[Floats, Floats]:
    """Largest magnitude and root mean square over the last axis.

    The RMS does not overflow for any finite input, and is NaN where the peak is not finite.
    """
    # Beside a NaN nothing is divided, and squares may overflow.
    with np.errstate(invalid="ignore", under="ignore", over="ignore"):
        peak: Floats = np.abs(rfavs).max(axis=-1)
        rms: Floats = peak * np.sqrt(np.square(scaled_by(rfavs, peak)).mean(axis=-1))
    return peak, np.where(np.isfinite(peak), rms, np.nan).astype(rfavs.dtype)


def scaled_by(rfavs: Floats, peak: Floats) -> Floats:
    """RFAVs divided by their peak, so that no square overflows or vanishes; zeros stay zeros."""
    scaled: Floats = rfavs / np.where(peak > 0, peak, 1)[..., None]
    return scaled


def channels_last(activations: NDArray[Any], axis: int) -> Floats:
    """The activations with their channels last, as floats. Raises UsageError where there are no
    channels along `axis`, or for complex numbers."""
    values = as_float(activations)
    if not values.ndim or not -values.ndim <= axis < values.ndim:
        raise UsageError(f"channel axis {axis} does not exist in an array of shape {values.shape}")
    if values.shape[axis] == 0:
        raise UsageError(f"an array of shape {values.shape} has no channels along axis {axis}")
    return np.moveaxis(values, axis, -1)


def as_float(values: NDArray[Any]) -> Floats:
    """float64 stays what it is; all else becomes float32, unless that would round integers."""
    array = np.asarray(values)
    if array.dtype == np.float64 or array.dtype == np.float32:
        return array
    if array.dtype.kind == "c":
        raise UsageError("complex activations have no RFAV entropy")
    wide = array.dtype.kind in "iu" and array.itemsize > 2  # float32 would round such integers
    return array.astype(np.float64 if wide else np.float32)
