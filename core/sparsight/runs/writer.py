"""Writing measurements into a run directory, for TensorBoard and for `reader`."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import schema
from ..errors import RunError
from ..measure.measurement import LayerMeasurement
from ..warning import warn
from . import events
from .event_files import EventFile, is_read_last, last_place
from .run_lock import RunClaim

__all__ = ["EventSink", "RunWriter", "step_event"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOST_WAITING = 2**27  # bytes
_MOMENT = 1e-3  # seconds
_SET_BACK = 60.0  # seconds by which clocks of machines may differ without a word


class EventSink(Protocol):
    """Where events go; the file writers of TensorBoard and PyTorch fit."""

    def add_event(self, event: Any) -> None:
        """Append one event."""

    def flush(self) -> None:
        """Make everything written so far visible to a reader."""


@dataclass(frozen=True)
class _Record:
    """An event to be written."""

    event: Any

    @cached_property
    def framed(self) -> bytes:
        return events.framed(self.event)


class RunWriter:
    """Writes one event a step into a run directory, and flushes it.

    `sink` shares another writer's event file: a second event file in a directory would freeze the
    user's own curves in TensorBoard's Python loader. A writer of its own names its file so that it
    sorts before others, and creates it with the first record. A new process always writes a new
    file. One writer at a time has a run: a further one in the same process takes it over, as when a
    notebook's cell is run again; one in another process is refused.

    What a full disk keeps from being written waits in memory, and is written as soon as there is
    room. Where another writer's file fails, or where the directory is deleted, recording goes on in
    a new file of our own, with a warning. Raises RunError where the directory cannot be written.
    """

    def __init__(self, logdir: str | Path, sink: EventSink | None = None) -> None:
        self.logdir = Path(logdir)
        self._claim = RunClaim(self.logdir)
        # What PyTorch's writer wraps: it would put the clock's time into our events.
        self._shared: EventSink | None = getattr(sink, "event_writer", sink)
        self._shared_seen = False
        self._local = sink is None or self.logdir.is_dir()  # what others write may be in a cloud
        self._file: EventFile | None = None
        self._waiting: deque[_Record] = deque()
        self._lost: list[int] = []
        self._latest: float | None = None
        self._probes_written: set[bytes] = set()

    @property
    def waiting(self) -> tuple[int, ...]:
        """The steps that wait for room on the disk."""
        return tuple(record.event.step for record in self._waiting)

    @property
    def lost(self) -> tuple[int, ...]:
        """The steps that are lost: more waited than memory should hold, or it never worked."""
        return tuple(self._lost)

    def claim(self) -> None:
        """Take the run now, rather than with the first record.

        Raises RunError where another process records into it.
        """
        if self._local:
            self._claim.take(self._hand_over, make=self._shared is None)

    def write(
        self,
        step: int,
        measurements: Sequence[LayerMeasurement],
        *,
        probes: schema.ShownProbes | None = None,
        scalars: Mapping[str, float] | None = None,
        global_step: int | None = None,
        wall_time: float | None = None,
    ) -> None:
        """Record all layers at one step.

        `step` is the epoch, -1 before training. `scalars` also appear in TensorBoard's Scalars tab.
        `global_step` is the trainer's own count, by which our epochs are lined up with losses that
        others log. An earlier step than the last one replaces everything from there on. Without a
        `wall_time` it is now, but after everything that is recorded.
        """
        self._begin()
        event = step_event(
            step,
            measurements,
            probes=self._new(probes),
            scalars=scalars,
            global_step=global_step,
            wall_time=self._time(wall_time),
        )
        self._waiting.append(_Record(event))
        self._deliver()

    def repeat(self, *repeated: Any) -> None:
        """Write events as they are: all of them, or none if that is impossible."""
        self._begin()
        records = [_Record(event) for event in repeated]
        if self._shared is not None:
            self._waiting += records
            self._deliver()
            return
        try:
            self._close_file()
            self._file = EventFile(self.logdir, [record.framed for record in records])
        except OSError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the event file, unless it belongs to another writer; leave the run to others.

        Raises RunError, with all closed, where something still waited and is lost.
        """
        try:
            self._deliver()
        finally:
            self._lost += self.waiting
            self._waiting.clear()
            self._close_file()
            self._claim.release()
            self._latest = None

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- where records go

    def _begin(self) -> None:
        self.claim()
        if self._is_gone():
            warn(
                f"{self.logdir} was deleted while a run was being recorded there: earlier "
                "records are gone, and later ones go into a new event file",
            )
            self._shared, self._shared_seen = None, False
            self._close_file()
            self._claim.release()
            self.claim()
        if self._latest is None:
            self._latest = last_place(self.logdir).wall_time if self._local else 0.0
            self._check_shared()

    def _check_shared(self) -> None:
        """Leave a file that is read before those that a clock further on has named."""
        name = getattr(self._shared, "_file_name", None)  # TensorBoard's and PyTorch's have it
        if name and self._local and Path(name).exists() and not is_read_last(Path(name)):
            self._leave_shared(
                "would be read before older ones that hold records (was the clock set back?)"
            )

    def _is_gone(self) -> bool:
        if self._file is not None:
            return not self._file.is_there
        return self._shared_seen and not self._sees_shared()

    def _sees_shared(self) -> bool:
        """Whether there is a file that we share, as far as one can see."""
        shared = self._shared is not None and self._local
        return shared and any(map(events.is_event_file, _listed(self.logdir)))

    def _deliver(self) -> None:
        """Write what waits, the oldest first."""
        try:
            while self._waiting:
                self._append(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            self._spare_memory()
            raise self._failure(error) from None

    def _append(self, record: _Record) -> None:
        if self._shared is not None:
            try:
                self._shared.add_event(record.event)
                self._shared.flush()
            except Exception as error:  # of many kinds: file systems of all sorts are behind it
                if not self._local:
                    raise OSError(_reason(error)) from error
                self._leave_shared(f"can no longer be written ({_reason(error)})")
            else:
                self._shared_seen = self._sees_shared()
                return
        try:
            self._append_to_own(record.framed)
        except OSError as error:
            if error.errno in _FULL or self._file is None:
                raise
            self._close_file()  # too large for the file system, or stale: a new one may do
            self._append_to_own(record.framed)

    def _append_to_own(self, record: bytes) -> None:
        if self._file is None:
            self._file = EventFile(self.logdir, [record])
        else:
            self._file.append(record)

    def _leave_shared(self, why: str) -> None:
        """Go on in a file of our own."""
        self._shared, self._shared_seen = None, False
        self._probes_written.clear()
        warn(
            f"the event file in {self.logdir} that is shared with another writer {why}; "
            "recording continues in a separate file",
        )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._probes_written.clear()

    def _hand_over(self) -> None:
        try:
            self.close()
        except RunError as error:
            warn(f"{error}; steps {self.lost} are lost")

    def _failure(self, error: OSError) -> RunError:
        return RunError(f"cannot write to {self.logdir}: {_reason(error)}")

    def _spare_memory(self) -> None:
        """Drop the oldest that wait, but for the very first: a part of it may be written."""
        while sum(len(r.framed) for r in self._waiting) > _MOST_WAITING and len(self._waiting) > 1:
            self._lost.append(self._waiting[1].event.step)
            del self._waiting[1]

    # -- what goes into a record

    def _time(self, given: float | None) -> float:
        assert self._latest is not None
        now = time.time() if given is None or not np.isfinite(given) else given
        if given is None and now <= self._latest:
            if now < self._latest - _SET_BACK:
                warn(
                    f"the clock is {self._latest - now:.0f} seconds behind the last record in "
                    f"{self.logdir}: new records are dated after that one, so that none are "
                    "lost",
                )
            now = self._latest + _MOMENT
        self._latest = max(self._latest, now)
        return now

    def _new(self, probes: schema.ShownProbes | None) -> schema.ShownProbes | None:
        """The probes, unless the file holds them already."""
        if probes is None or (known := _probes_metadata(probes)) in self._probes_written:
            return None
        self._probes_written.add(known)
        return probes


def step_event(
    step: int,
    measurements: Sequence[LayerMeasurement],
    *,
    probes: schema.ShownProbes | None = None,
    scalars: Mapping[str, float] | None = None,
    global_step: int | None = None,
    wall_time: float,
) -> Any:
    """The `Event` that holds all layers at one step."""
    values = [value for measurement in measurements for value in _layer_values(measurement)]
    if global_step is not None:
        content, metadata = np.array(global_step, np.int64), schema.encode_metadata()
        values.append(
            events.tensor_value(schema.GLOBAL_STEP_TAG, content, schema.LAYERS_PLUGIN, metadata)
        )
    if probes is not None:
        values.append(_value("probes", _probes_metadata(probes), probes.to_bytes()))
    values += [events.scalar_value(tag, value) for tag, value in (scalars or {}).items()]
    # The table comes last: who sees a step in it finds the step's maps as well.
    values += _table_values(measurements)
    return events.event(step, wall_time, values)


def _probes_metadata(probes: schema.ShownProbes) -> bytes:
    return schema.encode_metadata(
        digest=probes.digest, count=probes.count, indices=list(probes.indices)
    )


def _table_values(measurements: Sequence[LayerMeasurement]) -> list[Any]:
    if not measurements:
        return []
    names = [column.name for column in schema.COLUMNS]
    table = [[m.statistics.get(name, np.nan) for name in names] for m in measurements]
    metadata = schema.encode_layers([measurement.layer for measurement in measurements])
    return [_value("layers", metadata, np.array(table, np.float32))]


def _layer_values(measurement: LayerMeasurement) -> list[Any]:
    name = measurement.layer.name
    maps = schema.encode_maps(name, measurement.shown, measurement.maps, measurement.mean_map)
    metadata = schema.encode_metadata(layer=name, shape=list(maps.codes.shape[1:]))
    values = [_value("maps", metadata, maps.to_bytes())]
    if measurement.correlation is not None:
        counts = measurement.correlation.counts.astype(np.int64)
        values.append(_value("correlation", schema.encode_metadata(layer=name), counts))
    return values


def _value(kind: schema.Kind, metadata: bytes, content: NDArray[Any] | bytes) -> Any:
    return events.tensor_value(
        schema.tag_of(kind, metadata), content, schema.PLUGIN_OF[kind], metadata
    )


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
