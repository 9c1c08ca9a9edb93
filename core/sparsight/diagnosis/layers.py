"""How a run's layers changed since their first record, and from what cause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..maths.entropy import relative_entropy
from ..maths.movement import moved, settled, started
from ..maths.scale_pattern import Split, split_change
from ..runs.logdir import NamedRun
from ..runs.reader import Table

__all__ = ["DEAD", "FALL", "PATTERN_SHARE", "Cause", "LayerChange", "layer_changes"]

FALL = 0.05
"""Of ln D. A smaller fall is called no change: the ladder alone is up to .04 off
(benchmarks/entropy_ladder.py)."""
PATTERN_SHARE = 0.3
"""Of a fall, that H(a) - H(s a0) must make up before the pattern is said to thin out. Provisional:
in nine of ten of the reproduction's 166 layers ln RMS explains 97% or more of the variance of
relative entropy (reproduction/onset_facts.py), so that a third is more than growth leaves over."""
DEAD = 0.5
"""Share of a layer's channels that are dead at the end, and were not at the start. Provisional."""

LADDER = "entropy_ladder_"
"""Columns "entropy_ladder_<c>" hold the mean of H(c a) in nats, with c as Python prints it, and
"centred_rms" the mean centred RMS."""

Cause = Literal["scale", "pattern", "scale and pattern", "dead", "none", "cannot tell"]


@dataclass(frozen=True)
class LayerChange:
    """One layer from its first record to the end (the median of its last records)."""

    name: str
    start: float
    """Relative entropy."""
    end: float
    rms_ratio: float
    """RMS of the activations at the end over that at the start."""
    dead: float
    """Share of dead channels at the end; NaN where there is no ReLU."""
    split: Split | None
    """In units of ln D, of the first and the last record; None without a ladder."""
    cause: Cause

    @property
    def change(self) -> float:
        """Of relative entropy; negative where it fell."""
        return self.end - self.start


def layer_changes(named: NamedRun) -> tuple[LayerChange, ...]:
    """All layers, those that changed most first; those without a number last."""
    found = [_layer(named, layer.name) for layer in named.layers]
    return tuple(sorted(found, key=lambda c: -abs(c.change) if math.isfinite(c.change) else 1.0))


def _layer(named: NamedRun, name: str) -> LayerChange:
    entropy, rms = named.run.relative_entropy(name), named.run.statistic(name, "rms")
    dead = named.run.statistic(name, "dead_fraction")
    start, end, first_rms = started(entropy), settled(entropy), started(rms)
    ratio = settled(rms) / first_rms if first_rms > 0 else math.nan
    split = _split(named, name)
    cause = _cause(moved(entropy), moved(dead), settled(dead), split)
    return LayerChange(name, start, end, ratio, settled(dead), split, cause)


def _cause(change: float, newly_dead: float, dead: float, split: Split | None) -> Cause:
    if dead >= DEAD and newly_dead > 0:
        return "dead"
    if not math.isfinite(change):
        return "cannot tell"
    if change > -FALL:
        return "none"
    if split is None or not math.isfinite(split.pattern_at_todays_scale) or split.change >= 0:
        return "cannot tell"
    pattern = split.pattern_at_todays_scale / split.change
    if pattern < PATTERN_SHARE:
        return "scale"
    return "pattern" if pattern > 1 - PATTERN_SHARE else "scale and pattern"


def _split(named: NamedRun, name: str) -> Split | None:
    """From the layer's first record with a ladder to its last."""
    tables = list(named.run.tables.values())
    ladders = [found for table in tables if (found := _ladder(table, name)) is not None]
    if len(ladders) < 2:
        return None
    (factors, before, first), (others, after, last) = ladders[0], ladders[-1]
    if factors != others or not first > 0:
        return None
    return split_change(before, after, last / first, factors)


def _ladder(table: Table, name: str) -> tuple[tuple[float, ...], NDArray[np.float64], float] | None:
    """Factors, H / ln D at them, and the centred RMS, of a layer in a record."""
    columns = {c.name: at for at, c in enumerate(table.columns)}
    rows = {info.name: at for at, info in enumerate(table.layers)}
    steps = sorted((float(c[len(LADDER) :]), c) for c in columns if c.startswith(LADDER))
    if name not in rows or len(steps) < 2 or "centred_rms" not in columns:
        return None
    row = table.values[rows[name]].astype(np.float64)
    curve = np.array([row[columns[column]] for _, column in steps])
    relative = np.asarray(relative_entropy(curve, table.channels(name)), np.float64)
    if not np.isfinite(relative).all():
        return None
    return tuple(factor for factor, _ in steps), relative, float(row[columns["centred_rms"]])
