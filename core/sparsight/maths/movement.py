"""How far a statistic of one layer moved over a run. numpy only.

The Sparsity tab computes the same in `frontend/src/data/movement.ts`, up to the epoch under the
cursor; tests hold both to the numbers in tests/movement.json.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["moved", "settled", "started"]

_LAST = 10  # records at the end of a long run, of which the median is taken

Curve = NDArray[np.floating[Any]]


def started(values: Curve) -> float:
    """Where a curve, [records], starts: at its first finite value; NaN where there is none.

    That is the layer's own first record ("before training" where that was recorded): a layer may
    come later than the run begins.
    """
    finite = np.flatnonzero(np.isfinite(values))
    return float(values[finite[0]]) if finite.size else math.nan


def settled(values: Curve) -> float:
    """Where a curve, [records], ends: the median of its last 10 records, since single epochs swing.

    Of the last sixth where fewer than 60 were recorded, as the last 10 of a dozen would be most of
    the way; never of the first record, if others follow. NaN where none of these is finite.
    """
    end = len(values)
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return math.nan
    first = int(finite[0])
    last = min(_LAST, math.ceil((end - first) / 6))
    late = np.asarray(values[max(min(first + 1, end - 1), end - last) :], np.float64)
    late = late[np.isfinite(late)]
    return float(np.median(late)) if late.size else math.nan


def moved(values: Curve) -> float:
    """How far a curve, [records], moved: `settled` less `started`; negative where it fell."""
    return settled(values) - started(values)
