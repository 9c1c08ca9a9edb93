"""How much of a layer's variance is the same at all positions of all probes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .entropy import rfav_entropy
from .rfav import channels_last

__all__ = ["channel_mean_share", "share_of_channel_means"]

_ROUNDING = 1e-6  # of the mean square: what float32 leaves of values that are all the same


def channel_mean_share(activations: NDArray[Any], axis: int = 1) -> float:
    """Share of a layer's variance that lies between the means of its channels, between 0 and 1.

    With a[r, d] the D channels of RFAV r, m[d] their means over all R RFAVs, and m the mean of all
    values: share = R sum_d (m[d] - m)^2 / sum_rd (a[r, d] - m)^2, the squared correlation ratio of
    an analysis of variance by channel. 1 where all RFAVs are the same, 0 where all channels have
    the same mean. Neither a factor nor an offset common to all values changes it.

    `activations` holds the D channels along `axis`. RFAVs without an entropy (a NaN or an infinity
    in them) are left out. NaN where no RFAV is left, for D = 1, where it says nothing, and without
    variance: less than a millionth of the mean square is rounding.
    """
    rfavs = channels_last(activations, axis)
    rows = rfavs[np.isfinite(rfav_entropy(rfavs, -1))].astype(np.float64)
    peak = float(np.abs(rows).max(initial=0)) or 1.0
    rows = rows / peak  # so that no square overflows or vanishes
    return share_of_channel_means(len(rows), rows.sum(axis=0), float(np.square(rows).sum()))


def share_of_channel_means(count: int, sums: NDArray[np.float64], squares: float) -> float:
    """`channel_mean_share` from sums, which merge: over `count` RFAVs, the sum of each channel,
    [D], and the sum of all squares."""
    if not count or len(sums) == 1:
        return float("nan")
    with np.errstate(invalid="ignore", over="ignore"):
        means = sums / count
        mean_square = squares / (count * len(sums))
        variance = mean_square - means.mean() ** 2
        share = means.var() / variance if variance > _ROUNDING * mean_square else np.nan
    return float(np.clip(share, 0, 1))
