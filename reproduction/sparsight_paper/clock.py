"""Time left, from the seconds that epochs took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .cells import Cell, Protocol
from .formats import DATASETS

__all__ = ["Clock", "in_words", "work"]

_Kind = tuple[str, str, str]
_Pace = dict[_Kind, tuple[int, float]]
"""By network, size and data set: epochs, and the seconds that they took."""

_MULTIPLICATIONS = {
    32: {"s": 6.48e6, "m": 98.3e6, "xxl": 1551e6, "LeNet": 0.652e6, "AlexNet": 254e6},
    64: {"s": 25.9e6, "m": 393e6, "xxl": 6202e6, "LeNet": 3.58e6, "AlexNet": 254e6},
}
"""Of a forward of one image, by its side, and by size or network."""


def work(cell: Cell, protocol: Protocol) -> float:
    """Multiplications of an epoch's forwards, a measure for epochs that were never timed.

    Only a measure: on a GPU two sizes are far closer to each other than their multiplications.
    """
    data = DATASETS[cell.data]
    images = protocol.training or data.counts["training"] - protocol.probes
    kind = cell.size or cell.network.removesuffix("-sr")
    return images * _MULTIPLICATIONS[data.side][kind]


@dataclass
class Clock:
    """What is left of a number of cells, `jobs` at a time.

    A kind of cell takes as long as its epochs took in this call, else as long as they took before;
    one that was never timed takes as long as its work lets expect.
    """

    jobs: int
    _began: float = field(default_factory=time.monotonic)
    _left: dict[Cell, int] = field(default_factory=dict)
    _work: dict[_Kind, float] = field(default_factory=dict)
    _before: _Pace = field(default_factory=dict)
    _measured: _Pace = field(default_factory=dict)

    def expect(self, cell: Cell, protocol: Protocol, done: int, seconds: float) -> None:
        """Count a cell in, of which `done` epochs took `seconds` in earlier calls."""
        self._left[cell] = protocol.epochs - done
        self._work[_kind(cell)] = work(cell, protocol)
        if done and seconds:
            _add(self._before, cell, done, seconds)

    def tick(self, cell: Cell, seconds: float) -> None:
        """An epoch of a cell is over."""
        self._left[cell] -= 1
        _add(self._measured, cell, 1, seconds)

    @property
    def passed(self) -> float:
        """Seconds since the clock began."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds left; after the first `tick`. The last cells have less company than `jobs`."""
        paces = {
            kind: seconds / epochs
            for kind, (epochs, seconds) in {**self._before, **self._measured}.items()
        }
        a_unit = sum(paces.values()) / sum(self._work[kind] for kind in paces)
        each = [
            epochs * paces.get(_kind(cell), a_unit * self._work[_kind(cell)])
            for cell, epochs in self._left.items()
        ]
        return max(sum(each) / self.jobs, max(each))


def in_words(seconds: float) -> str:
    """A time, to the minute: 1 h 05 min."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes else "under 1 min"


def _kind(cell: Cell) -> _Kind:
    return cell.network, cell.size, cell.data


def _add(pace: _Pace, cell: Cell, epochs: int, seconds: float) -> None:
    before, took = pace.get(_kind(cell), (0, 0.0))
    pace[_kind(cell)] = before + epochs, took + seconds
