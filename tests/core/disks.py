"""A disk that fills up in the middle of a record, as real ones do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sparsight.runs import event_files


class Disk:
    """Has room for so many bytes; None: for all."""

    def __init__(self) -> None:
        self.room: int | None = None

    def open_file(self, path: Path, mode: str) -> Any:
        disk, file = self, path.open(mode, buffering=0)

        class Limited:
            def write(self, content: memoryview) -> int:
                taken = len(content) if disk.room is None else min(len(content), disk.room)
                if content and not taken:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if disk.room is not None:
                    disk.room -= taken
                return file.write(content[:taken])

            def truncate(self, size: int) -> int:
                return file.truncate(size)

            def close(self) -> None:
                file.close()

            def __enter__(self) -> Limited:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

        return Limited()


@contextmanager
def limited_disk() -> Iterator[Disk]:
    """All event files of our own are on this disk."""
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_files, "open_file", disk.open_file)
        yield disk
