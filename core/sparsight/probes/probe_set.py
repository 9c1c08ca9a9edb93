"""Probe sets: the fixed held-out samples that every epoch is measured on."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError, UsageError
from ..schema import ShownProbes, probe_digest
from .array_files import load_probes

__all__ = [
    "InputSpec",
    "ProbeSet",
    "SampleAxes",
    "load_probes",
    "match_probes",
    "rows_of",
    "shown_positions",
    "shown_probes",
]

Arrays = Mapping[str, NDArray[Any]]

SampleAxes = Mapping[str, int | None]
"""By input, the axis that counts the samples, the first of inputs that are not named; None for an
input that is the same for all samples, as scalars are."""

_SERIES_LENGTH = 512  # stored values of a shown series


@dataclass(frozen=True)
class InputSpec:
    """What a model expects of one input."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] | None
    """Sides that may be anything are text; None where the rank is not known."""
    axis: int | None = 0
    """The axis that counts the samples; None if the input is the same for all of them."""

    def __str__(self) -> str:
        sides = "any shape" if self.shape is None else f"[{', '.join(map(str, self.shape))}]"
        return f"{'text' if self.text else self.dtype} {sides}"

    @property
    def text(self) -> bool:
        """Whether the input takes strings."""
        return self.dtype.kind == "U"

    @property
    def fixed_batch(self) -> int | None:
        """The only number of samples that the input takes at once, or None."""
        side = self.shape[self.axis] if self.shape and self.axis is not None else None
        return side if isinstance(side, int) else None


