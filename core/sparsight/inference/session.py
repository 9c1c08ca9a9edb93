"""Running instrumented models, and what their outputs mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError
from ..graph.instrument import Instrumented, instrument
from ..graph.model import Model
from ..graph.nodes import attribute
from ..graph.shape_inference import sides
from ..graph.taps import Tap
from ..measure.batch import BatchStatistics
from ..probes.probe_set import SampleAxes, rows_of
from ..schema import STATISTICS
from .batch_axis import Layout, default_layout, exchanged, found_layout, is_clear
from .runtime import Program, Session

__all__ = ["Batch", "TapSession"]

Arrays = Mapping[str, NDArray[Any]]

_OF_EACH_RFAV = {s.measured: s for s in STATISTICS.values() if s.averaged is not None}

_FIRST_PART = 2  # samples: with one alone it does not show where the probes are
_CACHE = 2**23
"""Bytes of the largest layer that a CPU computes at once. A chain passes over its tensors a dozen
times: ResNet-50 in parts of 2 of 4 samples costs a twentieth less, smaller ones gain nothing."""


@dataclass(frozen=True)
class Batch:
    """What one run of an instrumented model gives."""

    layers: Mapping[str, BatchStatistics]
    outputs: Arrays
    """The model's own outputs that were asked for, by name."""


