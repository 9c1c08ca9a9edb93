"""Where probes come from: files of arrays, pictures, or a Python function."""

from __future__ import annotations

import glob
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError, SparsightError
from .probe_set import InputSpec, chosen_rows, load_probes

__all__ = ["PictureOptions", "choose", "out_of_range", "read_probes"]

_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class PictureOptions:
    """How pictures become a model's input."""

    size: tuple[int, int] | None = None
    """Height and width; those that the model wants unless given."""
    scale: float | None = None
    """Grey levels 0 ... 255 are multiplied by it: 1/255 unless given, 1 for whole numbers."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Subtracted, and divided by, after scaling; one number, or one a channel."""
    layout: Literal["auto", "nchw", "nhwc"] = "auto"


def read_probes(
    source: str, wanted: Sequence[InputSpec], pictures: PictureOptions | None = None
) -> Arrays:
    """The arrays of a source: an .npz or .npy file; a picture, a folder or a glob of pictures; or
    "module:name", a Python function that returns an array, or a dictionary of arrays.

    Raises ProbeError, with what is wrong, where there are none.
    """
    path = Path(source)
    if path.suffix in (".npz", ".npy"):
        return load_probes(path)
    if path.is_dir() or path.suffix.lower() in _PICTURES:
        found = _picture_files(path)
        return {"": _pictures(found, _picture_input(wanted), pictures or PictureOptions())}
    module, colon, name = source.partition(":")
    if colon and name.isidentifier() and not path.exists():
        return _called(module, name)
    return load_probes(path)


def choose(arrays: Arrays, most: int | None, seed: int) -> Arrays:
    """At most `most` of the samples, the same ones for the same seed, in their own order."""
    counts = {len(array) for array in arrays.values() if np.ndim(array)}
    if most is None or not counts or max(counts) <= most:
        return arrays
    count = max(counts)
    rows = chosen_rows(count, most, seed)
    return {
        name: array[rows] if np.ndim(array) and len(array) == count else array
        for name, array in arrays.items()
    }


def out_of_range(array: NDArray[Any]) -> str:
    """What looks wrong about the values of an input of floats, in words, or nothing."""
    if array.dtype.kind != "f" or not array.ndim or not array.size:
        return ""
    part = array[:64].astype(np.float64)
    lowest, highest = float(np.nanmin(part)), float(np.nanmax(part))
    found = f"values range from {lowest:.4g} to {highest:.4g}"
    if not np.isfinite(part).all():
        return f"{found}, and some are NaN or infinite"
    if highest == lowest:
        return f"all values are {lowest:.4g}"
    if array.ndim >= 3 and highest > 100 and lowest >= 0:
        return f"{found}, which looks like unscaled grey levels; most models expect values up to 1"
    if array.ndim >= 3 and highest - lowest < 0.02:
        return f"{found}, which looks like grey levels that were scaled twice"
    return ""


def _picture_files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _PICTURES)
    elif path.exists():
        found = [path]
    else:
        found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not found:
        raise ProbeError(f"no images in {path} (looked for {', '.join(sorted(_PICTURES))})")
    return found


def _picture_input(wanted: Sequence[InputSpec]) -> InputSpec:
    fitting = [spec for spec in wanted if spec.shape is not None and len(spec.shape) in (3, 4)]
    if len(fitting) != 1 or len(wanted) != 1:
        specs = ", ".join(f"{spec.name!r} {spec}" for spec in wanted)
        raise ProbeError(
            "images can be the probes only of a model with a single input for images; this "
            f"one has {specs}"
        )
    return fitting[0]


def _pictures(
    paths: Sequence[Path], spec: InputSpec, options: PictureOptions
) -> NDArray[np.floating[Any] | np.integer[Any]]:
    first = _layout(spec, options) == "nchw"
    shape = spec.shape or ()
    sides = shape[-2:] if first else shape[-3:-1]
    channels = 1 if len(shape) == 3 else shape[1] if first else shape[-1]
    if len(shape) == 3:
        sides = shape[1:]
    size = options.size or tuple(side for side in sides if isinstance(side, int))
    if len(size) != 2:
        raise ProbeError(
            f"input {spec.name!r} takes images of any size ({spec}); choose one, such as "
            "--size 64x64"
        )
    images = [_picture(path, size, 1 if channels == 1 else 3) for path in paths]
    values = _normalised(np.stack(images).astype(np.float32), options, spec.dtype.kind == "f")
    if len(shape) == 3:
        values = values[..., 0]
    elif first:
        values = np.moveaxis(values, -1, 1)
    if spec.dtype.kind in "iu":
        limits = np.iinfo(spec.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.ascontiguousarray(values.astype(spec.dtype))


def _layout(spec: InputSpec, options: PictureOptions) -> str:
    if options.layout != "auto" or spec.shape is None or len(spec.shape) == 3:
        return options.layout if options.layout != "auto" else "nchw"
    if spec.shape[1] in (1, 3):
        return "nchw"
    if spec.shape[-1] in (1, 3):
        return "nhwc"
    raise ProbeError(
        f"input {spec.name!r} expects {spec}; use --layout to say which axis holds the channels"
    )


def _picture(path: Path, size: Sequence[int], channels: int) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError  # TensorBoard brings it

    try:
        with Image.open(path) as image:
            converted = image.convert("L" if channels == 1 else "RGB")
            resized = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise ProbeError(f"cannot read {path} as an image: {error}") from None
    return np.asarray(resized, np.uint8).reshape(*size, channels)


def _normalised(
    values: NDArray[np.float32], options: PictureOptions, floats: bool
) -> NDArray[np.float32]:
    scale = options.scale if options.scale is not None else (1 / 255 if floats else 1)
    for name, numbers in (("mean", options.mean), ("std", options.std)):
        if len(numbers) not in (0, 1, values.shape[-1]):
            raise ProbeError(
                f"--{name} has {len(numbers)} numbers, but the input has {values.shape[-1]} "
                "channels"
            )
    if any(number <= 0 for number in options.std):
        raise ProbeError("--std must be above 0")
    scaled = values * np.float32(scale) - np.array(options.mean or 0, np.float32)
    return np.asarray(scaled / np.array(options.std or 1, np.float32), np.float32)


def _called(module: str, name: str) -> Arrays:
    sys.path.insert(0, "")  # as `python -m` does: the user's own modules
    try:
        function = getattr(importlib.import_module(module), name)
        result = function() if callable(function) else function
    except SparsightError:
        raise
    except Exception as error:  # the user's own code: anything
        what = f"{type(error).__name__}: {error}"
        raise ProbeError(f"cannot get probes from {module}:{name}: {what}") from error
    finally:
        sys.path.remove("")
    named = result if isinstance(result, Mapping) else {"": result}
    arrays = {str(key): np.asarray(value) for key, value in named.items()}
    kinds = {array.dtype.kind for array in arrays.values()}
    if not kinds or kinds - set("buifU") or isinstance(result, str):
        raise ProbeError(
            f"{module}:{name} returned a {type(result).__name__}; expected an array, or a "
            "dictionary of arrays"
        )
    return arrays
