"""Which positions of a layer belong to which probe.

Most layers put out [N, ...], in the order of the probes. Not all: PyTorch's attention computes on
[L, N, D] and flattens that to [L * N, D] for its last projection, others merge windows or frames
into the first axis. Shapes alone do not tell one from the other, so where they leave a doubt one
probe of a batch is exchanged: what changes is that probe's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..probes.probe_set import ProbeSet, SampleAxes, rows_of

__all__ = ["Layout", "default_layout", "exchanged", "found_layout", "is_clear"]

_UNLIKE = 10.0  # nats: a NaN where there was none has changed as much as an entropy can


@dataclass(frozen=True)
class Layout:
    """Where the probes are among the positions [*shape] of a layer."""

    axis: int = 0
    """The axis that counts them."""
    inner: bool = False
    """Whether, where it holds m positions of each of N probes, it is [m * N] and not [N * m]."""

    def maps(self, values: NDArray[Any], shape: tuple[int, ...], count: int) -> NDArray[Any]:
        """[*shape, K] in any form, a probe at a time: [count, *map, K].

        A layer that has one position for each probe has a map of [1, 1].
        """
        times = shape[self.axis] // count
        split = (times, count) if self.inner else (count, times)
        before, after = shape[: self.axis], shape[self.axis + 1 :]
        parts = values.reshape(*before, *split, *after, -1)
        parts = np.moveaxis(parts, self.axis + self.inner, 0)
        if times == 1:
            parts = parts.squeeze(self.axis + 1)
        return parts if parts.ndim > 2 else parts[:, None, None]


def is_clear(shape: tuple[int, ...], count: int, convolution: bool) -> bool:
    """Whether it is beyond doubt that the first axis counts the probes, one position each."""
    return shape[0] == count > 1 and (convolution or count not in shape[1:])


def default_layout(shape: tuple[int, ...], count: int) -> Layout | None:
    """Where the probes are by the shape alone; None where no axis can count them."""
    if count == 1 and 1 in shape:
        return Layout(shape.index(1))
    return Layout() if shape and shape[0] % count == 0 else None


def found_layout(
    before: NDArray[Any], after: NDArray[Any], shape: tuple[int, ...], count: int
) -> Layout | None:
    """Where the probes are, from the entropies of a batch and of one with another last probe.

    None where no axis tells that probe from the others: nothing changed, or every position did.
    """
    unlike = np.isnan(before) != np.isnan(after)
    change = np.where(unlike, _UNLIKE, np.nan_to_num(np.abs(after - before))).astype(np.float64)
    total = float(change.sum())
    best, most = None, (1 + 1 / count) / 2 * total  # some change elsewhere: quantisation's scale
    for layout in _possible(shape, count):
        own = float(layout.maps(change, shape, count)[-1].sum())
        if own > most:
            best, most = layout, own
    return best


def exchanged(
    feeds: Mapping[str, NDArray[Any]], count: int, axes: SampleAxes = MappingProxyType({})
) -> dict[str, NDArray[Any]] | None:
    """The same batch with another of its own probes as the last; None where all are the same."""
    probes = ProbeSet(feeds, None, axes).by_sample
    probes = {name: a for name, a in probes.items() if len(a) == count}
    for other in range(count - 1):
        if any(a[other].tobytes() != a[-1].tobytes() for a in probes.values()):
            order = [*range(count - 1), other]
            moved = {name: feeds[name] for name in probes}
            return dict(feeds) | rows_of(moved, axes, order)
    return None


def _possible(shape: tuple[int, ...], count: int) -> Iterator[Layout]:
    for axis, side in enumerate(shape):
        if side and side % count == 0:
            yield Layout(axis)
            if side != count:
                yield Layout(axis, inner=True)
