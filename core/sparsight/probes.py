"""Probe sets: the fixed held-out samples that every epoch is measured on."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError, UsageError
from .schema import ShownProbes, probe_digest

__all__ = [
    "InputSpec",
    "ProbeSet",
    "load_probes",
    "match_probes",
    "shown_positions",
    "shown_probes",
]

Arrays = Mapping[str, NDArray[Any]]

_SERIES_LENGTH = 512  # stored values of a shown series


@dataclass(frozen=True)
class InputSpec:
    """What a model wants of one input."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] | None
    """Sides that may be anything are text; None where the rank is not known."""

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
        side = self.shape[0] if self.shape else None
        return side if isinstance(side, int) else None


@dataclass(frozen=True)
class ProbeSet:
    """Samples matched to the inputs of a model."""

    arrays: Arrays
    """One array an input, in the model's order; [N, ...] but for scalars."""
    batch: int | None
    """The only number of samples that the model takes at once, or None."""

    @property
    def samples(self) -> tuple[NDArray[Any], ...]:
        """The arrays that hold a row a sample."""
        return tuple(array for array in self.arrays.values() if array.ndim)

    @property
    def same_for_all(self) -> dict[str, NDArray[Any]]:
        """The inputs that are the same for all samples, by name."""
        return {name: array for name, array in self.arrays.items() if not array.ndim}

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
        return count, fed, {n: a[rows] if a.ndim else a for n, a in self.arrays.items()}


def load_probes(path: str | Path) -> Arrays:
    """The arrays of an .npz or .npy file; that of an .npy file is called "".

    Raises ProbeError for a file that is neither.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"": content}
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise ProbeError(f"no such file: {path}") from None
    except OSError as error:
        raise ProbeError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ProbeError(
            f"{path} is no .npz or .npy file of numbers ({error}); "
            "numpy.savez(path, input=array) writes one"
        ) from None


def match_probes(probes: Arrays | NDArray[Any], wanted: Sequence[InputSpec]) -> ProbeSet:
    """Give each input its array: by name, or by type and shape where only one array fits.

    Raises ProbeError where an array is missing or does not fit, saying what was wanted.
    """
    named = {"": probes} if isinstance(probes, np.ndarray) else probes
    arrays = {name: _plain(array) for name, array in named.items()}
    if not wanted:
        raise ProbeError("the model has no input: it computes the same for all probes")
    matched = {spec.name: _array_for(spec, arrays, wanted) for spec in wanted}
    fixed = {
        spec.fixed_batch for spec in wanted if spec.fixed_batch is not None and spec.shape != ()
    }
    counts = {len(array) for array in matched.values() if array.ndim}
    if len(counts) != 1 or counts == {0}:
        sizes = ", ".join(f"{name!r} {array.shape}" for name, array in matched.items())
        raise ProbeError(f"every input needs the same number of samples, at least one: {sizes}")
    if len(fixed) > 1:
        raise ProbeError(f"the model's inputs take different numbers of samples: {sorted(fixed)}")
    return ProbeSet(matched, fixed.pop() if fixed else None)


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
        f"input {spec.name!r} wants {spec}, and {count}: {given or 'there is none'}; "
        f"name it in the file: numpy.savez(path, **{{{spec.name!r}: array}})"
    )


def _plain(array: Any) -> NDArray[Any]:
    """As an array; text that is stored as objects as text."""
    found = np.asarray(array)
    text = found.dtype.kind == "O" and all(isinstance(part, str) for part in found.flat)
    return found.astype(np.str_) if text else found


def _misfit(spec: InputSpec, array: NDArray[Any]) -> str:
    """What is wrong with an array for this input, or nothing."""
    if spec.text and array.dtype.kind != "U":
        return "convert it: array.astype(str)"
    if array.dtype != spec.dtype and not spec.text:
        return f"convert it: array.astype({str(spec.dtype)!r})"
    if spec.shape is None:
        return ""
    if array.ndim != len(spec.shape):
        return f"it has {array.ndim} axes and {len(spec.shape)} were wanted"
    sides = zip(array.shape[1:], spec.shape[1:], strict=True)
    for axis, (given, side) in enumerate(sides, start=1):
        if isinstance(side, int) and given != side:
            return f"its axis {axis} is {given} long and {side} was wanted"
    return ""


def _sentence(spec: InputSpec, array: NDArray[Any], misfit: str) -> str:
    return (
        f"input {spec.name!r} wants {spec}; the probes are {array.dtype} {list(array.shape)}: "
        f"{misfit}"
    )


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
        raise UsageError(f"{shown} probes were to be shown; 0 is the least")
    spread = np.linspace(0, count - 1, min(shown, count)).round()
    return tuple(int(position) for position in spread)


def shown_probes(arrays: Sequence[NDArray[Any]], indices: Sequence[int]) -> ShownProbes:
    """What a run records of its probe set: its digest, and the shown probes as pictures or series.

    `arrays` holds one array an input, [N, ...]; the first is shown. Arrays of 1 or 3 channels,
    first or last ([N, 1, A, B], [N, A, B, 3], [N, A, B]), become PNGs, grey levels spread over the
    range of all shown probes; [N, L] and [N, C, L] become series of their first channel; other
    shapes are not shown. Raises ProbeError where there is no sample, or fewer than asked for.
    """
    if not arrays or not len(arrays[0]):
        raise ProbeError("the probe set is empty; at least one sample is needed")
    first = np.asarray(arrays[0])
    _check_positions(indices, len(first))
    kind, items = _items(first[list(indices)])
    return ShownProbes(probe_digest(arrays), len(first), tuple(indices), kind, items)


def _check_positions(positions: Sequence[int], count: int) -> None:
    wrong = next((position for position in positions if not 0 <= position < count), None)
    if wrong is not None:
        raise ProbeError(f"probe {wrong} was to be shown; there are {count}, from 0")


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
