"""Event files of our own: named so that they are read in order, and whole whatever the disk does.

TensorBoard keeps the part of a record that it has read and waits for the rest. So a record that a
full disk cut short is neither cut off nor written anew while somebody may be reading: what remains
of it is written first, as soon as there is room.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from .. import schema
from ..errors import RunError
from ..system.atomic_files import replacing
from . import events

__all__ = ["EventFile", "Place", "is_read_last", "last_place", "ours"]

_NUMBER = itertools.count()
_SUFFIX = ".sparsight"
_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\.(?:(\d+)\.)?")


@dataclass(frozen=True)
class Place:
    """Where a run ends, by the two numbers in the names of event files and by its wall times."""

    group: int = 0
    """0, or seconds since 1970: sorts before, or after, files that other writers name by those."""
    moment: int = 0
    """Of the last file of our own, in milliseconds since 1970."""
    wall_time: float = 0.0
    """The latest of all events, in seconds since 1970."""


def ours(path: Path) -> bool:
    """Whether an event file is one of our own, by its name."""
    return path.name.endswith(_SUFFIX)


def last_place(logdir: Path) -> Place:
    """Where the run in a directory ends: what is added has to come after that.

    TensorBoard reads files by name and we merge them by wall time; whatever clock they were written
    by, a file that is read too early would lose the epochs that it holds.
    """
    place = Place()
    paths = logdir.iterdir() if logdir.is_dir() else ()
    for path in filter(events.is_event_file, paths):
        if ours(path) or _holds_records(path):
            place = _after(place, path)
    return place


def is_read_last(path: Path) -> bool:
    """Whether no file beside it that holds records of ours is read after an event file."""
    later = (other for other in path.parent.iterdir() if other.name > path.name)
    return not any(ours(p) or _holds_records(p) for p in later if events.is_event_file(p))


def _after(place: Place, path: Path) -> Place:
    match = _NAME.match(path.name)
    group, moment = (int(part or 0) for part in match.groups()) if match else (0, 0)
    if not ours(path):
        group, moment = max(group, int(time.time())) + 1, 0
    latest = max(place.wall_time, events.latest_wall_time(path))
    return Place(max(place.group, group), max(place.moment, moment), latest)


def _holds_records(path: Path) -> bool:
    """Whether another writer's file, that an earlier process shared, holds records of ours."""
    plugins = set(schema.PLUGIN_OF.values())
    try:
        return any(
            value.metadata.plugin_data.plugin_name in plugins
            for event in itertools.islice(events.read_events(path), 1000)
            for value in event.summary.value
        )
    except RunError:
        return False  # damaged, or gone by now


class EventFile:
    """An event file of our own, which starts with some records; it appears whole or not at all.

    Sorts after all files that hold records of ours, and before those of others where it can. Raises
    OSError where it cannot be written.
    """

    def __init__(self, logdir: Path, records: Iterable[bytes]) -> None:
        logdir.mkdir(parents=True, exist_ok=True)
        last = last_place(logdir)
        now = max(time.time(), last.wall_time)
        moment = max(int(time.time() * 1000), last.moment + 1)
        unique = f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBER)}{_SUFFIX}"
        self._path = logdir / f"events.out.tfevents.{last.group:010d}.{moment:013d}.{unique}"
        start = events.framed(events.file_version(now))
        _write_whole(self._path, logdir / f"unfinished.{unique}", [start, *records])
        self._file = open_file(self._path, "ab")  # not buffered: what is written is in the file
        self._whole = self._path.stat().st_size
        self._cut = 0

    def append(self, record: bytes) -> None:
        """Append a record. After a failure the same one must follow: it goes on where that ended.

        Raises OSError.
        """
        while self._cut < len(record):
            self._cut += self._file.write(memoryview(record)[self._cut :])
        self._whole += len(record)
        self._cut = 0

    @property
    def is_there(self) -> bool:
        """Whether the file can still be found under its name."""
        return self._path.exists()

    def close(self) -> None:
        """Close the file, without a record that was cut short."""
        with contextlib.suppress(OSError):
            if self._cut:
                self._file.truncate(self._whole)
        with contextlib.suppress(OSError):
            self._file.close()


def open_file(path: Path, mode: Literal["xb", "ab"]) -> FileIO:
    """A file without a buffer, whose write may take a part only, as the disk has room."""
    return path.open(mode, buffering=0)


def _write_whole(path: Path, unfinished: Path, records: Sequence[bytes]) -> None:
    with replacing(path, unfinished), open_file(unfinished, "xb") as file:
        for record in records:
            rest = memoryview(record)
            while rest:
                rest = rest[file.write(rest) :]
