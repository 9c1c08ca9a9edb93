"""Checkpoint files, and the epochs in their names."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

__all__ = ["Checkpoint", "find_checkpoints", "step_of"]

_NUMBER = re.compile(r"(?<![\d.])-?\d+(?![\d.]*\.\d)")
_MARKED = re.compile(
    r"(?:epoch|ep|step|iter|checkpoint|ckpt)s?(?:[_=. ]+|-)?(-?\d+)", re.IGNORECASE
)


@dataclass(frozen=True, order=True)
class Checkpoint:
    """A saved model and the epoch it was saved at."""

    step: int
    path: Path


def find_checkpoints(
    sources: Iterable[str | Path], pattern: str | None = None, *, some: bool = False
) -> list[Checkpoint]:
    """The checkpoints of files, globs and folders (their .onnx files), by step.

    The step is read from the file name by `step_of`. A single checkpoint without one has step 0.
    With `some`, one of the sources must exist, rather than each. Raises UsageError where
    nothing is found, where a name holds no step, or where two hold the same.
    """
    paths = list(dict.fromkeys(_expand_all(sources, some)))
    steps = [step_of(path.name, pattern) for path in paths]
    if len(paths) == 1 and steps[0] is None:
        return [Checkpoint(0, paths[0])]
    found: dict[int, Path] = {}
    for path, step in zip(paths, steps, strict=True):
        if step is None:
            raise UsageError(
                f"no epoch in the file name {path.name!r}; name checkpoints like "
                "epoch_07.onnx, or use --step-pattern with a group for the number, such as "
                "'model-([0-9]+)k'"
            )
        if step in found:
            raise UsageError(
                f"{found[step]} and {path} are both step {step}; use --step-pattern, or give "
                "only one of them"
            )
        found[step] = path
    return sorted(Checkpoint(step, path) for step, path in found.items())


def step_of(name: str, pattern: str | None = None) -> int | None:
    """The epoch in a file name, or None.

    By `pattern`, a regular expression whose first group is the number; else the number after a word
    like epoch, step or checkpoint ("run2_epoch=07-loss=0.31.onnx" is 7); else the last whole number
    ("vgg16-12.onnx" is 12); -1 is "before training" ("epoch_-1.onnx").
    """
    stem = name.rsplit(".", 1)[0] if name.lower().endswith(".onnx") else name
    if pattern is not None:
        return _by_pattern(name, pattern)
    marked = _MARKED.findall(stem)
    if marked:
        return int(marked[-1])
    numbers = _NUMBER.findall(stem)
    # "vgg16-12": the hyphen joins, it is no minus sign; only a marked number can be negative
    return abs(int(numbers[-1])) if numbers else None


def _by_pattern(name: str, pattern: str) -> int | None:
    try:
        match = re.search(pattern, name)
        return None if match is None else int(match[1])
    except (re.error, IndexError, TypeError, ValueError) as error:
        raise UsageError(
            f"--step-pattern {pattern!r} finds no number in {name!r} ({error}); expected a "
            "regular expression with one group, such as 'epoch([0-9]+)'"
        ) from None


def _expand_all(sources: Iterable[str | Path], some: bool) -> Sequence[Path]:
    found: list[Path] = []
    missing: UsageError | None = None
    for source in sources:
        try:
            found += _expand(source)
        except UsageError as error:
            if not some:
                raise
            missing = missing or error
    if missing is not None and not found:
        raise missing
    return found


def _expand(source: str | Path) -> Sequence[Path]:
    path = Path(source)
    if path.is_dir():
        found = sorted(path.glob("*.onnx"))
        if not found:
            raise UsageError(f"no .onnx files in the folder {path}")
        return found
    if not path.exists() and glob.has_magic(str(source)):
        found = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
        if not found:
            raise UsageError(f"no files match {str(source)!r}")
        return [inner for entry in found for inner in (_expand(entry))]
    if not path.exists():
        raise UsageError(f"no such file: {path}")
    return [path]
