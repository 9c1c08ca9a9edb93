"""Entropy of receptive field activation vectors, in numpy.

A receptive field activation vector (RFAV) is the D channel values of one layer at one position, of
the layer's linear output. Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 1-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rfav import Floats, as_float, channels_last, peak_and_rms, scaled_by

__all__ = [
    "centred_rms",
    "entropy_ladder",
    "relative_entropy",
    "rfav_entropy",
    "rfav_rms",
    "scale_free_entropy",
]


def rfav_entropy(activations: NDArray[Any], axis: int = 1) -> Floats:
    """Entropy of the softmax of each RFAV (paper, Eq. 2-4), in nats, between 0 and ln D.

    H = ln S - sum_d e^(a_d - m) (a_d - m) / S, with m = max_d a_d and S = sum_d e^(a_d - m).

    `activations` holds the D channels along `axis`; the result has the other axes: [N, D, A, B]
    gives [N, A, B]. Computed in float32, or in float64 for float64 input. An RFAV that holds a NaN
    or an infinity, or whose values lie further apart than the type reaches, has H = NaN.
    """
    rfavs = channels_last(activations, axis)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        shifted = rfavs - rfavs.max(axis=-1, keepdims=True)  # inf - inf = NaN, as wanted
        exponentials = np.exp(shifted)
        total = exponentials.sum(axis=-1)
        # e^x x -> 0 as x -> -inf; a channel at -inf must give NaN all the same, and 0 * -inf does
        entropy: Floats = np.log(total) - (exponentials * shifted).sum(axis=-1) / total
    # Rounding may leave ln D + 1e-7, and nothing below 0: S >= 1, and no product is above 0.
    return np.minimum(entropy, entropy.dtype.type(np.log(rfavs.shape[-1])))


def relative_entropy(entropy: NDArray[Any], channels: int) -> Floats:
    """H / ln D, between 0 (sparse) and 1 (dense); NaN for D = 1, where it says nothing."""
    values = as_float(entropy)
    if channels <= 1:
        return np.full_like(values, np.nan)
    return values / values.dtype.type(np.log(channels))


def rfav_rms(activations: NDArray[Any], axis: int = 1) -> Floats:
    """Root mean square of each RFAV over its D channels; same axes as `rfav_entropy`'s result.

    NaN where the RFAV holds a NaN or an infinity. Does not overflow for any finite input.
    """
    return peak_and_rms(channels_last(activations, axis))[1]


def centred_rms(activations: NDArray[Any], axis: int = 1) -> Floats:
    """Root mean square of each RFAV less its own mean over the D channels: the scale that H sees.

    Softmax, and so H, does not change when all channels grow by the same. Axes, NaN and overflow as
    in `rfav_rms`.
    """
    rfavs = channels_last(activations, axis)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        peak = np.abs(rfavs).max(axis=-1, keepdims=True)
        unit = np.where(peak > 0, peak, 1)
        scaled = rfavs / unit
        deviation: Floats = scaled.std(axis=-1) * unit[..., 0]
    return np.where(np.isfinite(peak[..., 0]), deviation, np.nan).astype(rfavs.dtype)


def entropy_ladder(
    activations: NDArray[Any], factors: Sequence[float] | NDArray[Any], axis: int = 1
) -> Floats:
    """H of the RFAVs times each factor c > 0: [factors, ...], with `rfav_entropy`'s axes behind.

    In nats; never rising with c, since c is the inverse of a temperature.
    """
    values = as_float(activations)
    with np.errstate(over="ignore"):
        return np.stack([rfav_entropy(values * values.dtype.type(c), axis) for c in factors])


def scale_free_entropy(activations: NDArray[Any], axis: int = 1) -> Floats:
    """Relative entropy of softmax(a / rms(a)) of each RFAV, between 0 and 1.

    Unlike H it does not change when activations merely grow: it falls only when their pattern grows
    sparse. An RFAV of zeros has no pattern and counts as dense: 1. NaN as in `rfav_entropy`, and
    for D = 1.
    """
    rfavs = channels_last(activations, axis)
    peak, rms = peak_and_rms(rfavs)
    with np.errstate(invalid="ignore"):
        # Divided by the peak first, so that no square overflows or vanishes.
        scaled = scaled_by(rfavs, peak)
        normal = np.where(rms > 0, rms / np.where(peak > 0, peak, 1), 1)
        result = relative_entropy(rfav_entropy(scaled / normal[..., None], -1), rfavs.shape[-1])
    return np.where(np.isfinite(peak), result, np.nan).astype(rfavs.dtype)
