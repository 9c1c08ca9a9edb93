"""Probe sets: the fixed held-out samples that every epoch is measured on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError
from .schema import ShownProbes, probe_digest

__all__ = ["shown_probes"]

_SERIES_LENGTH = 512  # stored values of a shown series


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
    if indices and not 0 <= min(indices) <= max(indices) < len(first):
        raise ProbeError(f"probe {max(indices)} was to be shown; there are {len(first)}, from 0")
    kind, items = _items(first[list(indices)])
    return ShownProbes(probe_digest(arrays), len(first), tuple(indices), kind, items)


def _items(samples: NDArray[Any]) -> tuple[Literal["image", "series", "none"], tuple[bytes, ...]]:
    if samples.dtype.kind not in "buif":
        return "none", ()
    values = samples.astype(np.float32)
    if values.ndim == 4 and values.shape[1] in (1, 3):
        values = np.moveaxis(values, 1, -1)
    if _is_picture(values.shape):
        return "image", tuple(_png(image) for image in _grey_levels(values))
    if values.ndim in (2, 3):
        series = values if values.ndim == 2 else values[:, 0]
        step = -(-series.shape[1] // _SERIES_LENGTH) or 1
        return "series", tuple(row[::step].astype("<f4").tobytes() for row in series)
    return "none", ()


def _is_picture(shape: tuple[int, ...]) -> bool:
    """Whether these are pictures: [N, A, B] could be N sequences of few channels."""
    return (len(shape) == 4 and shape[-1] in (1, 3)) or (len(shape) == 3 and min(shape[1:]) >= 8)


def _grey_levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    lo, hi = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = (values - lo) * (255 / (hi - lo) if hi > lo else 0)
    levels = np.nan_to_num(scaled, nan=0, posinf=255, neginf=0).clip(0, 255)
    return np.asarray(levels.round(), np.uint8)


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image  # TensorBoard brings it; loaded only where pictures are written

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1:] == (1,) else image).save(buffer, "PNG")
    return buffer.getvalue()
