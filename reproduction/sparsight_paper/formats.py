"""Reading CIFAR-10, CIFAR-100 and Tiny-ImageNet as their publishers lay them out.

Every reader gives images uint8 [N, 3, side, side] and labels int64 [N], in the published order. Of
CIFAR the binary and the Python version are read; the latter's pickles are never executed: nothing
but arrays and plain containers is let through.
"""

from __future__ import annotations

import codecs
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsight.errors import SparsightError, UsageError, nearest

__all__ = ["DATASETS", "DataError", "DatasetSpec", "Part", "Split", "folder_of", "read_split"]

Split = Literal["training", "validation"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Part = tuple[Images, Labels]
Reader = Callable[[Path, Split], Iterator[Part]]
"""Reads a split of a data set from its folder, part by part."""


class DataError(SparsightError):
    """A data set that is not there, incomplete, or not in its publisher's layout."""


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a data set."""

    title: str
    classes: int
    side: int
    counts: dict[Split, int]
    folders: dict[str, Reader]
    """A reader by the name of the folder that it reads, the preferred one first."""


def folder_of(name: str, root: Path) -> Path | None:
    """The data set's folder within (or at) `root`; None where it is not there."""
    for folder in _spec(name).folders:
        for candidate in (root / folder, root):
            if candidate.name == folder and candidate.is_dir():
                return candidate
    return None


def read_split(name: str, folder: Path, split: Split, limit: int | None = None) -> Part:
    """The first `limit` images of a split; without a limit all, and all must be there.

    Raises DataError for files that are missing, damaged or too few.
    """
    spec = _spec(name)
    wanted = spec.counts[split] if limit is None else limit
    if wanted > spec.counts[split]:
        raise DataError(f"{spec.title} has {spec.counts[split]} {split} images, not {wanted}")
    images, labels, found = [], [], 0
    for part_images, part_labels in spec.folders[folder.name](folder, split):
        images.append(part_images)
        labels.append(part_labels)
        found += len(part_images)
        if found >= wanted:
            break
    if found < wanted:
        raise DataError(
            f"{folder} holds {found} {split} images of {spec.title}, expected {wanted}; "
            "download the whole set"
        )
    classes = np.concatenate(labels)[:wanted]
    if classes.max(initial=0) >= spec.classes:
        raise DataError(
            f"{folder} holds class {classes.max()}, but {spec.title} has {spec.classes}"
        )
    return np.concatenate(images)[:wanted], classes


def _spec(name: str) -> DatasetSpec:
    if name not in DATASETS:
        raise UsageError(f"unknown data set {name!r}; {nearest(name, DATASETS)}")
    return DATASETS[name]


def _cifar(files: dict[Split, list[str]], parsed: Callable[[Path], Part]) -> Reader:
    """CIFAR's files in their order; without one, images of later ones would get its positions."""

    def read(folder: Path, split: Split) -> Iterator[Part]:
        for name in files[split]:
            if not (folder / name).is_file():
                raise DataError(f"{folder} lacks {name}; download the whole set")
            yield parsed(folder / name)

    return read


def _binary(path: Path, label_bytes: int) -> Part:
    """Records of label bytes, the last of which is the class, and 3,072 pixel bytes."""
    content, record = np.frombuffer(_bytes(path), np.uint8), label_bytes + 3072
    if not content.size or content.size % record:
        raise DataError(f"{path} is not a CIFAR file: expected records of {record} bytes")
    rows = content.reshape(-1, record)
    return _images(rows[:, label_bytes:]), rows[:, label_bytes - 1].astype(np.int64)


def _pickled(path: Path, label: bytes) -> Part:
    content = _unpickled(path)
    data, labels = content.get(b"data"), content.get(label)
    if not isinstance(data, np.ndarray) or not isinstance(labels, list):
        raise DataError(f"{path} is not a CIFAR file: {label.decode()} or data is missing")
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
        raise DataError(f"{path} is not a CIFAR file: expected rows of 3072 bytes")
    return _images(data), np.array(labels, np.int64)


def _images(rows: NDArray[Any]) -> Images:
    return np.ascontiguousarray(rows).reshape(-1, 3, 32, 32)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _unpickled(path: Path) -> dict[Any, Any]:
    try:
        content = _Arrays(io.BytesIO(_bytes(path)), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle fails in many ways
        raise DataError(f"{path} is not a CIFAR file: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR file: expected a dictionary")
    return content


class _Arrays(pickle.Unpickler):
    """Lets arrays of numbers through, bytes, and what pickle builds without any import."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _empty_array,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): _number_type,
            ("_codecs", "encode"): codecs.encode,  # how Python 3 writes bytes in old protocols
        }
        if (module, name) not in allowed:
            raise DataError(f"the pickle asks for {module}.{name}, which no CIFAR file needs")
        return allowed[module, name]


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes | str) -> NDArray[Any]:
    return np.ndarray((0,), np.uint8)


def _number_type(code: bytes | str, *_: Any) -> np.dtype[Any]:
    kind = np.dtype(code.decode() if isinstance(code, bytes) else code)
    if kind.kind not in "uif":
        raise DataError(f"unexpected array of {kind}")
    return kind


def _tiny_imagenet(folder: Path, split: Split) -> Iterator[Part]:
    """JPEG files: by class in train/, all in one folder with a table in val/."""
    try:
        names = (folder / "wnids.txt").read_text("utf-8").split()
    except OSError as error:
        raise DataError(
            f"{folder} is not a Tiny-ImageNet folder: wnids.txt: {error.strerror}"
        ) from None
    if not names:
        raise DataError(f"{folder / 'wnids.txt'} lists no class; download the whole set")
    classes = {name: label for label, name in enumerate(names)}
    listed = _training_files if split == "training" else _validation_files
    for path, name in listed(folder, names):
        if name not in classes:
            raise DataError(f"{path} is of class {name}, which wnids.txt does not list")
        yield _jpeg(path)[None], np.array([classes[name]], np.int64)


def _training_files(folder: Path, names: list[str]) -> Iterator[tuple[Path, str]]:
    """Classes in turn, so that the first N images hold all classes alike."""
    files = [sorted((folder / "train" / name / "images").glob("*.JPEG")) for name in names]
    most, (fewest, short) = max(map(len, files)), min(zip(map(len, files), names, strict=True))
    if fewest < most:  # the images after those that are missing would get their positions
        raise DataError(
            f"{folder} lacks training images: class {short} has {fewest}, others have {most}; "
            "download the whole set"
        )
    for paths in zip(*files, strict=True):
        yield from zip(paths, names, strict=True)


def _validation_files(folder: Path, names: list[str]) -> Iterator[tuple[Path, str]]:
    table = folder / "val" / "val_annotations.txt"
    for line in _bytes(table).decode("utf-8", "replace").splitlines():
        fields = line.split("\t")
        if len(fields) < 2:
            raise DataError(f"{table}: a line without a class: {line!r}")
        yield folder / "val" / "images" / fields[0], fields[1]


def _jpeg(path: Path) -> Images:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))  # some are grey
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read {path} as an image: {error}") from None
    if pixels.shape != (64, 64, 3):
        raise DataError(f"{path} is {pixels.shape[1]} x {pixels.shape[0]}; expected 64 x 64")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


_TEN = [f"data_batch_{number}" for number in range(1, 6)]

DATASETS = {
    "cifar-10": DatasetSpec(
        title="CIFAR-10",
        classes=10,
        side=32,
        counts={"training": 50_000, "validation": 10_000},
        folders={
            "cifar-10-batches-bin": _cifar(
                {"training": [f"{n}.bin" for n in _TEN], "validation": ["test_batch.bin"]},
                partial(_binary, label_bytes=1),
            ),
            "cifar-10-batches-py": _cifar(
                {"training": _TEN, "validation": ["test_batch"]}, partial(_pickled, label=b"labels")
            ),
        },
    ),
    "cifar-100": DatasetSpec(
        title="CIFAR-100",
        classes=100,
        side=32,
        counts={"training": 50_000, "validation": 10_000},
        folders={
            "cifar-100-binary": _cifar(
                {"training": ["train.bin"], "validation": ["test.bin"]},
                partial(_binary, label_bytes=2),
            ),
            "cifar-100-python": _cifar(
                {"training": ["train"], "validation": ["test"]},
                partial(_pickled, label=b"fine_labels"),
            ),
        },
    ),
    "tiny-imagenet": DatasetSpec(
        title="Tiny-ImageNet",
        classes=200,
        side=64,
        counts={"training": 100_000, "validation": 10_000},
        folders={"tiny-imagenet-200": _tiny_imagenet},
    ),
}
"""By the name that `--data-set` takes. "Validation" is CIFAR's test split, as in the paper."""
