"""A run's own files, written beside and moved: a kill at any moment leaves whole ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from sparsight.errors import RunError
from sparsight.system.atomic_files import replacing

__all__ = ["read_state", "write_bytes", "write_state"]


def read_state(path: Path, *, mapped: bool = False) -> dict[str, Any] | None:
    """What `write_state` wrote; None where there is no such file.

    `mapped` maps tensors instead of reading them, for who wants what lies beside them: a checkpoint
    can be half a gigabyte. Raises RunError for a damaged file.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # of many kinds, by where the file is damaged
        raise RunError(f"cannot read {path} ({error}); remove it to start again") from None
    return state


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain containers. Raises RunError where that is impossible."""
    _write(path, lambda file: torch.save(state, file))


def write_bytes(path: Path, content: bytes) -> None:
    """The same of any content."""
    _write(path, lambda file: file.write(content))


def _write(path: Path, into: Callable[[IO[bytes]], Any]) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, unfinished), open(unfinished, "wb") as file:
            into(file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # PyTorch's own for a full disk
        raise RunError(f"cannot write {path}: {error}") from None
