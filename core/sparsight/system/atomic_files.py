"""Files that are there whole or not at all: written beside their place, and moved there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(target: Path, unfinished: Path) -> Iterator[Path]:
    """Around the writing of `unfinished`, in the folder of `target`, whose place it takes.

    Where the writing raises, also by Ctrl-C, `target` stays as it was and `unfinished` is removed:
    a full disk wants its room back. Raises OSError where the file cannot be moved.
    """
    try:
        yield unfinished
        os.replace(unfinished, target)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
