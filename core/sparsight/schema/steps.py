"""Which records count where a run went back to an earlier step."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def surviving(steps: Sequence[int]) -> list[int]:
    """Positions of the records that count, given the steps in order of arrival.

    A step that goes back drops the later ones: a run that resumed at an earlier epoch replaces what
    came after it. The result is strictly increasing in step. TensorBoard's Rust loader does the
    same; its Python loader keeps all of them.
    """
    kept: list[int] = []
    for position, step in enumerate(steps):
        while kept and steps[kept[-1]] >= step:
            kept.pop()
        kept.append(position)
    return kept


Event = tuple[int, float]
"""Step and wall time; records that were written together share both."""


def counting(records: Sequence[Event], run: Sequence[Event] = ()) -> list[int]:
    """Positions of the records of one layer that count, given step and wall time of each.

    `run` are the events of the run's tables, in order of arrival: where the run went back after a
    record was written, that record no longer counts, even if its own layer was never measured
    again. The result is strictly increasing in step.
    """
    arrived = heapq.merge(run, records, key=lambda event: event[1])
    order = list(dict.fromkeys(arrived))
    kept = {order[position] for position in surviving([step for step, _ in order])}
    alive = [position for position, event in enumerate(records) if event in kept]
    return [alive[at] for at in surviving([records[position][0] for position in alive])]
