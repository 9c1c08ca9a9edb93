"""The demo's folders: it removes only what it has made itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sparsight.errors import RunError, UsageError
from sparsight.runs.writer import RunWriter

__all__ = ["make_way"]

_MARKER = "sparsight-demo.txt"
_TEXT = "Made by `sparsight demo`, which deletes this folder when it runs here again.\n"
_FILES = ("*tfevents*", "probes.npz", "sparsight.lock", "unfinished.*", _MARKER)
_CHECKPOINTS = ("epoch_*.onnx", "epoch_*.onnx.unfinished")


def make_way(logdir: Path, names: Sequence[str]) -> None:
    """Make these folders in `logdir` anew, each with a marker in it before anything else.

    Raises UsageError, before anything is removed, where there is something that an earlier demo did
    not make, and RunError where one is running or the folders cannot be made.
    """
    folders = [logdir / name for name in names]
    try:
        for path in _entries(logdir):
            if path not in folders:
                raise _foreign(path)
            _check(path)
        for folder in folders:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            (folder / _MARKER).write_text(_TEXT, "utf-8")
    except OSError as error:
        path = error.filename or logdir
        raise RunError(f"cannot write to {path}: {error.strerror or error}") from None


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _check(folder: Path) -> None:
    """Raises where a folder is not the demo's, or holds what is not."""
    if folder.is_symlink() or not folder.is_dir():
        raise _foreign(folder)
    inside = _entries(folder)
    if inside and folder / _MARKER not in inside:
        raise UsageError(
            f"{folder} was not made by the demo: it holds {inside[0].name!r} but no "
            f"{_MARKER}; remove it yourself, or pass another --logdir"
        )
    for path in inside:
        for other in _entries(path) if _is_folder(path, "checkpoints") else [path]:
            patterns = _FILES if other is path else _CHECKPOINTS
            if other.is_symlink() or not other.is_file() or not _fits(other, patterns):
                raise _foreign(other)
    writer = RunWriter(folder)
    writer.claim()  # refused while a demo is running
    writer.close()


def _is_folder(path: Path, name: str) -> bool:
    return path.name == name and path.is_dir() and not path.is_symlink()


def _fits(path: Path, patterns: Sequence[str]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def _foreign(path: Path) -> UsageError:
    return UsageError(
        f"{path.parent} holds {path.name!r}, which the demo did not make; pass another --logdir"
    )
