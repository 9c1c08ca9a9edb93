"""Whether a layer's entropy changed because its activations grew or because their pattern did.

H falls when activations merely grow. So its change since a baseline is split exactly into a scale
part and a pattern part. With a0 the baseline's activations, a today's, and s the ratio of their
centred RMS:

    H(a) - H(a0) = [H(a) - H(a/s)] + [H(a/s) - H(a0)]    scale, then pattern at the baseline's scale
                 = [H(s a0) - H(a0)] + [H(a) - H(s a0)]  scale, then pattern at today's scale

Either order is right, and at the baseline's small scale every pattern looks dense; so the mean of
both is the split (Shapley's), and both are shown. s is known only after a pass: each record
therefore holds H(c a) at fixed factors c, and what lies between is interpolated. numpy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FACTORS", "Split", "at_factor", "split_change"]

FACTORS = tuple(2.0**power for power in range(-10, 11))
"""The factors c at which H(c a) is recorded, ascending: from 1/1024 to 1024.

Both c = 1/s and c = s are looked up. In the reproduction's 45 runs a layer's RMS grew up to
535-fold, in 21.5% of the layers more than 32-fold (reproduction/onset_facts.py). With steps of 2
the interpolated H lies within .04 of ln D of the computed one, with steps of 4 within .17, for
heavy and light tails alike (benchmarks/entropy_ladder.py).
"""

Curve = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Split:
    """A change of a layer's mean entropy, in the unit of the curves given; NaN where unknown."""

    change: float
    """H(a) - H(a0): `scale` + `pattern`."""
    ratio: float
    """s, by which the centred RMS grew."""
    scale_at_todays_pattern: float
    """H(a) - H(a/s)"""
    scale_at_the_old_pattern: float
    """H(s a0) - H(a0)"""

    @property
    def scale(self) -> float:
        """Mean of both orders."""
        return (self.scale_at_todays_pattern + self.scale_at_the_old_pattern) / 2

    @property
    def pattern(self) -> float:
        """The rest of the change."""
        return self.change - self.scale

    @property
    def pattern_at_the_old_scale(self) -> float:
        """H(a/s) - H(a0)"""
        return self.change - self.scale_at_todays_pattern

    @property
    def pattern_at_todays_scale(self) -> float:
        """H(a) - H(s a0)"""
        return self.change - self.scale_at_the_old_pattern


def split_change(
    before: Curve, after: Curve, ratio: float, factors: Curve | tuple[float, ...] = FACTORS
) -> Split:
    """Scale and pattern part of a change, from both records' curves H(c a), [factors].

    `before` and `after` hold H at `factors`, ascending, 1 among them; in nats, or each divided by
    ln D. `ratio` is the centred RMS of today over that of the baseline. Outside the ladder, or
    where a curve holds a NaN, the parts are NaN: nobody can tell.
    """
    start, end = at_factor(before, 1.0, factors), at_factor(after, 1.0, factors)
    possible = math.isfinite(ratio) and ratio > 0
    back = at_factor(after, 1 / ratio, factors) if possible else math.nan
    ahead = at_factor(before, ratio, factors) if possible else math.nan
    return Split(end - start, ratio, end - back, ahead - start)


def at_factor(curve: Curve, factor: float, factors: Curve | tuple[float, ...] = FACTORS) -> float:
    """H(c a) at any c > 0 within `factors`, by monotone cubics in ln c; NaN outside.

    The slopes at the knots are those of Fritsch and Butland (1984), also known as PCHIP, with which
    the interpolant never rises where the knots do not.
    """
    x, y = np.log(np.asarray(factors, np.float64)), np.asarray(curve, np.float64)
    at = math.log(factor)
    if len(x) < 2 or not x[0] <= at <= x[-1] or not np.isfinite(y).all():
        return math.nan
    steps = np.diff(x)
    rises = np.diff(y) / steps
    left = int(np.clip(np.searchsorted(x, at, "right") - 1, 0, len(steps) - 1))
    slopes = _slopes(steps, rises)
    h, t = steps[left], (at - x[left]) / steps[left]
    return float(
        y[left] * (1 + 2 * t) * (1 - t) ** 2
        + h * slopes[left] * t * (1 - t) ** 2
        + y[left + 1] * t**2 * (3 - 2 * t)
        + h * slopes[left + 1] * t**2 * (t - 1)
    )


def _slopes(steps: Curve, rises: Curve) -> Curve:
    """At the knots: a weighted harmonic mean of the rises beside it; 0 where they disagree."""
    slopes = np.zeros(len(steps) + 1)
    slopes[0], slopes[-1] = rises[0], rises[-1]
    before, after = rises[:-1], rises[1:]
    first, second = steps[1:] * 2 + steps[:-1], steps[1:] + 2 * steps[:-1]
    agree = before * after > 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = (first + second) / (first / before + second / after)
    slopes[1:-1] = np.where(agree, mean, 0.0)
    return slopes