@dataclass(frozen=True)
class ProbeSet:
    """Samples matched to the inputs of a model."""

    arrays: Arrays
    """One array an input, in the model's order."""
    batch: int | None
    """The only number of samples that the model takes at once, or None."""
    axes: SampleAxes = field(default_factory=dict)

    @cached_property
    def by_sample(self) -> Arrays:
        """The inputs that hold something for each sample, each as [N, ...]."""
        return {
            name: np.moveaxis(array, axis, 0)
            for name, array in self.arrays.items()
            if (axis := _axis_of(name, array, self.axes)) is not None
        }

    @property
    def samples(self) -> tuple[NDArray[Any], ...]:
        """The arrays that hold something for each sample, each as [N, ...]."""
        return tuple(self.by_sample.values())

    @property
    def shapes_of_one(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs with one sample."""
        _, _, arrays = replace(self, batch=None).take(0, 1)
        return {name: array.shape for name, array in arrays.items()}

    def chosen(self, most: int | None, seed: int) -> ProbeSet:
        """At most `most` of the samples, the same ones for the same seed, in their own order."""
        rows = chosen_rows(len(self), most, seed)
        return self if rows is None else replace(self, arrays=rows_of(self.arrays, self.axes, rows))

    @property
    def same_for_all(self) -> dict[str, NDArray[Any]]:
        """The inputs that are the same for all samples, by name."""
        return {n: array for n, array in self.arrays.items() if n not in self.by_sample}

    def __len__(self) -> int:
        return len(self.samples[0])

    def batches(self, size: int) -> Iterator[tuple[int, int, dict[str, NDArray[Any]]]]:
        """Position of the first sample, their number, and the arrays, batch by batch."""
        first = 0
        while first < len(self):
            count, _, arrays = self.take(first, size)
            yield first, count, arrays
            first += count

    def take(self, first: int, size: int) -> tuple[int, int, dict[str, NDArray[Any]]]:
        """The samples from `first` on: how many, how many with what fills up, and the arrays.

        Where the model takes one number of samples only, the batch is that, and the last one is
        filled up with copies of its last sample.
        """
        fed = min(size, len(self) - first) if self.batch is None else self.batch
        count = min(fed, len(self) - first)
        rows: Any = slice(first, first + count)
        if count < fed:
            rows = np.minimum(np.arange(first, first + fed), len(self) - 1)
        return count, fed, rows_of(self.arrays, self.axes, rows)


def rows_of(arrays: Arrays, axes: SampleAxes, rows: Any) -> dict[str, NDArray[Any]]:
    """Some samples of each array, by a slice or their positions; what is the same for all stays."""
    return {
        name: array
        if (axis := _axis_of(name, array, axes)) is None
        else array[(slice(None),) * axis + (rows,)]
        for name, array in arrays.items()
    }


def _axis_of(name: str, array: NDArray[Any], axes: SampleAxes) -> int | None:
    axis = axes.get(name, 0) if array.ndim else None
    return axis if axis is None else axis % array.ndim


def chosen_rows(count: int, most: int | None, seed: int) -> NDArray[np.int64] | None:
    """Which of `count` samples are taken where at most `most` are wanted; None for all."""
    if most is None or count <= most:
        return None
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def match_probes(probes: Arrays | NDArray[Any], wanted: Sequence[InputSpec]) -> ProbeSet:
    """Give each input its array: by name, or by type and shape where only one array fits.

    The samples are counted along the axis that each of `wanted` names. Raises ProbeError where an
    array is missing or does not fit, saying what was expected.
    """
    named = {"": probes} if isinstance(probes, np.ndarray) else probes
    arrays = {name: _plain(array) for name, array in named.items()}
    if not wanted:
        raise ProbeError("the model has no inputs, so it computes the same for every probe")
    matched = {spec.name: _array_for(spec, arrays, wanted) for spec in wanted}
    fixed = {spec.name: spec.fixed_batch for spec in wanted if spec.fixed_batch is not None}
    found = ProbeSet(matched, None, {spec.name: spec.axis for spec in wanted})
    counts = {name: len(array) for name, array in found.by_sample.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ProbeError(
            f"every input needs the same number of samples, at least one: {_counted(found, counts)}"
            f"; {_AXES}"
        )
    if len(set(fixed.values())) > 1:
        raise ProbeError(
            f"the model's inputs take different numbers of samples: {_counted(found, fixed)}; "
            f"{_AXES}"
        )
    return replace(found, batch=next(iter(fixed.values()), None))


_AXES = (
    "use --input-axis NAME=1 if the second axis of an input counts its samples, or NAME=none "
    "if it is the same for all samples (in Python: input_axes={'NAME': 1})"
)


def _counted(samples: ProbeSet, counts: Mapping[str, int]) -> str:
    """The inputs, and what each counts on its axis."""
    given = {name: f"{name!r} {list(array.shape)}" for name, array in samples.arrays.items()}
    for name, count in counts.items():
        given[name] += f" ({count} on axis {samples.axes[name]})"
    return ", ".join(given.values())


def _array_for(spec: InputSpec, arrays: Arrays, wanted: Sequence[InputSpec]) -> NDArray[Any]:
    if spec.name in arrays:
        array = arrays[spec.name]
        misfit = _misfit(spec, array)
        if misfit:
            raise ProbeError(_sentence(spec, array, misfit))
        return array
    names = {other.name for other in wanted}
    free = {name: array for name, array in arrays.items() if name not in names}
    fitting = [name for name, array in free.items() if not _misfit(spec, array)]
    rivals = [s for s in wanted if s.name not in arrays and fitting]
    rivals = [s for s in rivals if any(not _misfit(s, free[name]) for name in fitting)]
    if len(fitting) == 1 and len(rivals) == 1:
        return free[fitting[0]]
    if len(free) == 1 and not fitting:
        (array,) = free.values()
        raise ProbeError(_sentence(spec, array, _misfit(spec, array)))
    given = ", ".join(f"{name!r} {a.dtype} {list(a.shape)}" for name, a in arrays.items())
    count = "more than one array fits" if fitting else "no array fits"
    raise ProbeError(
        f"input {spec.name!r} expects {spec}, but {count}: {given or 'there are none'}; name "
        f"the array after its input: numpy.savez(path, **{{{spec.name!r}: array}})"
    )


def _plain(array: Any) -> NDArray[Any]:
    """As an array; text that is stored as objects as text."""
    found = np.asarray(array)
    text = found.dtype.kind == "O" and all(isinstance(part, str) for part in found.flat)
    return found.astype(np.str_) if text else found


def _misfit(spec: InputSpec, array: NDArray[Any]) -> str:
    """What is wrong with an array for this input, or nothing."""
    if spec.text and array.dtype.kind != "U":
        return "convert them with array.astype(str)"
    if array.dtype != spec.dtype and not spec.text:
        return f"convert them with array.astype({str(spec.dtype)!r})"
    if spec.shape is None:
        inside = not array.ndim or spec.axis is None or -array.ndim <= spec.axis < array.ndim
        return "" if inside else f"there is no axis {spec.axis} to count the samples"
    if array.ndim != len(spec.shape):
        return f"expected {len(spec.shape)} axes, not {array.ndim}"
    for axis, (given, side) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if axis != spec.axis and isinstance(side, int) and given != side:
            return f"expected length {side} along axis {axis}, not {given}"
    return ""


def _sentence(spec: InputSpec, array: NDArray[Any], misfit: str) -> str:
    sentence = (
        f"input {spec.name!r} expects {spec}, but the probes are {array.dtype} "
        f"{list(array.shape)}: {misfit}"
    )
    others = [axis for axis in range(array.ndim) if not _misfit(replace(spec, axis=axis), array)]
    if others:
        sentence += (
            f"; if axis {others[0]} counts the samples, use --input-axis {spec.name}={others[0]}"
        )
    return sentence


def shown_positions(shown: int | Sequence[int], count: int) -> tuple[int, ...]:
    """Which of `count` probes have their maps kept: so many, spread over the set, or those named.

    Spread, since probe sets are often sorted by class. Raises UsageError for a negative number,
    ProbeError for a probe that is not there.
    """
    if not isinstance(shown, int | np.integer):
        positions = sorted({int(position) for position in shown})
        _check_positions(positions, count)
        return tuple(positions)
    if shown < 0:
        raise UsageError(f"cannot show {shown} probes; expected 0 or more")
    spread = np.linspace(0, count - 1, min(shown, count)).round()
    return tuple(int(position) for position in spread)


def shown_probes(
    arrays: Sequence[NDArray[Any]],
    indices: Sequence[int],
    constants: Sequence[NDArray[Any]] = (),
) -> ShownProbes:
    """What a run records of its probe set: its digest, and the shown probes as pictures or series.

    `arrays` holds one array an input, [N, ...]; the first is shown. The digest is also of
    `constants`, inputs that are the same for all samples. Arrays of 1 or 3 channels,
    first or last ([N, 1, A, B], [N, A, B, 3], [N, A, B]), become PNGs, grey levels spread over the
    range of all shown probes; [N, L] and [N, C, L] become series of their first channel; other
    shapes are not shown. Raises ProbeError where there is no sample, or fewer than asked for.
    """
    if not arrays or not len(arrays[0]):
        raise ProbeError("the probe set is empty; at least one sample is needed")
    first = np.asarray(arrays[0])
    _check_positions(indices, len(first))
    kind, items = _items(first[list(indices)])
    return ShownProbes(probe_digest([*arrays, *constants]), len(first), tuple(indices), kind, items)


def _check_positions(positions: Sequence[int], count: int) -> None:
    wrong = next((position for position in positions if not 0 <= position < count), None)
    if wrong is not None:
        raise ProbeError(f"there is no probe {wrong} to show; there are {count}, counted from 0")


def _items(samples: NDArray[Any]) -> tuple[Literal["image", "series", "none"], tuple[bytes, ...]]:
    if samples.dtype.kind not in "buif":
        return "none", ()
    values = samples.astype(np.float64)
    if values.ndim == 4 and values.shape[1] in (1, 3):
        values = np.moveaxis(values, 1, -1)
    if _is_picture(values.shape):
        return "image", tuple(_png(image) for image in _grey_levels(values))
    if values.ndim in (2, 3):
        series = values if values.ndim == 2 else values[:, 0]
        step = -(-series.shape[1] // _SERIES_LENGTH) or 1
        with np.errstate(over="ignore"):  # beyond float32 it is shown as infinite
            return "series", tuple(row[::step].astype("<f4").tobytes() for row in series)
    return "none", ()


def _is_picture(shape: tuple[int, ...]) -> bool:
    """Whether these are pictures: [N, A, B] could be N sequences of few channels."""
    return (len(shape) == 4 and shape[-1] in (1, 3)) or (len(shape) == 3 and min(shape[1:]) >= 8)


def _grey_levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    lo, hi = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if not lo < hi:
        return np.zeros(values.shape, np.uint8)
    levels = np.interp(np.nan_to_num(values, nan=lo), [lo, hi], [0, 255])
    return np.asarray(levels.round(), np.uint8)


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image  # TensorBoard brings it; loaded only where pictures are written

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1:] == (1,) else image).save(buffer, "PNG")
    return buffer.getvalue()
