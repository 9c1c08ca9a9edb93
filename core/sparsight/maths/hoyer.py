"""Hoyer sparsity of receptive field activation vectors, in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rfav import Floats, channels_last, peak_and_rms, scaled_by

__all__ = ["hoyer_sparsity"]


def hoyer_sparsity(activations: NDArray[Any], axis: int = 1) -> Floats:
    """Hoyer sparsity of each RFAV, between 0 (all magnitudes equal) and 1 (one is not zero).

    (sqrt(D) - |a|_1 / |a|_2) / (sqrt(D) - 1), from P. O. Hoyer, Non-negative matrix factorization
    with sparseness constraints, JMLR 5 (2004), Eq. 8. `activations` holds the D channels along
    `axis`; the result has the other axes. Neither scale, sign nor order of the channels changes it,
    and no finite input overflows. An RFAV of zeros has no pattern and counts as dense: 0. NaN where
    the RFAV holds a NaN or an infinity, and for D = 1, where it says nothing.
    """
    rfavs = channels_last(activations, axis)
    root = math.sqrt(rfavs.shape[-1])
    peak, _ = peak_and_rms(rfavs)
    with np.errstate(invalid="ignore", under="ignore", over="ignore"):
        scaled = scaled_by(rfavs, peak)
        # |a|_1 / |a|_2 = sqrt(D) * mean|a| / rms(a)
        ratio = np.abs(scaled).mean(axis=-1) / np.where(
            peak > 0, np.sqrt(np.square(scaled).mean(axis=-1)), 1
        )
        ratio = np.where(peak == 0, 1, ratio)
        found = np.clip((1 - ratio) * (root / (root - 1) if root > 1 else math.nan), 0, 1)
    return np.where(np.isfinite(peak), found, np.nan).astype(rfavs.dtype)