class TapSession:
    """An instrumented model on a device, ready to be fed.

    `folder` is where the model's external data lies, `source` what to call it in messages, `axes`
    count the samples of inputs that are not [N, ...]; the other options, and the errors, are those
    of `runtime.Session`, which is `runtime` here.
    """

    def __init__(
        self,
        instrumented: Instrumented,
        taps: Sequence[Tap],
        device: str = "auto",
        *,
        folder: Path | None = None,
        source: str = "the model",
        axes: SampleAxes = MappingProxyType({}),
        threads: int | None = None,
        memory_limit: int | None = None,
        bound: bool | None = None,
    ) -> None:
        self._taps = tuple(taps)
        self._source = source
        self._axes = axes
        self._layouts: dict[str, Layout | None] = {}
        self._opened = partial(Session, threads=threads, memory_limit=memory_limit, bound=bound)
        self._folder = folder
        self._counts_nan = False
        self._open(instrumented, device)
        self.device = self.runtime.device
        self._divisible = not self.device.accelerator and _is_divisible(instrumented.model, axes)
        self._part: int | None = None

    def run(
        self,
        feeds: Arrays,
        count: int,
        kept: int | None = None,
        outputs: Sequence[str] = (),
    ) -> Batch:
        """Measure one batch of `count` probes.

        Of the results, those of the first `kept` probes are returned: the others filled up a batch
        of fixed size. `outputs` of the model are returned as they are. Raises ModelError where the
        model fails, UsageError where one of `outputs` has no row a probe, OutOfMemoryError where
        the batch is too large for the device; then the next run starts with all memory free.
        """
        names = [*self._names, *outputs]
        values = self._in_parts(names, feeds, count)
        if not self._counts_nan and self._may_hold_nan(values):
            self._count_nan()
            names = [*self._names, *outputs]
            values = self._in_parts(names, feeds, count)
        if not self._layouts:
            self._settle(feeds, count, values)
        kept = count if kept is None else kept
        layers = {tap.name: self._statistics(tap, values, count, kept) for tap in self._taps}
        return Batch(layers, {name: values[name][:kept] for name in outputs})

    def _open(self, instrumented: Instrumented, device: str) -> None:
        self._instrumented = instrumented
        self._outputs = instrumented.outputs
        self._map_shapes = instrumented.map_shapes
        everything = (name for part in self._outputs.values() for name in part.values())
        self._names = list(dict.fromkeys(everything))
        self._shapes = frozenset(p["shape"] for p in self._outputs.values() if "shape" in p)
        parts = self._outputs.values()
        self._sums = [part["relu_sums"] for part in parts if "relu_sums" in part]
        self._sums += [part["plogp"] for part in parts if "channel_sums" in part]
        content, weights = instrumented.content, instrumented.model.weights
        program = Program(content, weights, self._folder, self._source)
        self.runtime = self._opened(program, device)

    def _may_hold_nan(self, values: Arrays) -> bool:
        """Whether ReLU inputs may hold a NaN that nobody counts: their sums are NaN then, or where
        they hold infinities of both signs; or whether sums hold RFAVs without an entropy."""
        return any(bool(np.isnan(values[name]).any()) for name in self._sums)

    def _count_nan(self) -> None:
        """Open the model anew, with chains that leave out what is NaN, and tell how much is."""
        made, device = self._instrumented, self.device.name
        self.runtime.close()
        self._counts_nan = True
        self._open(instrument(made.model, self._taps, made.statistics, with_nan=True), device)

    @property
    def part(self) -> int | None:
        """How many samples of a batch run at once; None for all of them."""
        return self._part

    @property
    def tells_probes_apart(self) -> bool:
        """Whether the first axis of each layer counts the probes, as far as is known: then the
        results of a batch's last ones can be left out."""
        return all(layout == Layout() for layout in self._layouts.values())

    def _in_parts(self, names: Sequence[str], feeds: Arrays, count: int) -> Arrays:
        """A batch, on a CPU in parts small enough for its caches."""
        parts = [] if self._layouts else self._first_part(names, feeds, count)
        first = _FIRST_PART * len(parts)
        while first < count:
            number = min(self._part or count, count - first)
            rows = slice(first, first + number)
            part = feeds if number == count else rows_of(feeds, self._axes, rows)
            parts.append(self._run(names, part, number))
            first += number
        if len(parts) == 1:
            return parts[0]
        return {name: self._joined(name, [part[name] for part in parts]) for name in names}

    def _first_part(self, names: Sequence[str], feeds: Arrays, count: int) -> list[Arrays]:
        """The first of the parts, which tells how large the others may be; none where a batch has
        to stay whole."""
        part = rows_of(feeds, self._axes, slice(_FIRST_PART))
        # Two probes that are alike do not show where the probes are; more of them may.
        if not self._divisible or count <= _FIRST_PART:
            return []
        if exchanged(part, _FIRST_PART, self._axes) is None:
            return []
        try:
            values = self._run(names, part, _FIRST_PART)
            self._settle(part, _FIRST_PART, values)
        except ModelError:  # its inputs promise any number of samples, and it takes one only
            self._divisible = False
            self._layouts.clear()
        return [] if self._part is None else [values]

    def _settle(self, feeds: Arrays, count: int, values: Arrays) -> None:
        """Learn from the first results where the probes are, and how many at once are best."""
        self._locate(feeds, count, values)
        if self._divisible and self.tells_probes_apart and self._taps:
            largest = max(
                values[self._outputs[tap.name]["plogp"]].nbytes * tap.channels for tap in self._taps
            )
            self._part = max(1, _CACHE * count // max(1, largest))

    def _joined(self, name: str, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The results of the parts of a batch as one."""
        if name not in self._shapes:
            return np.concatenate(arrays)
        return np.concatenate([[sum(shape[0] for shape in arrays)], arrays[0][1:]])

    def _run(self, names: Sequence[str], feeds: Arrays, count: int) -> Arrays:
        """Results by name. Raises UsageError where an output that was asked for has no row a
        sample: the parts of a batch could not be put together."""
        found = self.runtime.run(names, feeds, f"{count} samples of {self._source}")
        values = dict(zip(names, found, strict=True))
        for name in values.keys() - set(self._names):
            if values[name].shape[:1] != (count,):
                raise UsageError(
                    f"output {name!r} of {self._source} has the shape "
                    f"{list(values[name].shape)} for {count} samples; expected a row for each"
                )
        return values

    def _statistics(self, tap: Tap, values: Arrays, count: int, kept: int) -> BatchStatistics:
        part = {key: values[name] for key, name in self._outputs[tap.name].items()}
        shape = self._shape(tap, part)
        layout = self._layouts[tap.name]
        if layout is None or shape[layout.axis] % count:
            raise ModelError(
                f"{self._source}: layer {tap.name!r} has positions {list(shape)} for {count} "
                "probes, none of whose axes counts the probes; leave this layer out by naming the "
                "others"
            )
        highest = float(np.log(tap.channels))

        def maps(key: str) -> NDArray[Any]:
            found = layout.maps(part[key], shape, count)[:kept]
            return found[..., 0] if found.shape[-1] == 1 else found

        companions = {  # within their range, which rounding may leave
            name: np.clip(maps(name), *_OF_EACH_RFAV[name].limits(tap.channels))
            for name in part.keys() & _OF_EACH_RFAV.keys()
        }
        sums, rfavs = part.get("channel_sums"), part.get("rfavs")
        entropy = np.clip(-maps("plogp"), 0, highest)
        statistics = BatchStatistics(
            entropy=entropy,
            companions=companions,
            channel_sums=None if sums is None else _counted(sums, count, kept),
            rfavs=None if rfavs is None else layout.maps(rfavs, shape, count)[:kept],
        )
        # A ReLU behind a sum with more positions than the layer has says nothing about the layer.
        each = part.get("relu_at_most_zero")
        if each is not None and each.size == np.prod(shape) * tap.channels:
            return replace(
                statistics,
                relu_at_most_zero=layout.maps(each, shape, count)[:kept],
                relu_above_zero=layout.maps(part["relu_above_zero"], shape, count)[:kept],
            )
        if "relu_zeros" not in part:
            return statistics
        zeros, above = (
            _counted(part[key], count, kept) if key in part else None
            for key in ("relu_zeros", "relu_above")
        )
        assert zeros is not None
        return _with_relu(statistics, zeros, above, entropy.size)

    def _locate(self, feeds: Arrays, count: int, values: Arrays) -> None:
        """Settle, on the first batch, which positions are which probe's."""
        doubtful = {}
        for tap in self._taps:
            part = {key: values[name] for key, name in self._outputs[tap.name].items()}
            shape = self._shape(tap, part)
            self._layouts[tap.name] = default_layout(shape, count)
            if count > 1 and not is_clear(shape, count, convolution=tap.channel_axis == 1):
                doubtful[tap.name] = shape
        others = exchanged(feeds, count, self._axes) if doubtful else None
        if others is None:
            return
        names = [self._outputs[layer]["plogp"] for layer in doubtful]
        after = self._run(names, others, count)
        for (layer, shape), name in zip(doubtful.items(), names, strict=True):
            found = found_layout(values[name], after[name], shape, count)
            self._layouts[layer] = found or self._layouts[layer]

    def _shape(self, tap: Tap, part: Arrays) -> tuple[int, ...]:
        """Shape of a tapped tensor without its channels, of the fed batch."""
        known = self._map_shapes.get(tap.name)
        if known is None:
            if "shape" in part:
                return tuple(int(side) for side in np.delete(part["shape"], tap.channel_axis))
            return tuple(part["plogp"].shape[:-1])
        if int(np.prod(known)) != part["plogp"].shape[1]:
            raise ModelError(
                f"{self._source}: layer {tap.name!r} has {part['plogp'].shape[1]} positions, "
                f"but the model declares {'x'.join(map(str, known))}"
            )
        return (part["plogp"].shape[0], *known)


def _with_relu(
    statistics: BatchStatistics,
    zeros: NDArray[np.float64],
    above: NDArray[np.float64] | None,
    positions: int,
) -> BatchStatistics:
    """With at how many positions ReLU inputs are <= 0, and > 0, [D]; None where none is NaN."""
    numbers = np.full_like(zeros, positions) if above is None else zeros + above
    if max(zeros.max(), numbers.max()) > positions:
        return statistics
    maximum = np.where(numbers > 0, numbers - zeros, np.nan)
    return replace(
        statistics,
        relu_maximum=maximum,
        relu_zeros=int(zeros.sum()),
        relu_numbers=int(numbers.sum()),
    )


def _counted(counts: NDArray[Any], count: int, kept: int) -> NDArray[np.float64]:
    """A count a channel over all positions of the first `kept` of `count` probes, [D].

    What fills up a batch comes last: that is done only where the first axis counts the probes.
    """
    groups = counts.reshape(count if kept < count else 1, -1, counts.shape[-1])
    return np.asarray(groups[:kept].sum((0, 1), dtype=np.float64))  # float32 counts to 2^24 only


def _is_divisible(model: Model, axes: SampleAxes) -> bool:
    """Whether a batch in parts gives the same results: not where the model takes one number of
    samples only, nor where it quantises or normalises by the numbers of a whole batch."""
    counted = {value.name: axes.get(value.name, 0) for value in model.inputs}
    fixed = any(
        axis == counted[value.name] and isinstance(side, int)
        for value in model.inputs
        for axis, side in enumerate(sides(value))
    )
    return not fixed and not any(
        "Dynamic" in node.op_type or attribute(node, "training_mode", 0)
        for node in model.graph.node
    )
