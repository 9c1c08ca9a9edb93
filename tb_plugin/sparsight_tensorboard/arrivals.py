"""Whether TensorBoard is still loading: it does not say so itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

__all__ = ["Arrivals"]

_SETTLING = 6.0  # seconds; while it loads, the Rust loader shows what it has every 5 s
_OLD = 60.0  # seconds: a record that is older when it arrives was not written just now


class Arrivals:
    """When each run's newest record was first seen."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._seen: dict[str, tuple[float, float]] = {}
        self._clock = clock
        self._started = clock()

    def late(self, newest: Mapping[str, float]) -> bool:
        """Whether a record arrived in the last seconds that had been written long before."""
        now = self._clock()
        for run, wall_time in newest.items():
            known = self._seen.get(run)
            if known is None:  # who looks for the first time long after the start sees it all
                fresh = now - self._started < 2 * _SETTLING
                self._seen[run] = wall_time, now if fresh else 0.0
            elif known[0] != wall_time:
                self._seen[run] = wall_time, now
        return any(
            now - seen < _SETTLING and seen - wall_time > _OLD
            for wall_time, seen in list(self._seen.values())
        )
